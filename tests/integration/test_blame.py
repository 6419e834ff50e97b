"""A refused build says which stage is to blame, or that the original is refused, too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest

from tests.extras import needs
from tests.models import network
from trtforge.backends.options import PLAIN
from trtforge.bundle.facts import FoldFacts
from trtforge.bundle.manifest import Sources
from trtforge.bundle.prepared import Form, Prepared, Target
from trtforge.devices import device
from trtforge.errors import BuildError
from trtforge.pipeline.blame import with_blame
from trtforge.recipe import Recipe
from trtforge.store import source

needs("rtx")

DEVICE = "rtx-4090"


def recurrent() -> onnx.ModelProto:
    """Rows of features, an LSTM over them, and a product, as in text recognition."""
    s = network(4)
    rows = s.op("Reshape", s.relu("image", (3, 4), 1, 8), s.ints(1, 4, 64))
    weights = [s.const(s.rng.normal(size=(1, 16, 4))) for _ in range(2)]
    read = s.op("LSTM", s.op("Transpose", rows, perm=[2, 0, 1]), *weights, hidden_size=4)
    return s.model(s.op("MatMul", read, s.const(s.rng.normal(size=(4, 5)))), batch=1)


def too_many() -> onnx.ModelProto:
    """The best 4000 of 4096 values: TensorRT sorts 3840 at most."""
    s = network(5)
    flat = s.op("Reshape", s.relu("image", (3, 4), 1, 2), s.ints(1, 4096))
    best = s.op("TopK", flat, s.ints(4000))
    s.nodes[-1].output.append("index")
    return s.model(best, batch=1)


def refused(trtforge: Callable[..., Any], model: Path, out: Path, *words: str) -> str:
    """Return what a build says that must fail: an error in one line, and a hint."""
    done = trtforge("build", model, "--device", DEVICE, "-o", out, *words)
    assert done.code == 1, done.err
    assert done.err.count("error: ") == 1
    return str(done.err)


def saved(model: onnx.ModelProto, path: Path) -> Path:
    onnx.save(model, path)
    return path


def test_the_cast_is_to_blame(trtforge: Callable[..., Any], tmp_path: Path) -> None:
    """TensorRT-RTX 1.7 does not compile a float LSTM behind a half Transpose."""
    model = saved(recurrent(), tmp_path / "model.onnx")
    said = refused(trtforge, model, tmp_path / "out", "--fp16", "--keep", "n4")
    assert "it takes the result of `fold`: `cast` is to blame" in said
    assert "--fp32" in said


def test_the_original_is_refused_too(trtforge: Callable[..., Any], tmp_path: Path) -> None:
    model = saved(too_many(), tmp_path / "model.onnx")
    assert "the original file is refused, too" in refused(trtforge, model, tmp_path / "out")


@pytest.mark.parametrize(
    ("taken", "stage"),
    [
        ([True, False, False], "fold"),
        ([True, True, False], "quantize"),
        ([True, True, True], "patch"),
    ],
)
def test_the_first_refused_form_is_to_blame(taken: list[bool], stage: str, tmp_path: Path) -> None:
    forms = []
    for number, (name, good) in enumerate(zip(["", "fold", "quantize"], taken, strict=True)):
        path = tmp_path / f"{number}.onnx"
        onnx.save(recurrent() if good else too_many(), path)
        forms.append(Form(name, source(path)))
    prepared = Prepared(
        *("model", "int8", (1, 1, 1), Recipe(), replace(FoldFacts(), size=(64, 64)), Sources()),
        graphs={"tensorrt-rtx": forms[-1].model},
        patches={},
        forms={"tensorrt-rtx": tuple(forms)},
    )
    target = Target("tensorrt-rtx", device(DEVICE))
    found = with_blame(BuildError("model.onnx: refused"), prepared, target, PLAIN)
    assert f"`{stage}` is to blame" in found.problem
    assert found.code == 1


def test_nothing_is_blamed_where_the_original_is_not_known() -> None:
    prepared = Prepared(
        *("model", "fp32", (1, 1, 1), Recipe(), replace(FoldFacts(), size=(64, 64)), Sources()),
        graphs={"tensorrt-rtx": source(Path(__file__))},
        patches={},
    )
    error = BuildError("model.onnx: refused", "hint")
    assert with_blame(error, prepared, Target("tensorrt-rtx", device(DEVICE)), PLAIN) is error
