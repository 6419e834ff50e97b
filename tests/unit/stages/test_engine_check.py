"""A built engine beside FP32: right ones have high figures, wrong ones a warning.

The engines here are graphs that ONNX Runtime runs; ``tests/gpu`` checks those of TensorRT.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image

from tests.models import SIDE, classifier, yolov7_like
from trtforge import gates
from trtforge.bundle.facts import EngineCheck
from trtforge.errors import ForgeError, GateError
from trtforge.graph.fold import fold
from trtforge.graph.model import save
from trtforge.recipe import Decode, Nms, Recipe
from trtforge.stages import MODEL, engine_check, patch
from trtforge.stages.engine_check import CheckInputs, CheckOptions, remark, summarize
from trtforge.store import File, source


def spoiled(model: onnx.ModelProto, spread: float) -> onnx.ModelProto:
    """Multiply all weights with numbers that are ``spread`` around 1."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    rng = np.random.default_rng(0)
    for tensor in changed.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.ndim == 4:
            noise = rng.normal(1, spread, values.shape).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values * noise, tensor.name))
    return changed


def check(
    folder: Path,
    reference: onnx.ModelProto,
    engine: onnx.ModelProto,
    images: Path | None = None,
    form: str = "none",
    score: float = 0.01,
) -> EngineCheck:
    files = []
    for name, model in (("reference", reference), ("engine", engine)):
        draft = folder / name
        draft.mkdir()
        save(fold(model), draft / "clean.onnx")
        options = patch.PatchOptions(form, "plugin", "auto", Nms(score=score), Decode())
        patch.run(draft, patch.PatchInputs(source(draft / "clean.onnx")), options)
        files.append(source(draft / MODEL))
    inputs = CheckInputs(files[1], files[0], File(images, "0") if images else None)
    return engine_check.run(folder, inputs, CheckOptions(Recipe(), "int8", "FP32", "H200"))


@pytest.mark.parametrize("form", ["none", "onnx", "efficientnms", "deepstream"])
def test_the_same_engine_is_equal(tmp_path: Path, form: str) -> None:
    found = check(tmp_path, yolov7_like(), yolov7_like(), form=form)
    assert found.images == engine_check.IMAGES
    assert all(output.pearson == pytest.approx(1) for output in found.outputs.values())
    assert remark(found) == ""
    boxes = "scores equal" if form != "none" else "boxes equal, scores equal"
    assert summarize(found).startswith(f"INT8 engine: {boxes}")
    assert summarize(found).endswith("against FP32 on 4 drawn images")
    if form != "none":
        assert found.both == found.either != 0


@pytest.mark.parametrize("form", ["none", "onnx"])
def test_a_slightly_other_engine_has_figures_and_no_warning(tmp_path: Path, form: str) -> None:
    found = check(tmp_path, yolov7_like(), spoiled(yolov7_like(), 0.01), form=form)
    assert all(
        output.sqnr_db is not None and output.sqnr_db > 20 for output in found.outputs.values()
    )
    assert remark(found) == ""


def test_a_wrong_engine_is_named_so_with_what_to_try(tmp_path: Path) -> None:
    found = check(tmp_path, yolov7_like(), spoiled(yolov7_like(), 2.0))
    word = remark(found)
    assert re.match(
        r"warning: this INT8 engine is wrong: (boxes|scores) correlate with FP32 at -?0\.\d\d", word
    )
    assert "--fp16" in word


def test_an_engine_that_gives_nan_is_wrong(tmp_path: Path) -> None:
    engine = yolov7_like()
    weights = next(each for each in engine.graph.initializer if len(each.dims) == 4)
    values = numpy_helper.to_array(weights).copy()
    values[0] = np.nan
    weights.CopyFrom(numpy_helper.from_array(values, weights.name))
    found = check(tmp_path, yolov7_like(), engine)
    assert found.not_finite is not None
    assert "holds NaN" in remark(found)
    assert "not finite" in summarize(found)


def test_where_nothing_is_found_the_user_is_told_that_nothing_was_compared(tmp_path: Path) -> None:
    found = check(tmp_path, yolov7_like(), yolov7_like(), form="onnx", score=0.9999)
    assert found.either == 0
    assert "nothing is found on 4 images" in remark(found)


def test_images_of_the_user_are_taken_and_damaged_ones_are_not(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    rng = np.random.default_rng(1)
    for number in range(6):
        pixels = rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
        Image.fromarray(pixels).save(photos / f"{number}.png")
    (photos / "0.png").write_bytes(b"no image")
    found = check(tmp_path, classifier(), classifier(), photos)
    assert (found.images, found.drawn) == (4, False)
    assert summarize(found).endswith("against FP32 on 4 images")


def test_an_engine_of_another_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ForgeError, match="not those of the graph"):
        check(tmp_path, yolov7_like(), classifier())


def test_the_gate(tmp_path: Path) -> None:
    found = check(tmp_path, yolov7_like(), spoiled(yolov7_like(), 0.05))
    out = Path("out")
    gates.check_engines({out: found}, None)
    gates.check_engines({out: found}, 0.5)
    with pytest.raises(GateError, match=r"out: cosine of .* is 0\.\d+, under 1"):
        gates.check_engines({out: found}, 1.0)
    with pytest.raises(GateError, match="was not run beside FP32"):
        gates.check_engines({out: None}, 0.5)
