"""Commands of one stage, and what the file that they are given says of itself."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

import trtforge
from tests import photos
from tests.models import anchor_free, sketch
from trtforge.bundle.manifest import Manifest
from trtforge.calibration.ranges import load as table

AUTHOR = {"author": "somebody", "names": "{0: 'anvil', 1: 'barrel', 2: 'crate'}"}
TRAINED = {
    "image_mean": "[0.485, 0.456, 0.406]",
    "image_std": "[0.229, 0.224, 0.225]",
    "head": "RTDETRDecoder",
    "stride": "8",
    "task": "classify",
    "names": str([f"kind {number}" for number in range(10)]),
}
STEPS = (123.675, 116.28, 103.53)


def saved(path: Path, model: onnx.ModelProto, props: dict[str, str]) -> Path:
    onnx.helper.set_model_props(model, props)
    onnx.save(model, path)
    return path


def props(path: Path) -> dict[str, str]:
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


def test_every_stage_keeps_it(tmp_path: Path) -> None:
    model = saved(tmp_path / "m.onnx", photos.classifier(), AUTHOR)
    images = photos.write(tmp_path / "photos", 2)
    clean, ranges = tmp_path / "clean.onnx", tmp_path / "ranges.json"
    trtforge.fold(model, clean)
    trtforge.calibrate(clean, images, ranges)
    trtforge.quantize(clean, ranges, tmp_path / "int8.onnx")
    trtforge.cast(tmp_path / "int8.onnx", tmp_path / "half.onnx")
    trtforge.patch(tmp_path / "half.onnx", tmp_path / "patched.onnx", nms="keep")
    for name in ("clean", "int8", "half", "patched"):
        assert props(tmp_path / f"{name}.onnx") == AUTHOR


@pytest.mark.parametrize(
    ("size", "stated", "side", "origin"),
    [
        (None, {}, 640, "by default"),
        (None, {"imgsz": "[96, 96]"}, 96, "imgsz in the file's metadata"),
        ((32, 32), {}, 32, None),
    ],
)
def test_fold_says_what_it_fixes_sides_to(
    tmp_path: Path,
    size: tuple[int, int] | None,
    stated: dict[str, str],
    side: int,
    origin: str | None,
) -> None:
    s = sketch()
    graph = s.model(s.op("Relu", "image"), side="side")
    graph = onnx.shape_inference.infer_shapes(graph)
    made = trtforge.fold(
        saved(tmp_path / "m.onnx", graph, stated), tmp_path / "out.onnx", size=size
    )
    assert made.facts.size == (side, side)
    told = [remark for remark in made.remarks if "dynamic height and width" in remark]
    assert len(told) == (origin is not None)
    assert origin is None or (origin in told[0] and f"{side}x{side}" in told[0])


def test_calibration_prepares_images_as_the_file_says(tmp_path: Path) -> None:
    model = saved(tmp_path / "m.onnx", photos.classifier(), TRAINED)
    images = photos.write(tmp_path / "photos", 2)
    trtforge.calibrate(model, images, tmp_path / "t.json")
    source = table(tmp_path / "t.json").source
    assert source is not None
    assert source.preprocess["std"] == pytest.approx([0.229, 0.224, 0.225])
    assert source.preprocess["letterbox"] == "none"


def test_a_file_and_its_folder_see_the_same(tmp_path: Path) -> None:
    """The folder's graphs hold the deviations, and the file's own does not."""
    model = saved(tmp_path / "m.onnx", photos.classifier(), TRAINED)
    images = photos.write(tmp_path / "photos", 3)
    trtforge.build(model, backend="onnxruntime", out=tmp_path / "out")
    report = trtforge.verify([model, tmp_path / "out"], images)
    assert max(found.largest for found in report.outputs.values()) < 0.05
    labels = (tmp_path / "out" / "labels.txt").read_text()
    assert labels == ";".join(f"kind {number}" for number in range(10)) + "\n"
    manifest = Manifest.model_validate_json((tmp_path / "out" / "manifest.json").read_text())
    assert manifest.origins["labels"] == "names in the file's metadata"
    assert "image_mean in the file's metadata" in manifest.origins["normalization"]


def test_what_is_folded_in_is_not_done_twice(tmp_path: Path) -> None:
    model = saved(tmp_path / "m.onnx", photos.classifier(), TRAINED)
    patched = tmp_path / "patched.onnx"
    found = trtforge.patch(model, patched, fold_normalization=True).facts
    assert found.feed.dtype == "float32"
    assert (found.feed.std, found.feed.offsets) == (None, (0.0, 0.0, 0.0))
    trtforge.deepstream_config(patched, tmp_path / "config")
    text = (tmp_path / "config" / "pgie_config.txt").read_text()
    assert "offsets=" not in text
    assert "maintain-aspect-ratio=0" in text
    with pytest.raises(trtforge.ForgeError, match="a deviation for each") as error:
        trtforge.deepstream_config(model, tmp_path / "other")
    assert "--fold-normalization" in error.value.hint


def test_detections_have_the_files_names(tmp_path: Path) -> None:
    model = saved(tmp_path / "m.onnx", onnx.shape_inference.infer_shapes(anchor_free()), AUTHOR)
    images = photos.write(tmp_path / "photos", 1)
    drawn = trtforge.detect(model, [images], tmp_path / "out", score=0.01)
    names = {found.name for picture in drawn.pictures for found in picture.objects}
    assert names
    assert names <= {"anvil", "barrel", "crate"}


def test_fold_says_so_for_one_image_among_inputs(tmp_path: Path) -> None:
    s = sketch()
    graph = onnx.shape_inference.infer_shapes(s.model(s.op("Relu", "image"), side="side"))
    sizes = onnx.helper.make_tensor_value_info("sizes", onnx.TensorProto.INT64, ["batch", 2])
    graph.graph.input.append(sizes)
    made = trtforge.fold(saved(tmp_path / "m.onnx", graph, {}), tmp_path / "out.onnx")
    assert made.facts.frozen == (640, 640)
    assert any("640x640" in remark for remark in made.remarks)
