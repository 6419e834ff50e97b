"""Detectors small enough to decode by hand: one strided convolution a scale, on 64x64 images."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from onnx import TensorProto

from tests.models import (
    CELLS,
    CLASSES,
    SIDE,
    STRIDES,
    Sketch,
    anchor_free,
    anchor_free_output,
    anchor_free_parts,
    head,
    images,
    objectness,
    objectness_output,
    reference,
    run,
    sketch,
    weights,
)
from trtforge.errors import ForgeError
from trtforge.graph.detection import Detection, decode, existing_nms, recognise, to_corners
from trtforge.graph.nms import NmsOptions, apply
from trtforge.graph.nms.strip import strip_nms
from trtforge.recipe import Decode


def found(model: onnx.ModelProto, hint: str | None = None) -> Detection | None:
    return recognise(gs.import_onnx(model), hint)


# --------------------------------------------------------------------------------------------------
# recognised


@pytest.mark.parametrize("batch", [1, 4, "batch"])
def test_objectness(batch: int | str) -> None:
    detection = found(objectness(batch=batch))
    assert detection is not None
    assert (detection.form, detection.axes[0], detection.coding) == ("objectness", 2, "centre")
    assert (detection.boxes, detection.classes, detection.size) == (
        3 * CELLS,
        CLASSES,
        (SIDE, SIDE),
    )
    assert "3 boxes on each cell of stride 8, 16, 32 at 64x64" in detection.why


@pytest.mark.parametrize("batch", [1, 4, "batch"])
def test_anchor_free(batch: int | str) -> None:
    detection = found(anchor_free(batch=batch))
    assert detection is not None
    assert (detection.form, detection.axes[0], detection.coding) == ("anchor-free", 1, "centre")
    assert (detection.boxes, detection.classes, detection.size) == (CELLS, CLASSES, (SIDE, SIDE))


def test_graph_is_left_alone() -> None:
    graph = gs.import_onnx(objectness())
    before = gs.export_onnx(graph).SerializeToString()
    recognise(graph)
    assert gs.export_onnx(graph).SerializeToString() == before


def test_order_of_nodes_does_not_matter() -> None:
    graph = gs.import_onnx(objectness())
    graph.nodes.reverse()
    detection = recognise(graph)
    assert detection is not None
    assert detection.boxes == 3 * CELLS


def test_one_class_has_no_objectness_to_spare() -> None:
    s = sketch()
    detection = found(s.model(anchor_free_output(s, classes=1)))
    assert detection is not None
    assert (detection.form, detection.classes) == ("anchor-free", 1)


def test_rows_of_boxes_and_classes() -> None:
    s = sketch()
    detection = found(s.model(s.op("Transpose", anchor_free_output(s), perm=[0, 2, 1])))
    assert detection is not None
    assert (detection.form, detection.axes[0], detection.classes) == ("anchor-free", 2, CLASSES)


def test_objectness_of_its_own_sigmoid() -> None:
    s = sketch()
    boxes, logits = anchor_free_parts(s, classes=1 + CLASSES)
    parts = [
        s.op("Sigmoid", s.slice(logits, 0, 1, 1)),
        s.op("Sigmoid", s.slice(logits, 1, 1 + CLASSES, 1)),
    ]
    rows = s.op("Transpose", s.op("Concat", boxes, *parts, axis=1), perm=[0, 2, 1])
    detection = found(s.model(rows))
    assert detection is not None
    assert (detection.form, detection.boxes, detection.classes) == ("objectness", CELLS, CLASSES)


def test_corners_show_in_the_structure() -> None:
    s = sketch()
    detection = found(s.model(anchor_free_output(s, corners=True)))
    assert detection is not None
    assert detection.coding == "corners"


@pytest.mark.parametrize(("corners", "coding"), [(True, "corners"), (False, "centre")])
def test_two_outputs(corners: bool, coding: str) -> None:
    s = sketch()
    boxes, logits = anchor_free_parts(s, corners=corners)
    rows = [
        s.op("Transpose", tensor, perm=[0, 2, 1]) for tensor in (s.op("Sigmoid", logits), boxes)
    ]
    detection = found(s.model(*rows))
    assert detection is not None
    assert (detection.form, detection.coding, detection.classes) == (
        "boxes-scores",
        coding,
        CLASSES,
    )
    assert detection.outputs == (rows[1], rows[0])


def test_half_and_int8_heads_are_seen_through() -> None:
    s = sketch()
    boxes, logits = anchor_free_parts(s)
    scale, zero = s.const(1 / 127), s.const(0, np.int8)
    scores = s.op("Sigmoid", s.op("Cast", logits, to=TensorProto.FLOAT16))
    scores = s.op("Cast", scores, to=TensorProto.FLOAT)
    scores = s.op("DequantizeLinear", s.op("QuantizeLinear", scores, scale, zero), scale, zero)
    detection = found(s.model(s.op("Concat", boxes, scores, axis=1)))
    assert detection is not None
    assert detection.form == "anchor-free"


def test_dynamic_size_leaves_boxes_unknown() -> None:
    s = sketch()
    raw = s.op(
        "Conv", "image", s.const(weights(32, 4 + CLASSES)), kernel_shape=[32, 32], strides=[32, 32]
    )
    shape = s.op("Shape", raw)
    rows, columns = (s.op("Gather", shape, s.const(axis, np.int64), axis=0) for axis in (2, 3))
    zero, one = s.const(0, np.int64), s.const(1, np.int64)
    xs, ys = (s.op("Range", zero, count, one) for count in (columns, rows))
    down = s.op(
        "Expand", s.op("Reshape", ys, s.ints(-1, 1)), s.op("Slice", shape, s.ints(2), s.ints(4))
    )
    across = s.op(
        "Expand", s.op("Reshape", xs, s.ints(1, -1)), s.op("Slice", shape, s.ints(2), s.ints(4))
    )
    flat = [s.op("Reshape", tensor, s.ints(1, 1, -1)) for tensor in (across, down)]
    points = s.op("Cast", s.op("Concat", *flat, axis=1), to=TensorProto.FLOAT)
    flat_raw = s.op("Reshape", raw, s.ints(0, 4 + CLASSES, -1))
    centre = s.op("Mul", s.op("Add", s.slice(flat_raw, 0, 2, 1), points), s.const(32))
    extent = s.op("Mul", s.op("Exp", s.slice(flat_raw, 2, 4, 1)), s.const(32))
    scores = s.op("Sigmoid", s.slice(flat_raw, 4, 4 + CLASSES, 1))
    detection = found(s.model(s.op("Concat", centre, extent, scores, axis=1), side="side"))
    assert detection is not None
    assert (detection.form, detection.boxes, detection.size) == ("anchor-free", None, None)


# ---------------------------------------------------------------------------------------------------
# look-alikes


def feature_map(s: Sketch) -> str:
    """A detector's shape, and nothing else: `(B, 7, 84)`"""
    parts = [s.op("Reshape", head(s, n, 7), s.ints(-1, 7, (SIDE // n) ** 2)) for n in STRIDES]
    return s.op("Concat", *parts, axis=2)


def raw_head(s: Sketch) -> str:
    return objectness_output(s, decode=False)


def sigmoid_map(s: Sketch) -> str:
    return s.op("Sigmoid", feature_map(s))


def silu_map(s: Sketch) -> str:
    features = feature_map(s)
    return s.op("Mul", features, s.op("Sigmoid", features))


def logits_beside_boxes(s: Sketch) -> str:
    return s.op("Concat", *anchor_free_parts(s), axis=1)


def boxes_without_grid(s: Sketch) -> str:
    features = feature_map(s)
    boxes = s.op("Mul", s.slice(features, 0, 4, 1), s.const(8))
    return s.op("Concat", boxes, s.op("Sigmoid", s.slice(features, 4, 7, 1)), axis=1)


def masks_too(s: Sketch) -> str:
    return s.op("Concat", anchor_free_output(s), s.slice(feature_map(s), 0, 2, 1), axis=1)


def angle_too(s: Sketch) -> str:
    angle = s.op("Mul", s.op("Sigmoid", s.slice(feature_map(s), 0, 1, 1)), s.const(np.pi))
    return s.op("Concat", anchor_free_output(s), angle, axis=1)


def one_box_short(s: Sketch) -> str:
    return s.slice(anchor_free_output(s), 0, CELLS - 1, 2)


def scores_alone(s: Sketch) -> str:
    rows = objectness_output(s, classes=6)
    return s.op("Mul", s.slice(rows, 4, 5, 2), s.slice(rows, 5, 11, 2))


def classifier(s: Sketch) -> str:
    pooled = s.op("Reshape", s.op("GlobalAveragePool", head(s, 8, 10)), s.ints(-1, 10))
    return s.op("Softmax", pooled, axis=1)


LOOK_ALIKES = [
    feature_map,
    raw_head,
    sigmoid_map,
    silu_map,
    logits_beside_boxes,
    boxes_without_grid,
    masks_too,
    angle_too,
    one_box_short,
    scores_alone,
    classifier,
]


@pytest.mark.parametrize("build", LOOK_ALIKES)
def test_look_alikes_are_refused(build: Any) -> None:
    s = sketch()
    assert found(s.model(build(s))) is None


@pytest.mark.parametrize("build", LOOK_ALIKES)
def test_look_alikes_are_not_patched(build: Any) -> None:
    s = sketch()
    with pytest.raises(ForgeError) as caught:
        apply(gs.import_onnx(s.model(build(s))), "onnx", NmsOptions())
    assert caught.value.code == 2
    assert "[B, " in caught.value.problem or "[batch, " in caught.value.problem  # what was seen
    assert "--nms none" in caught.value.hint  # and what decides


def test_extra_channels_are_named() -> None:
    s = sketch()
    with pytest.raises(ForgeError, match="not certain enough") as caught:
        apply(gs.import_onnx(s.model(masks_too(s))), "onnx", NmsOptions())
    assert "channels 7 to 8" in caught.value.hint


def test_a_hint_overrides_the_evidence() -> None:
    s = sketch()
    detection = found(s.model(one_box_short(s)), "anchor-free")
    assert detection is not None
    assert (detection.boxes, detection.classes, detection.axes[0]) == (CELLS - 1, CLASSES, 1)


def test_a_hint_cannot_make_a_classifier_a_detector() -> None:
    s = sketch()
    assert found(s.model(classifier(s)), "objectness") is None


def test_a_hint_must_be_a_form() -> None:
    with pytest.raises(ForgeError, match="yolo"):
        found(objectness(), "yolo")


# -------------------------------------------------------------------------------------------- boxes
# and scores


@pytest.mark.parametrize("form", ["objectness", "anchor-free"])
@pytest.mark.parametrize("batch", [1, 4])
def test_boxes_and_scores_run(form: str, batch: int) -> None:
    graph = gs.import_onnx(objectness() if form == "objectness" else anchor_free())
    detection = recognise(graph)
    assert detection is not None
    decoded = decode(graph, detection)
    graph.outputs = [to_corners(graph, decoded.boxes), decoded.scores]
    graph.cleanup().toposort()
    got = list(run(graph, {"image": images(batch)}).values())
    want = reference(form, images(batch))
    np.testing.assert_allclose(got[0], want[0], rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(got[1], want[1], atol=1e-5)


def test_half_output_is_cast() -> None:
    s = sketch()
    model = s.model(s.op("Cast", objectness_output(s), to=TensorProto.FLOAT16))
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    graph = gs.import_onnx(model)
    detection = recognise(graph)
    assert detection is not None
    decoded = decode(graph, detection)
    graph.outputs = [decoded.boxes, decoded.scores]
    got = list(run(graph.cleanup().toposort(), {"image": images(1)}).values())
    assert [array.dtype.name for array in got] == ["float32", "float32"]
    np.testing.assert_allclose(got[1], reference("objectness", images(1))[1], atol=2e-3)


# -------------------------------------------------------------------------------------------------------
# strip


def suppressed(op: str, boxes: Any, attrs: dict[str, Any]) -> gs.Graph:
    """The anchor-free detector, its corners or centres given to a plugin as `boxes` makes them."""
    graph = gs.import_onnx(anchor_free())
    detection = recognise(graph)
    assert detection is not None
    decoded = decode(graph, detection)
    centres, scores = decoded.boxes, decoded.scores
    outputs = [gs.Variable(f"out{i}", np.float32) for i in range(4)]
    graph.nodes.append(gs.Node(op, "plugin", attrs, [boxes(graph, centres), scores], outputs))
    graph.outputs = outputs
    return graph.cleanup().toposort()


def four_axes(graph: gs.Graph, centres: Any) -> Any:
    """Corners as fractions, `(B, N, 1, 4)`"""
    fractions = gs.Variable("fractions", np.float32)
    reshaped = gs.Variable("reshaped", np.float32)
    side = gs.Constant("side", np.array(SIDE, np.float32))
    shape = gs.Constant("four", np.array([0, -1, 1, 4], np.int64))
    graph.nodes.append(gs.Node("Div", "d", {}, [to_corners(graph, centres), side], [fractions]))
    graph.nodes.append(gs.Node("Reshape", "r", {}, [fractions, shape], [reshaped]))
    return reshaped


PLUGINS = {
    "centres": (
        "EfficientNMS_TRT",
        lambda graph, boxes: boxes,
        {"box_coding": 1, "score_activation": 0},
    ),
    "centres in a list": ("EfficientNMS_TRT", lambda graph, boxes: boxes, {"box_coding": [1]}),
    "corners": ("EfficientNMS_TRT", to_corners, {"box_coding": 0}),
    "fractions": ("BatchedNMSDynamic_TRT", four_axes, {"isNormalized": 1}),
    "fractions by default": ("BatchedNMS_TRT", four_axes, {}),
    "pixels": ("BatchedNMS_TRT", to_corners, {"isNormalized": 0}),
}


@pytest.mark.parametrize("case", PLUGINS)
def test_strip_leaves_boxes_and_scores(case: str) -> None:
    graph = suppressed(*PLUGINS[case])
    assert existing_nms(graph).op == PLUGINS[case][0]
    assert recognise(graph) is None
    detection = strip_nms(graph)
    assert detection is not None
    assert existing_nms(graph) is None
    assert (detection.form, detection.outputs, detection.coding) == (
        "boxes-scores",
        ("boxes", "scores"),
        "corners",
    )
    assert [list(tensor.shape) for tensor in graph.outputs] == [
        ["batch", CELLS, 4],
        ["batch", CELLS, CLASSES],
    ]
    got = run(graph, {"image": images(2)})
    want = reference("anchor-free", images(2))
    np.testing.assert_allclose(got["boxes"], want[0], rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(got["scores"], want[1], atol=1e-5)


@pytest.mark.parametrize("case", PLUGINS)
def test_stripped_graph_is_recognised_again(case: str) -> None:
    graph = suppressed(*PLUGINS[case])
    strip_nms(graph)
    detection = found(gs.export_onnx(graph))
    assert detection is not None
    assert (detection.form, detection.coding, detection.boxes) == ("boxes-scores", "corners", CELLS)


def test_strip_without_nms_does_nothing() -> None:
    graph = gs.import_onnx(objectness())
    assert strip_nms(graph) is None
    assert len(graph.outputs) == 1


def with_standard_nms(agnostic: bool = False) -> gs.Graph:
    graph = gs.import_onnx(anchor_free())
    apply(graph, "onnx", NmsOptions(class_agnostic=agnostic))
    return gs.import_onnx(gs.export_onnx(graph))


def test_standard_nms_is_cut_away_too() -> None:
    graph = with_standard_nms()
    assert strip_nms(graph) is not None
    got = run(graph, {"image": images(2)})
    want = reference("anchor-free", images(2))
    np.testing.assert_allclose(got["boxes"], want[0], rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(got["scores"], want[1], atol=1e-5)


def test_boxes_before_standard_nms_have_to_show_their_coding() -> None:
    """Corners that are no arithmetic over a grid may be y first, or fractions."""
    s = sketch()
    boxes, logits = anchor_free_parts(s, corners=True)
    plain = s.op("Transpose", s.op("Abs", boxes), perm=[0, 2, 1])
    s.nodes.append(
        onnx.helper.make_node(
            "NonMaxSuppression", [plain, s.op("Sigmoid", logits), s.ints(5)], ["kept"]
        )
    )
    model = s.model("kept")
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    with pytest.raises(ForgeError, match="how its boxes are coded"):
        strip_nms(gs.import_onnx(model))
    found = strip_nms(gs.import_onnx(model), Decode(unit="fraction", order="yx", coding="corners"))
    assert found is not None
    assert (found.geometry.unit, found.geometry.order) == ("fraction", "yx")


def test_a_plugin_with_a_box_for_every_class_cannot_be_stripped() -> None:
    def for_every_class(graph: gs.Graph, centres: Any) -> Any:
        boxes, copies = four_axes(graph, centres), gs.Variable("copies", np.float32)
        graph.nodes.append(gs.Node("Concat", "c", {"axis": 2}, [boxes] * CLASSES, [copies]))
        return copies

    graph = suppressed("BatchedNMS_TRT", for_every_class, {})
    with pytest.raises(ForgeError, match="every class"):
        strip_nms(graph)


def test_a_plugin_that_decodes_anchors_cannot_be_stripped() -> None:
    graph = suppressed(*PLUGINS["corners"])
    graph.nodes[-1].inputs.append(gs.Constant("anchors", np.zeros((1, CELLS, 4), np.float32)))
    with pytest.raises(ForgeError, match="anchors"):
        strip_nms(graph)


def test_best_cells_of_a_map_are_no_queries() -> None:
    """CenterNet: boxes around the best cells of a map of scores, from a TopK's own indices."""
    s = sketch()
    features = s.op("Sigmoid", head(s, 8, 8))
    scores = s.op("Reshape", s.slice(features, 0, 1, 1), s.ints(1, -1))
    s.nodes.append(
        onnx.helper.make_node("TopK", [scores, s.ints(20)], ["best", "cells"], "top", axis=1)
    )
    cells = s.op("Cast", s.op("Reshape", "cells", s.ints(1, -1, 1)), to=TensorProto.FLOAT)
    down = s.op("Floor", s.op("Div", cells, s.const(8)))
    across = s.op("Sub", cells, s.op("Mul", down, s.const(8)))
    near, far = s.const(-1), s.const(1)
    sides = [s.op("Add", each, side) for side in (near, far) for each in (across, down)]
    rank = s.op("Reshape", "best", s.ints(1, -1, 1))
    rows = s.op("Concat", *sides, rank, s.op("Mul", rank, s.const(0)), axis=2)
    scale = s.const(np.array([8, 8, 8, 8, 1, 1], np.float32))
    assert found(s.model(s.op("Mul", rows, scale), batch=1)) is None


def test_rows_and_columns_of_a_grid_may_be_added_apart() -> None:
    s, rows, width = sketch(), [], 4 + CLASSES
    for stride in (8, 16):  # 16 cells at least, more than the 8 numbers of a run
        side = SIDE // stride
        x = s.op("Reshape", head(s, stride, 3 * (width + 1)), s.ints(-1, 3, width + 1, side, side))
        x = s.op("Transpose", x, perm=[0, 1, 3, 4, 2])
        places = np.arange(side, dtype=np.float32)
        centre = [
            s.op("Add", s.op("Sigmoid", s.slice(x, at, at + 1, 4)), s.const(places.reshape(shape)))
            for at, shape in enumerate([(1, 1, 1, side, 1), (1, 1, side, 1, 1)])
        ]
        centre = [s.op("Mul", each, s.const(stride)) for each in centre]
        extent = [
            s.op("Mul", s.op("Exp", s.slice(x, at, at + 1, 4)), s.const(2 * stride))
            for at in (2, 3)
        ]
        surely = s.op("Sigmoid", s.slice(x, 4, 5, 4))
        scores = s.op("Mul", surely, s.op("Sigmoid", s.slice(x, 5, width + 1, 4)))
        y = s.op("Concat", *centre, *extent, scores, axis=4)
        rows.append(s.op("Reshape", y, s.ints(-1, 3 * side * side, width)))
    detection = found(s.model(s.op("Concat", *rows, axis=1), batch=1))
    assert detection is not None
    assert (detection.form, detection.classes) == ("anchor-free", CLASSES)
    assert detection.sure == "certain"
