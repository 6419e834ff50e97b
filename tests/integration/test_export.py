"""`trtforge export` as users run it, and what the other stages make of its graphs."""

from __future__ import annotations

import json

import pytest
from conftest import ROOT

from tests.extras import needs

torch = needs("torch")

HERE = ROOT / "tests"  # where `torch_models` lies; the current folder is importable
SMALL = ("--size", "64x64")


def test_detector_is_exported_and_built_with_its_boxes_recognised(trtforge, tmp_path):
    out = tmp_path / "detector.onnx"
    run = trtforge(
        "export",
        "torch_models:Detector",
        *SMALL,
        "--dynamic",
        "batch",
        "--output",
        "output0",
        "-o",
        out,
        "--json",
        cwd=HERE,
    )
    assert run.code == 0, run.err
    facts = run.document
    assert facts["exporter"] == "dynamo"
    assert facts["outputs"] == [{"name": "output0", "type": "float", "shape": ["batch", 7, 84]}]
    assert facts["difference"]["inputs"] == 6
    assert facts["difference"]["largest"] < 1e-4
    built = trtforge(
        "build", out, "--batch", "4", "--backend", "onnxruntime", "-o", tmp_path / "bundle"
    )
    assert built.code == 0, built.err
    assert "anchor-free with 3 classes" in built.out


def test_classifier_with_a_checkpoint_and_arguments(trtforge, tmp_path):
    from tests.torch_models import Classifier

    model = Classifier(5)
    torch.save(
        {"state_dict": {f"module.{name}": value for name, value in model.state_dict().items()}},
        tmp_path / "best.pt",
    )
    words = (
        "export",
        "torch_models:Classifier",
        *SMALL,
        "--weights",
        tmp_path / "best.pt",
        "-o",
        tmp_path / "c.onnx",
    )
    run = trtforge(*words, "--kwargs", '{"classes": 5}', "--json", cwd=HERE)
    assert run.code == 0, run.err
    # What the model prints does not get into the result.
    assert json.loads(run.out)["outputs"][0]["shape"] == [1, 5]
    assert "building a classifier" in run.err
    assert "under 'state_dict'" in run.err
    import numpy as np
    import onnxruntime as ort

    images = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)
    found = ort.InferenceSession(tmp_path / "c.onnx").run(None, {"images": images})[0]
    with torch.no_grad():
        assert np.allclose(found, model.eval()(torch.from_numpy(images)).numpy(), atol=1e-5)

    wrong = trtforge(*words, "--kwargs", '{"classes": 6}', cwd=HERE)
    assert wrong.code == 2
    assert "shapes differ: head.weight (5, 16), not (6, 16)" in wrong.err


def test_model_that_only_the_fallback_takes(trtforge, tmp_path):
    run = trtforge(
        "export",
        "torch_models:Guarded",
        *SMALL,
        "--dynamic",
        "batch",
        "-o",
        tmp_path / "g.onnx",
        cwd=HERE,
    )
    assert run.code == 0, run.err
    assert "exporter  torchscript" in run.out
    assert "dynamo: control flow that depends on a tensor's values (torch_models.py:" in run.err
    assert "took the outcome of this line for constant: torch_models.py:" in run.err
    assert "largest difference from PyTorch" in run.out
    assert len(run.err.splitlines()) == 2, run.err


def test_model_that_neither_takes_names_operator_and_line(trtforge, tmp_path):
    run = trtforge("export", "torch_models:Bessel", *SMALL, "-o", tmp_path / "b.onnx", cwd=HERE)
    line = next(
        number
        for number, text in enumerate((HERE / "torch_models.py").read_text().splitlines(), 1)
        if "bessel_j0" in text
    )
    assert (run.code, run.out) == (2, ""), run.err
    assert "no ONNX for operator aten::special_bessel_j0" in run.err
    assert run.err.count(f"torch_models.py:{line}: return torch.special.bessel_j0(x)") == 2
    assert len(run.err.splitlines()) == 2, run.err
    assert not list(tmp_path.iterdir())


def test_gate_is_exit_4_and_writes_nothing(trtforge, tmp_path):
    words = (
        "export",
        "torch_models:Wide",
        *SMALL,
        "--atol",
        "0",
        "--rtol",
        "0",
        "-o",
        tmp_path / "w.onnx",
    )
    run = trtforge(*words, cwd=HERE)
    assert (run.code, run.out) == (4, ""), run.err
    assert "output0 differs from PyTorch by up to" in run.err
    assert not list(tmp_path.iterdir())
    assert trtforge(*words, "--no-check", cwd=HERE).code == 0


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("torch_models:Wide", "--dynamic", "channels"), "batch, height, width"),
        (("torch_models:Wide", "--kwargs", "[1]"), "not a JSON object"),
        (("torch_models:Wide", "--kwargs", "{1}"), "not JSON"),
        (("torch_models:Wide", "--opset", "8"), "--opset 8"),
        (("torch_models:Wide", "--weights", "nowhere.pt"), "nowhere.pt: no such file"),
        (("nowhere.pt2",), "nowhere.pt2: no such file"),
    ],
)
def test_wrong_words_are_one_line_and_exit_2(trtforge, tmp_path, words, text):
    run = trtforge("export", *words, "-o", tmp_path / "x.onnx", cwd=HERE)
    assert (run.code, run.out) == (2, ""), run.err
    assert text in run.err
    assert run.err.startswith("error: ")
    assert not list(tmp_path.iterdir())
