"""ONNX files with TensorRT's NMS plugin open as those with ONNX's own, whatever the form of their
outputs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest

from tests.models import SIDE, anchor_free, images, objectness, sketch
from trtforge.errors import MachineError
from trtforge.evaluate import layers
from trtforge.evaluate.detections import finder
from trtforge.evaluate.models import open_model
from trtforge.graph.detection import existing_nms
from trtforge.graph.model import graph_of, load, model_of
from trtforge.graph.nms import OUTPUTS, NmsOptions, apply
from trtforge.recipe import Nms, Recipe

MODELS = {"objectness": objectness, "anchor-free": anchor_free}
LIMITS = NmsOptions(0.05, 0.6, 20)
# The names that YOLOv7's exporter gives to the outputs.
EXPORTED = ("num_dets", "det_boxes", "det_scores", "det_classes")


def file(folder: Path, model: str, form: Any, impl: Any = "auto") -> Path:
    graph = graph_of(MODELS[model](batch=1))
    apply(graph, form, LIMITS, impl)
    path = folder / f"{form}-{impl}.onnx"
    onnx.save(model_of(graph), path)
    return path


def exported(path: Path) -> Path:
    """The plugin's outputs are the graph's, as exporters leave them."""
    model = load(path)
    graph = graph_of(model)
    made = existing_nms(graph).outputs
    for tensor, output, name in zip(made, graph.outputs, EXPORTED, strict=True):
        tensor.name, tensor.shape, tensor.dtype = name, output.shape, output.dtype
    graph.outputs = list(made)
    graph.cleanup()
    onnx.save(model_of(graph), path)
    return path


def test_a_fixed_batch_is_filled_with_the_image(tmp_path: Path) -> None:
    for batch in (1, 4):
        onnx.save(model_of(graph_of(objectness(batch=batch))), tmp_path / f"{batch}.onnx")
    four, one = (open_model(tmp_path / f"{batch}.onnx").infer(images(1)) for batch in (4, 1))
    for name, want in one.items():
        np.testing.assert_allclose(four[name], want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("form", ["deepstream", "efficientnms", "names of an exporter"])
def test_plugins_find_what_standard_operators_find(model: str, form: str, tmp_path: Path) -> None:
    reference = open_model(file(tmp_path, model, "onnx"))
    if form == "names of an exporter":
        engine = open_model(exported(file(tmp_path, model, "efficientnms")))
    else:
        engine = open_model(
            file(tmp_path, model, form, "plugin" if form == "deepstream" else "auto")
        )
    assert engine.outputs.keys() == reference.outputs.keys() == set(OUTPUTS)
    assert engine.size == (SIDE, SIDE)
    assert engine.nms is not None
    assert engine.nms.model_dump() == pytest.approx(
        Nms(score=0.05, iou=0.6, max_det=20).model_dump()
    )
    assert "ONNX's own operators" in engine.note
    assert not reference.note
    found, want = (each.infer(images(1)) for each in (engine, reference))
    assert want["num_detections"].item() > 0
    for name, each in want.items():
        assert found[name].dtype == each.dtype
        np.testing.assert_allclose(found[name], each, atol=1e-4, err_msg=name)
    for one, other in zip(
        *(finder(each, Nms())(each.infer(images(1))) for each in (engine, reference)), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_layers_of_a_graph_with_a_plugin(tmp_path: Path) -> None:
    files = [file(tmp_path, "anchor-free", "deepstream", impl) for impl in ("plugin", "onnx")]
    rows = layers.compare(*files, [images(1)])
    assert rows
    assert all(row.difference.largest < 1e-4 for row in rows)


@pytest.mark.parametrize("change", ["another plugin", "no threshold", "a third input"])
def test_a_plugin_that_can_not_be_exchanged_is_named_with_its_file(
    change: str, tmp_path: Path
) -> None:
    path = file(tmp_path, "objectness", "efficientnms")
    graph = graph_of(load(path))
    node = existing_nms(graph)
    if change == "another plugin":
        node.op = "BatchedNMS_TRT"
    elif change == "no threshold":
        del node.attrs["iou_threshold"]
    else:
        node.inputs.append(gs.Constant("anchors", np.zeros((1, 4), np.float32)))
    onnx.save(model_of(graph), path)
    with pytest.raises(
        MachineError, match=f"{path.name}: .*can't be exchanged.*runs only in TensorRT"
    ):
        open_model(path)


def test_detections_are_final_whatever_form_a_recipe_names(tmp_path: Path) -> None:
    """Without suppression, as DETR has none, nothing but the names shows that boxes were ranked."""
    s = sketch()
    flat = s.op("Reshape", "image", s.ints(1, -1))
    best, boxes = s.slice(flat, 0, 100, 1), s.slice(flat, 0, 400, 1)
    int32, float32 = onnx.TensorProto.INT32, onnx.TensorProto.FLOAT
    made = [
        ("Cast", [s.slice(flat, 0, 1, 1)], {"to": int32}, int32, (1, 1)),
        ("Reshape", [boxes, s.ints(1, 100, 4)], {}, float32, (1, 100, 4)),
        ("Identity", [best], {}, float32, (1, 100)),
        ("Cast", [best], {"to": int32}, int32, (1, 100)),
    ]
    model = s.model(best, batch=1)
    del model.graph.output[:]
    for name, (op, inputs, attributes, kind, shape) in zip(OUTPUTS, made, strict=True):
        model.graph.node.append(onnx.helper.make_node(op, inputs, [name], name, **attributes))
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, kind, shape))
    path = tmp_path / "ranked.onnx"
    onnx.save(model, path)
    recipe = Recipe(head="ranked")
    opened = open_model(path, recipe)
    boxes, scores, classes = finder(opened, Nms())(opened.infer(np.ones_like(images(1))))
    assert boxes.shape == (1, 4)
    assert len(scores) == len(classes) == 1
