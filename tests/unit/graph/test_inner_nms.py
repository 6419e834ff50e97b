"""NMS that a model brings along, over the best class of each box, as exporters write it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from onnx import TensorProto, helper

from tests.families import columns, turned_boxes
from tests.models import (
    CELLS,
    CLASSES,
    SIDE,
    Sketch,
    anchor_free,
    anchor_free_parts,
    images,
    reference,
    run,
    sketch,
)
from trtforge.errors import ForgeError
from trtforge.graph.detection import existing_nms, recognise
from trtforge.graph.nms import NmsOptions, apply
from trtforge.graph.nms.inner import inner_nms
from trtforge.graph.nms.strip import strip_nms

ROWS = 20


def parts(s: Sketch) -> tuple[str, str]:
    """Corners `(B, 84, 4)` and probabilities `(B, 84, C)`."""
    boxes, logits = anchor_free_parts(s, corners=True)
    return tuple(s.op("Transpose", x, perm=[0, 2, 1]) for x in (boxes, s.op("Sigmoid", logits)))  # type: ignore[return-value]


def suppressing(s: Sketch, boxes: str, scores: str, *limits: str) -> str:
    s.nodes.append(
        helper.make_node("NonMaxSuppression", [boxes, scores, *limits], ["kept"], "suppress")
    )
    return "kept"


def with_offset(batch: int | str = 1, agnostic: bool = False) -> onnx.ModelProto:
    """yolov7's ``--end2end --max-wh``: rows of image, box, class and score, as many as there are."""
    s = sketch()
    boxes, scores = parts(s)
    best = s.op("ReduceMax", scores, axes=[2], keepdims=1)
    number = s.op("Cast", s.op("ArgMax", scores, axis=2, keepdims=1), to=TensorProto.FLOAT)
    moved = boxes if agnostic else s.op("Add", boxes, s.op("Mul", number, s.const(640.0)))
    by_class = s.op("Transpose", best, perm=[0, 2, 1])
    limits = s.ints(ROWS), s.const([0.4]), s.const([0.3])
    kept = suppressing(s, moved, by_class, *limits)
    image = s.op("Gather", kept, s.const(0, np.int64), axis=1)
    box = s.op("Gather", kept, s.const(2, np.int64), axis=1)
    where = s.op("Concat", *(s.op("Unsqueeze", x, s.ints(1)) for x in (image, box)), axis=1)
    picked = [s.op("GatherND", x, where) for x in (boxes, number, best)]
    return s.model(s.op("Concat", *picked, axis=1), batch=batch)


def filtered(batch: int, dynamic: bool = False) -> onnx.ModelProto:
    """Ultralytics' ``nms=True``: each image by itself, after NonZero; rows of box, score, class.

    With `dynamic`, the batch is filled up to `batch` by empty rows.
    """
    s = sketch()
    rows = s.op("Transpose", anchor_free_rows(s), perm=[0, 2, 1])
    if dynamic:
        count = s.slice(s.op("Shape", "image"), 0, 1, 0)
        more = s.op("Max", s.op("Sub", s.ints(batch), count), s.ints(0))
        shape = s.op("Concat", more, s.ints(CELLS, 4 + CLASSES), axis=0)
        rows = s.op("Concat", rows, s.op("ConstantOfShape", shape), axis=0)
    scores = s.slice(rows, 4, 4 + CLASSES, 2)
    whole = (
        s.slice(rows, 0, 4, 2),
        s.op("ReduceMax", scores, axes=[-1], keepdims=0),
        s.op("ArgMax", scores, axis=-1, keepdims=0),
    )
    found = [_of_image(s, *whole, number) for number in range(batch)]
    return s.model(
        s.op("Concat", *found, axis=0) if batch > 1 else found[0],
        batch="batch" if dynamic else batch,
    )


def anchor_free_rows(s: Sketch) -> str:
    boxes, logits = anchor_free_parts(s, corners=True)
    return s.op("Concat", boxes, s.op("Sigmoid", logits), axis=1)


