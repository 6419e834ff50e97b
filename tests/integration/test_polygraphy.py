"""Inputs and outputs pass between `trtforge verify` and `polygraphy run` in both directions."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from conftest import DEMO, PHOTOS
from polygraphy.comparator import RunResults
from polygraphy.json import load_json, save_json

from tests.models import classifier

SHAPE = (1, 3, 640, 640)


def polygraphy(*words: str | Path) -> str:
    program = "from polygraphy.tools import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, trtforge: Callable[..., Any]) -> Path:
    """Two images, and what `verify` saves of the demo detector and its FP16 form on them."""
    folder = tmp_path_factory.mktemp("saved")
    (folder / "images").mkdir()
    for file in sorted(PHOTOS.iterdir())[:2]:
        (folder / "images" / file.name).write_bytes(file.read_bytes())
    assert trtforge("cast", DEMO, "-o", folder / "half.onnx").code == 0
    done = trtforge(
        *("verify", DEMO, folder / "half.onnx", "--images", folder / "images"),
        *("--save-inputs", folder / "inputs.json", "--save-outputs", folder / "outputs.json"),
    )
    assert done.code == 0, done.err
    return folder


def test_polygraphy_reads_what_verify_saves(folder: Path) -> None:
    inputs = load_json(str(folder / "inputs.json"))
    results = RunResults.load(str(folder / "outputs.json"))
    assert [feed["images"].shape for feed in inputs] == [SHAPE, SHAPE]
    assert list(results.keys()) == [str(DEMO), str(folder / "half.onnx")]
    for model, runs in results.items():
        session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
        for feed, outputs in zip(inputs, runs, strict=True):
            (right,) = session.run(None, dict(feed))
            if model == str(DEMO):
                np.testing.assert_allclose(outputs["output0"], right, rtol=1e-3, atol=1e-2)
            # ONNX Runtime does not round FP16 between operators, and `verify` does.
            assert np.corrcoef(outputs["output0"].ravel(), right.ravel())[0, 1] > 0.9999


def test_polygraphy_run_takes_over(folder: Path) -> None:
    said = polygraphy(
        *("run", DEMO, "--onnxrt", "--load-inputs", folder / "inputs.json"),
        *("--load-outputs", folder / "outputs.json", "--atol", "1"),
    )
    assert f"vs. {DEMO} | Passed: 2/2 iterations" in said


def test_verify_runs_what_polygraphy_saves(
    folder: Path, trtforge: Callable[..., Any], tmp_path: Path
) -> None:
    saved, outputs = tmp_path / "inputs.json", tmp_path / "outputs.json"
    polygraphy(
        *("run", DEMO, "--onnxrt", "--iterations", "2", "--save-inputs", saved),
        *("--input-shapes", "images:[1,3,640,640]", "--save-outputs", tmp_path / "theirs.json"),
    )
    done = trtforge(
        *("verify", DEMO, folder / "half.onnx", "--load-inputs", saved, "--save-outputs", outputs),
        *("--min-cosine", "0.99", "--json"),
    )
    assert done.code == 0, done.err
    assert done.document["images"] == 2
    assert done.document["outputs"]["output0: boxes"]["pearson"] > 0.999
    ours, (theirs,) = (
        RunResults.load(str(outputs)),
        RunResults.load(str(tmp_path / "theirs.json")).values(),
    )
    for one, other in zip(ours[str(DEMO)], theirs, strict=True):
        np.testing.assert_allclose(one["output0"], other["output0"], rtol=1e-4, atol=1e-3)


def test_the_same_model_twice_has_two_names(trtforge: Callable[..., Any], folder: Path) -> None:
    outputs = folder / "twice.json"
    done = trtforge(
        *("verify", DEMO, DEMO, "--load-inputs", folder / "inputs.json", "--save-outputs", outputs)
    )
    assert done.code == 0, done.err
    assert list(RunResults.load(str(outputs)).keys()) == [str(DEMO), f"{DEMO} (2)"]


def feed(**arrays: np.ndarray) -> list[dict[str, np.ndarray]]:
    return [arrays]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (feed(images=np.zeros(SHAPE, np.float64)), "'images' is float64 1x3x640x640"),
        (feed(images=np.zeros((1, 3, 32, 32), np.float32)), "'images' is float32 1x3x32x32"),
        (feed(images=np.zeros((1, 1, 640, 640), np.float32)), "'images' is float32 1x1x640x640"),
        (feed(image=np.zeros(SHAPE, np.float32)), "has no input 'images'"),
        ([], "no list of named arrays"),
        ({"images": np.zeros(3)}, "no list of named arrays"),
        ("text", "no list of named arrays"),
    ],
)
def test_other_inputs(
    content: object, problem: str, trtforge: Callable[..., Any], tmp_path: Path
) -> None:
    save_json(content, str(tmp_path / "inputs.json"))
    done = trtforge("verify", DEMO, "--load-inputs", tmp_path / "inputs.json")
    assert (done.code, done.out) == (2, "")
    assert problem in done.err


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[" * 100_000,
        '[{"images": {"polygraphy_class": "Nothing"}}]',
        '[{"images": {"polygraphy_class": "ndarray"}}]',
        '[{"images": {"polygraphy_class": "ndarray", "array": "AAAA"}}]',
        '[{"images": {"polygraphy_class": "ndarray", "array": 7}}]',
        '[{"images": {"polygraphy_class": "LazyArray", "values": 7}}]',
        '[{"images": {"polygraphy_class": "RunResults", "lst": 7}}]',
    ],
)
def test_damaged_inputs(text: str, trtforge: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "inputs.json").write_text(text)
    done = trtforge("verify", DEMO, "--load-inputs", tmp_path / "inputs.json")
    assert (done.code, done.out) == (2, ""), done.err
    assert done.err.startswith("error: ")
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], "nothing to verify on"),
        (["--images", "images", "--load-inputs", "inputs.json"], "takes the place of images"),
        (["--load-inputs", "inputs.json", "--labels", "x.json"], "holds no images"),
        (["--load-inputs", "inputs.json", "--min-map", "0.1"], "need labels"),
        (["--load-inputs", "nothing.json"], "no such file"),
        (["--load-inputs", "inputs.json", "--save-outputs", "inputs.json"], "the input itself"),
        (["--images", "images", "--save-inputs", "none/inputs.json"], "there is no folder"),
    ],
)
def test_wrong_words(
    words: list[str], problem: str, trtforge: Callable[..., Any], folder: Path
) -> None:
    done = trtforge("verify", DEMO, *words, cwd=folder)
    assert (done.code, done.out) == (2, ""), done.err
    assert problem in done.err


def test_a_fixed_batch_is_refused(
    trtforge: Callable[..., Any], folder: Path, tmp_path: Path
) -> None:
    model = tmp_path / "four.onnx"
    onnx.save(classifier(batch=4), model)
    done = trtforge(
        *("verify", model, "--images", folder / "images"),
        *("--save-inputs", tmp_path / "inputs.json"),
    )
    assert done.code == 2
    assert "takes 4 images at least" in done.err
    assert not (tmp_path / "inputs.json").exists()
