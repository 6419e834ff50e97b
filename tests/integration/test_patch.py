"""`trtforge patch` and families that need a recipe, through the command line."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest

from tests.families import FAMILIES, PRIORS
from tests.models import SIDE, classifier, images, outputs

PRIOR_RECIPE = f"""
name: mine
head: priors
decode: {{anchors: {list(PRIORS.values())}, strides: {list(PRIORS)}, variances: [0.1, 0.2], background: first}}
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for name in ("yolov8-pose", "ssd", "rtdetr"):
        onnx.save(_with_shapes(FAMILIES[name].build("batch")), folder / f"{name}.onnx")
    onnx.save(classifier(), folder / "classifier.onnx")
    (folder / "ssd.yaml").write_text(PRIOR_RECIPE)
    return folder


def _with_shapes(model):
    """As exporters write it: outputs with their rank at least."""
    result = outputs(model, images(1))
    for output, value in zip(model.graph.output, result, strict=True):
        del output.type.tensor_type.shape.dim[:]
        for index, dim in enumerate(value.shape):
            added = output.type.tensor_type.shape.dim.add()
            if index:
                added.dim_value = dim
            else:
                added.dim_param = "batch"
    return model


def test_list_says_what_was_seen_and_what_decides(trtforge, models):
    told = trtforge("patch", models / "yolov8-pose.onnx", "--list")
    assert told.code == 0, told.err
    assert "detector, certain" in told.out
    assert "2 key points of 3 values" in told.out
    assert "patches that a recipe may list" in told.out
    document = trtforge("patch", models / "ssd.onnx", "--list", "--json").document
    assert document["detection"] is None
    assert "--recipe ssd" in document["likely"][0]["ask"]


def test_look_alikes_end_in_exit_2(trtforge, models, tmp_path):
    told = trtforge("patch", models / "ssd.onnx", "--nms", "onnx", "-o", tmp_path / "out.onnx")
    assert told.code == 2
    assert "not certain enough to patch" in told.err
    assert "--recipe ssd" in told.err
    assert not (tmp_path / "out.onnx").exists()
    assert trtforge("patch", models / "classifier.onnx", "-o", tmp_path / "out.onnx").code == 2


def test_build_for_a_head_that_the_recipe_has_to_name(trtforge, models, tmp_path):
    told = trtforge(
        "build",
        models / "ssd.onnx",
        "--recipe",
        models / "ssd.yaml",
        "--backend",
        "onnxruntime",
        "-o",
        tmp_path / "out",
    )
    assert told.code == 0, told.err
    model = onnx.load(tmp_path / "out" / "ssd.ort.onnx")
    assert [output.name for output in model.graph.output][:2] == [
        "num_detections",
        "detection_boxes",
    ]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["patches"]["tensorrt"]["parser"] == "NvDsInferParseCustomTfSSD"


def test_build_keeps_what_belongs_to_a_box(trtforge, models, tmp_path):
    told = trtforge(
        "build", models / "yolov8-pose.onnx", "--backend", "onnxruntime", "-o", tmp_path / "out"
    )
    assert told.code == 0, told.err
    for name in ("yolov8-pose.onnx", "yolov8-pose.ort.onnx"):
        model = onnx.load(tmp_path / "out" / name)
        assert model.graph.output[-1].name == "detection_keypoints"


def test_deviations_are_folded_by_build(trtforge, models, tmp_path):
    told = trtforge(
        "build",
        models / "classifier.onnx",
        "--recipe",
        "resnet",
        "--backend",
        "onnxruntime",
        "-o",
        tmp_path / "out",
    )
    assert told.code == 0, told.err
    std = np.array([0.229, 0.224, 0.225], np.float32).reshape(1, 3, 1, 1)
    before = outputs(classifier(), images(1) / std)[0]
    after = outputs(onnx.load(tmp_path / "out" / "classifier.ort.onnx"), images(1))[0]
    np.testing.assert_allclose(after, before, atol=1e-4 * np.abs(before).max())
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["recipe"]["preprocess"]["std"] is None
    assert "offsets=123.675" in (tmp_path / "out" / "pgie_config.txt").read_text()


def test_frames_go_straight_in(trtforge, models, tmp_path):
    told = trtforge(
        "patch",
        models / "rtdetr.onnx",
        "--preprocess",
        "--nms",
        "onnx",
        "-o",
        tmp_path / "out.onnx",
    )
    assert told.code == 0, told.err
    assert "takes uint8 NHWC frames" in told.out
    frame = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3), np.uint8)
    count = outputs(onnx.load(tmp_path / "out.onnx"), frame)[0]
    assert count.shape == (2, 1)


def test_recipe_patches_before_everything_else(trtforge, models, tmp_path):
    (tmp_path / "mine.yaml").write_text(
        f"model: {models / 'rtdetr.onnx'}\npatches:\n"
        "- {patch: rename, tensor: image, to: input}\n"
    )
    told = trtforge(
        "build", tmp_path / "mine.yaml", "--backend", "onnxruntime", "-o", tmp_path / "out"
    )
    assert told.code == 0, told.err
    assert onnx.load(tmp_path / "out" / "rtdetr.ort.onnx").graph.input[0].name == "input"