def _of_image(s: Sketch, boxes: str, scores: str, classes: str, number: int) -> str:
    at = s.const(number, np.int64)
    boxes, scores, classes = (s.op("Gather", x, at, axis=0) for x in (boxes, scores, classes))
    above = s.op("NonZero", s.op("Greater", scores, s.const(0.3)))
    where = s.op("Transpose", above, perm=[1, 0])
    box, score, kind = (s.op("GatherND", x, where) for x in (boxes, scores, classes))
    kind = s.op("Cast", kind, to=TensorProto.FLOAT)
    offset = s.op("Unsqueeze", kind, s.ints(1))
    moved = s.op("Add", s.op("Div", box, s.const(float(SIDE))), offset)
    candidates = s.op("Unsqueeze", moved, s.ints(0)), s.op("Unsqueeze", score, s.ints(0, 1))
    name = f"kept{number}"
    s.nodes.append(
        helper.make_node(
            "NonMaxSuppression", [*candidates, s.ints(1000), s.const([0.4])], [name], name
        )
    )
    keep = s.op(
        "Slice", s.op("Gather", name, s.const(2, np.int64), axis=1), s.ints(0), s.ints(ROWS)
    )
    picked = [s.op("Gather", box, keep)]
    picked += [s.op("Unsqueeze", s.op("Gather", x, keep), s.ints(1)) for x in (score, kind)]
    rows = s.op("Concat", *picked, axis=1)
    missing = s.op("Sub", s.ints(ROWS), s.slice(s.op("Shape", rows), 0, 1, 0))
    pads = s.op("Concat", s.ints(0, 0), missing, s.ints(0), axis=0)
    padded = s.op("Pad", rows, pads)
    return s.op("Reshape", padded, s.ints(1, ROWS, 6))


MODELS: dict[str, Callable[[], onnx.ModelProto]] = {
    "offset": with_offset,
    "offset, any batch": lambda: with_offset("batch"),
    "filtered": lambda: filtered(1),
    "filtered, two images": lambda: filtered(2),
    "filtered, up to two images": lambda: filtered(2, dynamic=True),
}


