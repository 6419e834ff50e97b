"""A recipe is filled in from the model's own file, then from its graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.models import Sketch, classifier, outputs, photographs, sketch
from trtforge.bundle.prepared import Target
from trtforge.metadata import Metadata, of_file
from trtforge.pipeline import prepare
from trtforge.pipeline.job import Job
from trtforge.recipe import Preprocess, Recipe
from trtforge.stages import bundle
from trtforge.store import Store

MEAN = {
    "image_mean": "[0.485, 0.456, 0.406]",
    "image_std": "[0.229, 0.224, 0.225]",
    "imgsz": "[32, 32]",
}


def saved(path: Path, model: onnx.ModelProto, **props: str) -> Path:
    onnx.helper.set_model_props(model, props)
    onnx.save(model, path)
    return path


def queries(s: Sketch) -> str:
    """Boxes (B, 16, 4) of queries that a TopK selects, and logits (B, 16, 3), in one tensor."""
    weights = np.random.default_rng(0).normal(size=(8, 3, 16, 16))
    patches = s.op("Conv", "image", s.const(weights), strides=[16, 16])
    rows = s.op("Transpose", s.op("Reshape", patches, s.ints(0, 8, -1)), perm=[0, 2, 1])
    scores = s.op("ReduceMax", rows, axes=[2], keepdims=0)
    s.nodes.append(
        onnx.helper.make_node("TopK", [scores, s.ints(16)], ["best", "place"], "top", axis=1)
    )
    place = s.op("Expand", s.op("Unsqueeze", "place", s.ints(2)), s.ints(1, 16, 8))
    chosen = s.op("GatherElements", rows, place, axis=1)
    boxes = s.op("Sigmoid", s.op("MatMul", chosen, s.const(np.ones((8, 4)))))
    classes = s.op("MatMul", chosen, s.const(np.ones((8, 3))))
    return s.op("Concat", boxes, classes, axis=2)


def test_deviations_in_the_file_go_into_the_graph(tmp_path: Path, store_root: Path) -> None:
    model = classifier()
    path = saved(tmp_path / "m.onnx", model, **MEAN)
    made = prepare(Job(path, Recipe(), "fp32"), Store(store_root), ["onnxruntime"])
    spec = made.recipe.preprocess
    assert (spec.std, spec.offsets) == (None, pytest.approx((123.675, 116.28, 103.53)))
    assert "image_mean in the file's metadata" in made.origins["normalization"]
    assert any("image_mean in the file's metadata" in remark for remark in made.remarks)
    graph = onnx.load(made.graphs["onnxruntime"].path)
    pixels = photographs(1)
    spread = np.array([0.229, 0.224, 0.225], np.float32).reshape(1, 3, 1, 1)
    np.testing.assert_allclose(
        outputs(graph, pixels)[0], outputs(model, pixels / spread)[0], rtol=1e-3, atol=1e-4
    )
    # What is written says what is left to do, so that nothing is done twice.
    stated = of_file(made.graphs["onnxruntime"].path)
    assert stated.normalization is not None
    assert stated.normalization.value.std is None
    assert stated.normalization.key == "trtforge.preprocess"


def test_the_recipe_stands_above_the_file(tmp_path: Path, store_root: Path) -> None:
    path = saved(tmp_path / "m.onnx", classifier(), **MEAN)
    recipe = Recipe(preprocess=Preprocess(scale=1.0))
    made = prepare(Job(path, recipe, "fp32"), Store(store_root), [])
    assert made.recipe.preprocess.scale == 1.0
    assert made.recipe.preprocess.offsets == (0.0, 0.0, 0.0)


def test_a_size_that_the_graph_denies(tmp_path: Path, store_root: Path) -> None:
    path = saved(tmp_path / "m.onnx", classifier(), imgsz="[7, 7]")
    made = prepare(Job(path, Recipe(), "fp32"), Store(store_root), [])
    assert "fixed in the graph" in made.origins["size"]
    assert any("imgsz in the file's metadata says 7x7" in remark for remark in made.remarks)


def test_queries_over_patches_are_stretched_and_normalised(
    tmp_path: Path, store_root: Path
) -> None:
    s = sketch()
    model = onnx.shape_inference.infer_shapes(s.model(queries(s), batch=1, side=64))
    path = saved(tmp_path / "m.onnx", model)
    made = prepare(Job(path, Recipe(), "fp32"), Store(store_root), [])
    assert made.facts.detection is not None
    assert made.facts.detection.form == "queries"
    assert made.facts.patches == 16
    spec = made.recipe.preprocess
    assert (spec.letterbox, spec.std) == ("none", None)
    assert spec.offsets == (123.675, 116.28, 103.53)
    assert "patches of 16 pixels" in made.origins["normalization"]


def test_a_file_without_metadata_says_nothing(tmp_path: Path) -> None:
    assert of_file(saved(tmp_path / "m.onnx", classifier())) == Metadata()
    (tmp_path / "other").write_bytes(b"no model")
    assert of_file(tmp_path / "other") == of_file(tmp_path / "none") == Metadata()


@pytest.mark.parametrize(("names", "classes"), [(("dets", "labels"), 2), (("boxes", "logits"), 3)])
def test_the_channel_of_rf_detr_for_none(
    tmp_path: Path, store_root: Path, names: tuple[str, str], classes: int
) -> None:
    s = sketch()
    everything = queries(s)
    parts = [s.slice(everything, 0, 4, 2), s.slice(everything, 4, 7, 2)]
    for part, name in zip(parts, names, strict=True):
        next(node for node in s.nodes if part in node.output).output[0] = name
    model = onnx.shape_inference.infer_shapes(s.model(*names, batch=1, side=64))
    path = saved(tmp_path / "m.onnx", model)
    made = prepare(Job(path, Recipe(), "fp32"), Store(store_root), ["onnxruntime"])
    assert made.facts.detection is not None
    assert made.facts.detection.classes == classes
    assert made.patches["onnxruntime"].classes == classes


@pytest.mark.parametrize(
    ("nms", "props", "step"),
    [("auto", {}, 4), ("keep", {}, 1), ("auto", {"task": "pose"}, 1), ("auto", {"task": "x"}, 4)],
)
def test_a_coarse_map_of_classes_for_deepstream(
    tmp_path: Path, store_root: Path, nms: str, props: dict[str, str], step: int
) -> None:
    s = sketch()
    maps = s.op("Conv", "image", s.const(np.ones((5, 3, 4, 4))), strides=[4, 4])
    model = onnx.shape_inference.infer_shapes(s.model(maps))
    path = saved(tmp_path / "m.onnx", model, **props)
    made = prepare(Job(path, Recipe(), "fp16", nms=nms), Store(store_root), ["onnxruntime"])
    assert made.patches["tensorrt"].enlarged == step
    assert made.patches["onnxruntime"].enlarged == 1
    bundle.write(tmp_path / "out", made, Target(None, None), None, None, "9.1", force=False)
    kind = 2 if step > 1 else 100
    assert f"network-type={kind}\n" in (tmp_path / "out" / "pgie_config.txt").read_text()


def test_features_that_folding_would_hide(tmp_path: Path, store_root: Path) -> None:
    """A BatchNormalization behind the last Gemm is folded into it."""
    s = sketch()
    pooled = s.op("Flatten", s.op("GlobalAveragePool", "image"))
    vector = s.op("Gemm", pooled, s.const(np.ones((3, 8))))
    out = s.op("BatchNormalization", vector, *(s.const(np.ones(8)) for _ in range(4)))
    path = saved(tmp_path / "m.onnx", onnx.shape_inference.infer_shapes(s.model(out)))
    made = prepare(Job(path, Recipe(), "fp32"), Store(store_root), [])
    assert made.facts.features
    bundle.write(tmp_path / "out", made, Target(None, None), None, None, "9.1", force=False)
    assert "network-type=100" in (tmp_path / "out" / "pgie_config.txt").read_text()