@pytest.mark.parametrize("name", MODELS)
def test_rows_before_the_nms_are_whole(name: str) -> None:
    model = MODELS[name]()
    batch = 2 if "two" in name else 1
    graph = gs.import_onnx(model)
    inner = inner_nms(graph)
    assert inner is not None
    assert (inner.op, inner.score, inner.iou) == ("NonMaxSuppression", 0.3, 0.4)
    assert inner.max_det == (ROWS if "filtered" in name else None)
    assert inner.detection.best_class
    assert not inner.class_agnostic

    found = strip_nms(graph)
    assert found is not None
    assert (found.classes, found.boxes, found.coding) == (CLASSES, CELLS, "corners")
    assert existing_nms(graph) is None
    got = run(graph, {"image": images(batch)})
    boxes, scores = reference("anchor-free", images(batch))
    if "predictions" in got:
        got = {"boxes": got["predictions"][..., :4], "scores": got["predictions"][..., 4:]}
    np.testing.assert_allclose(got["boxes"], boxes, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(got["scores"], scores, atol=1e-5)


@pytest.mark.parametrize("name", ["offset", "filtered"])
def test_nms_that_is_put_back_gives_the_same_boxes(name: str) -> None:
    """Of boxes with several classes above the score, too: the best one counts."""
    model = MODELS[name]()
    want = run(gs.import_onnx(model), {"image": images(1)})
    (rows,) = want.values()
    rows = rows.reshape(-1, 6)
    rows = rows[:, [0, 1, 2, 3, 5, 4]] if name == "offset" else rows[rows[:, 4] > 0]
    rows = rows[np.argsort(-rows[:, 4])]
    graph = gs.import_onnx(model)
    apply(graph, "onnx", NmsOptions(score=0.3, iou=0.4, max_det=ROWS))
    got = run(graph, {"image": images(1)})
    count = int(got["num_detections"][0, 0])
    assert count == len(rows) > 3
    np.testing.assert_allclose(got["detection_boxes"][0, :count], rows[:, :4], rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(got["detection_scores"][0, :count], rows[:, 4], atol=1e-5)
    assert got["detection_classes"][0, :count].tolist() == rows[:, 5].tolist()


@pytest.mark.parametrize("model", [with_offset(agnostic=True), None])
def test_without_an_offset_classes_suppress_each_other(model: onnx.ModelProto | None) -> None:
    if model is None:  # by our own operators, which take the best class by a TopK
        graph = gs.import_onnx(anchor_free())
        apply(graph, "onnx", NmsOptions(class_agnostic=True))
        model = gs.export_onnx(graph)
    inner = inner_nms(gs.import_onnx(model))
    assert inner is not None
    assert inner.class_agnostic


@pytest.mark.parametrize("agnostic", [False, True])
def test_every_class_above_the_score_may_be_selected(agnostic: bool) -> None:
    """Rows of YOLOv5's ``multi_label``: pairs of box and class by one NonZero."""
    s = sketch()
    rows = s.op("Squeeze", s.op("Transpose", anchor_free_rows(s), perm=[0, 2, 1]), s.ints(0))
    boxes, scores = s.slice(rows, 0, 4, 1), s.slice(rows, 4, 4 + CLASSES, 1)
    where = s.op("NonZero", s.op("Greater", scores, s.const(0.3)))
    box, kind = (s.op("Gather", where, s.const(row, np.int64), axis=0) for row in (0, 1))
    number = s.op("Unsqueeze", s.op("Cast", kind, to=TensorProto.FLOAT), s.ints(1))
    moved = picked = s.op("Gather", boxes, box, axis=0)
    if not agnostic:
        moved = s.op("Add", picked, s.op("Mul", number, s.const(7680.0)))
    score = s.op("GatherND", scores, s.op("Transpose", where, perm=[1, 0]))
    candidates = s.op("Unsqueeze", moved, s.ints(0)), s.op("Unsqueeze", score, s.ints(0, 1))
    kept = suppressing(s, *candidates, s.ints(300), s.const([0.4]))
    at = s.op("Gather", kept, s.const(2, np.int64), axis=1)
    model = s.model(s.op("Gather", s.op("Concat", picked, number, axis=1), at, axis=0), batch=1)
    inner = inner_nms(gs.import_onnx(model))
    assert inner is not None
    assert (inner.score, inner.iou, inner.class_agnostic) == (0.3, 0.4, agnostic)
    assert not inner.detection.best_class


def test_plain_nms_reads_all_boxes_and_scores() -> None:
    graph = gs.import_onnx(anchor_free())
    apply(graph, "onnx", NmsOptions(score=0.3, iou=0.4))
    inner = inner_nms(graph)
    assert inner is not None
    assert inner.plain
    assert (inner.score, inner.iou, inner.class_agnostic) == (0.3, 0.4, False)
    assert not inner.detection.best_class


def test_boxes_that_no_grid_shows_are_left_alone() -> None:
    """The rows are lost where a Gather takes half of them before the NMS."""
    s = sketch()
    boxes, scores = parts(s)
    half = s.const(np.arange(CELLS // 2), np.int64)
    boxes, scores = (s.op("Gather", s.op("Abs", x), half, axis=1) for x in (boxes, scores))
    best = s.op("ReduceMax", scores, axes=[2], keepdims=1)
    number = s.op("Cast", s.op("ArgMax", scores, axis=2, keepdims=1), to=TensorProto.FLOAT)
    kept = suppressing(s, s.op("Add", boxes, number), s.op("Transpose", best, perm=[0, 2, 1]))
    model = s.model(kept)
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    with pytest.raises(ForgeError, match="after a ArgMax") as caught:
        strip_nms(gs.import_onnx(model))
    assert "--nms keep" in caught.value.hint


def oriented() -> onnx.ModelProto:
    """Ultralytics' ``nms=True`` for oriented boxes: a table of overlaps, of which Trilu keeps half.

    The overlap is the difference of the angles here: only its place in the graph matters.
    """
    s = sketch()
    x = columns(s, 4 + CLASSES + 1)
    angle = s.slice(x, 4 + CLASSES, 5 + CLASSES, 1)
    boxes = turned_boxes(s, s.op("Exp", s.slice(x, 0, 4, 1)), angle)
    scores = s.op("Sigmoid", s.slice(x, 4, 4 + CLASSES, 1))
    rows = s.op("Transpose", s.op("Concat", boxes, scores, angle, axis=1), perm=[0, 2, 1])
    scores, angle = s.slice(rows, 4, 4 + CLASSES, 2), s.slice(rows, 4 + CLASSES, 5 + CLASSES, 2)
    best = s.op("ReduceMax", scores, axes=[2], keepdims=0)
    number = s.op("Cast", s.op("ArgMax", scores, axis=2, keepdims=1), to=TensorProto.FLOAT)
    s.nodes.append(helper.make_node("TopK", [best, s.ints(CELLS)], ["v", "i"], "t", axis=1))
    order = s.op("Unsqueeze", "i", s.ints(2))
    angle = s.op("GatherElements", s.op("Add", angle, number), order, axis=1)
    overlap = s.op("Sub", angle, s.op("Transpose", angle, perm=[0, 2, 1]))
    half = s.op("Trilu", overlap, upper=1)
    hidden = s.op("Cast", s.op("Greater", half, s.const(0.7)), to=TensorProto.FLOAT)
    free = s.op("Equal", s.op("ReduceSum", hidden, s.ints(1), keepdims=0), s.const(0.0))
    values = s.op("Mul", "v", s.op("Cast", free, to=TensorProto.FLOAT))
    return s.model(values, batch=1)


def test_nms_of_oriented_boxes_by_operators() -> None:
    graph = gs.import_onnx(oriented())
    node = existing_nms(graph)
    assert node is not None
    assert node.op == "Trilu"
    inner = inner_nms(graph)
    assert inner is not None
    assert (inner.iou, inner.class_agnostic) == (0.7, False)
    found = strip_nms(graph)
    assert found is not None
    assert [extra.name for extra in found.extras] == ["angle"]
    again = recognise(graph)
    assert again is not None
    assert [extra.name for extra in again.extras] == ["angle"]
