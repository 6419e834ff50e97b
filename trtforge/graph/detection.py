"""Recognise a detector whose boxes are decoded but not yet suppressed, and hand out its boxes and scores.

Shapes and structure decide, never names. Two facts must agree before an output counts as a detector's:

* the number of boxes is what the image size and a run of strides give: 3 anchors on each cell for YOLOv5/v7
  (25200 at 640x640 with strides 8, 16 and 32), 1 for YOLOX, YOLOv8 and their kin (8400);
* the first four channels are *arithmetic over a constant grid*, and every channel after them is a Sigmoid.

So a feature map of 84 channels and 8400 positions, a raw head without its decode, and heads with more than boxes
and classes (masks, key points, angles) are all refused. A hint from the user overrides both checks.

Everything here works on one in-memory graph, edits it in place, and neither reads files nor logs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations
from math import prod
from typing import Any, Literal, NamedTuple, cast, get_args

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from trtforge.errors import ForgeError
from trtforge.graph.edit import PREFIX, add_node, channels, float32, image_input
from trtforge.graph.fold import quiet

Form = Literal["objectness", "anchor-free", "boxes-scores"]
Coding = Literal["centre", "corners"]
Size = tuple[int, int]

PLUGINS = ("EfficientNMS_TRT", "BatchedNMS_TRT", "BatchedNMSDynamic_TRT")

_STRIDES = (4, 8, 16, 32, 64, 128)
_ANCHORS = (1, 3)
_PROBE_SIDE = 640  # stands in for a dynamic height or width; every stride divides it
_LARGE = 1 << 16  # elements; above it a constant is a weight, whose values no shape depends on
_PASS = {"Identity", "Cast", "QuantizeLinear", "DequantizeLinear"}
_RESHAPE = {"Reshape", "Flatten", "Squeeze", "Unsqueeze"}
_MOVE = _PASS | _RESHAPE | {"Concat", "Transpose", "Slice", "Split"}
_LEAST_GRID = 4  # elements: smaller constants are scales and offsets
_ARITHMETIC = {"Add", "Sub", "Mul", "Div", "Pow", "Exp"}


@dataclass(frozen=True)
class Detection:
    """A detector's outputs, as found in the graph.

    Attributes:
        form: "objectness" is one tensor of 4 box + 1 objectness + C class channels (YOLOv5, YOLOv7, YOLOX);
            "anchor-free" is one tensor of 4 box + C class channels (YOLOv8 and later); "boxes-scores" is a
            tensor of boxes `(B, N, 4)` and one of final scores `(B, N, C)` (YOLO-NAS, or a plugin cut away).
        outputs: the tensor's name; boxes then scores for "boxes-scores".
        channel_axis: 2 for rows `(B, N, channels)`, 1 for columns `(B, channels, N)`.
        coding: "centre" is cx, cy, w, h and "corners" is x1, y1, x2, y2, both in pixels of the network's input.
        boxes: N, or None where the input's height or width is dynamic.
        classes: C.
        size: (height, width) of the input, or None where dynamic.
        why: the evidence, in one sentence.
    """

    form: Form
    outputs: tuple[str, ...]
    channel_axis: int
    coding: Coding
    boxes: int | None
    classes: int
    size: Size | None
    why: str


# ----------------------------------------------------------------------------------------------- recognising


def recognise(graph: gs.Graph, hint: str | None = None) -> Detection | None:
    """The detector in `graph`, or None.

    Args:
        graph: left untouched. A graph that already suppresses boxes is not recognised; see `existing_nms`.
        hint: a form. Its word is taken: only ranks and channel counts are checked, and the structure no more
            than tells the coding of the boxes ("corners" where a "boxes-scores" graph does not show it).

    Raises:
        ForgeError: the hint is not a form.
    """
    if hint is not None and hint not in get_args(Form):
        raise ForgeError(f"'{hint}' is not a form of detector", f"one of: {', '.join(get_args(Form))}")
    image = image_input(graph)
    if image is None or existing_nms(graph) is not None:
        return None
    probe = probe_of(graph)
    height, width = image_input(probe).shape[2:]
    found = _hinted(probe, cast(Form, hint)) if hint else _evident(probe, (height, width))
    return next((_as_declared(detection, image) for detection in found), None)


def _as_declared(detection: Detection, image: Any) -> Detection:
    """The detection without what only holds for the probe's stand-in size."""
    height, width = image.shape[2:]
    if isinstance(height, int) and isinstance(width, int):
        return detection
    return Detection(**{**vars(detection), "boxes": None, "size": None})


def _evident(probe: gs.Graph, size: Size) -> Iterator[Detection]:
    """What shapes and structure both prove, best first."""
    ranked = [tensor for tensor in probe.outputs if _rank3(tensor)]
    for boxes, scores in permutations(ranked, 2):
        yield from _evident_pair(boxes, scores, size)
    for tensor in ranked:
        for axis in (2, 1):
            yield from _evident_single(tensor, axis, size)


def _evident_single(tensor: Any, axis: int, size: Size) -> Iterator[Detection]:
    channels, count = tensor.shape[axis], tensor.shape[3 - axis]
    grid = _grid(count, size)
    if channels < 5 or grid is None:
        return
    anchors, strides = grid
    rest = _sources(tensor, axis, 4, channels)
    if not _decoded(tensor, axis, size, strides) or not _probabilities(rest):
        return
    # One Sigmoid over everything is YOLOv5/v7's objectness where cells have several anchors, and YOLOv8's
    # classes where they have one; YOLOX has one anchor too, but its objectness comes from a Sigmoid of its own.
    own_objectness = not _overlap(_sources(tensor, axis, 4, 5), _sources(tensor, axis, 5, channels))
    plain = all(source.node.op == "Sigmoid" for source in rest)
    objectness = channels > 5 and plain and (anchors > 1 or own_objectness)
    yield _detection("objectness" if objectness else "anchor-free", (tensor,), axis, size, _evidence(grid, size))


def _evident_pair(boxes: Any, scores: Any, size: Size) -> Iterator[Detection]:
    count = boxes.shape[1]
    grid = _grid(count, size)
    if boxes.shape[2] != 4 or scores.shape[1] != count or grid is None:
        return
    if _decoded(boxes, 2, size, grid[1]) and _probabilities(_sources(scores, 2, 0, scores.shape[2])):
        yield _detection("boxes-scores", (boxes, scores), 2, size, _evidence(grid, size))


def _hinted(probe: gs.Graph, form: Form) -> Iterator[Detection]:
    """Every output that can have the form, structure unseen."""
    size: Size = tuple(image_input(probe).shape[2:])
    ranked = [tensor for tensor in probe.outputs if _rank3(tensor)]
    if form == "boxes-scores":
        for boxes, scores in permutations(ranked, 2):
            if boxes.shape[2] == 4 and boxes.shape[1] == scores.shape[1]:
                yield _detection(form, (boxes, scores), 2, size, "the hint says so")
        return
    for tensor in ranked:
        axis = 1 if tensor.shape[1] < tensor.shape[2] else 2  # boxes outnumber channels
        if tensor.shape[axis] > (5 if form == "objectness" else 4):
            yield _detection(form, (tensor,), axis, size, "the hint says so")


def _detection(form: Form, tensors: tuple[Any, ...], axis: int, size: Size, evidence: str) -> Detection:
    last = tensors[-1]
    classes = last.shape[axis] - {"objectness": 5, "anchor-free": 4, "boxes-scores": 0}[form]
    default: Coding = "corners" if form == "boxes-scores" else "centre"
    coding = _coding(tensors[0], axis, default)
    count = int(tensors[0].shape[3 - axis])
    shapes = " and ".join(f"{tensor.name} {_shown(tensor.shape)}" for tensor in tensors)
    why = f"{shapes} is {form} with {classes} classes: {evidence}"
    return Detection(form, tuple(tensor.name for tensor in tensors), axis, coding, count, int(classes), size, why)


def _evidence(grid: tuple[int, tuple[int, ...]], size: Size) -> str:
    anchors, strides = grid
    boxes = "1 box" if anchors == 1 else f"{anchors} boxes"
    cells = f"each cell of stride {', '.join(map(str, strides))} at {size[0]}x{size[1]}"
    return f"{boxes} on {cells}, decoded over a grid, and a Sigmoid on every score"


def _shown(shape: Any) -> str:
    return "[B, " + ", ".join(map(str, shape[1:])) + "]"


def _rank3(tensor: Any) -> bool:
    return _known(tensor) and len(tensor.shape) == 3


def _known(tensor: Any) -> bool:
    return tensor.shape is not None and all(isinstance(dim, int) and dim > 0 for dim in tensor.shape)


def _grid(count: int, size: Size) -> tuple[int, tuple[int, ...]] | None:
    """Anchors on each cell and the strides that give `count` boxes; the longest run of strides first."""
    for length in range(len(_STRIDES), 0, -1):
        for start in range(len(_STRIDES) - length + 1):
            strides = _STRIDES[start : start + length]
            cells = sum(_cells(size, stride) for stride in strides)
            for anchors in _ANCHORS:
                if count == anchors * cells:
                    return anchors, strides
    return None


def _cells(size: Size, stride: int) -> int:
    return -(-size[0] // stride) * -(-size[1] // stride)


# ------------------------------------------------------------------------------------------------- structure


class _Source(NamedTuple):
    """A node, and the channels `low:high` on `axis` of its output that are meant."""

    node: Any
    axis: int
    low: int
    high: int


def _sources(tensor: Any, axis: int, low: int, high: int) -> list[_Source]:
    """What computes channels `low:high` of `tensor` along `axis`, seen through all that only moves values.

    Casts and quantisation count as moving: the graph may be typed already. A constant has no source.
    """
    if not tensor.inputs or low >= high:
        return []
    node = tensor.inputs[0]
    here = [_Source(node, axis, low, high)]
    if node.op not in _MOVE or not _known(tensor) or not all(_known(t) for t in node.inputs[:1]):
        return here
    data: Any = node.inputs[0]
    if node.op in _PASS:
        return _sources(data, axis, low, high)
    if node.op == "Concat":
        return _through_concat(here[0])
    if node.op == "Transpose":
        perm = node.attrs.get("perm", list(reversed(range(len(tensor.shape)))))
        return _sources(data, perm[axis], low, high)
    if node.op in _RESHAPE:
        moved = _same_axis(tensor.shape, axis, data.shape)
        return here if moved is None else _sources(data, moved, low, high)
    start = _split_start(node, tensor, axis) if node.op == "Split" else _slice_start(node, axis)
    return here if start is None else _sources(data, axis, low + start, high + start)


def _through_concat(source: _Source) -> list[_Source]:
    node, axis, low, high = source
    if not all(_known(tensor) for tensor in node.inputs):
        return [source]
    if node.attrs["axis"] % len(node.outputs[0].shape) != axis:
        return [found for tensor in node.inputs for found in _sources(tensor, axis, low, high)]
    found: list[_Source] = []
    before = 0
    for tensor in node.inputs:
        width = tensor.shape[axis]
        found += _sources(tensor, axis, max(low - before, 0), min(high - before, width))
        before += width
    return found


def _operand(source: _Source, tensor: Any) -> list[_Source]:
    """The same channels of an operand of elementwise `source`, which may be broadcast."""
    if not _known(tensor) or not _known(source.node.outputs[0]):
        return []
    axis = source.axis - len(source.node.outputs[0].shape) + len(tensor.shape)
    if axis < 0:
        return []
    return _sources(tensor, axis, 0, 1) if tensor.shape[axis] == 1 else _sources(tensor, axis, *source[2:])


def _same_axis(shape: Any, axis: int, other: Any) -> int | None:
    """The axis of `other` that a reshape maps `axis` of `shape` to, if it survives whole."""
    before = prod(shape[:axis])
    return next((i for i, dim in enumerate(other) if dim == shape[axis] and prod(other[:i]) == before), None)


def _split_start(node: Any, tensor: Any, axis: int) -> int | None:
    """Where `tensor`, an output of a Split, starts on `axis`."""
    if node.attrs.get("axis", 0) % len(tensor.shape) != axis:
        return 0
    index = next(i for i, output in enumerate(node.outputs) if output is tensor)
    before = node.outputs[:index]
    return sum(output.shape[axis] for output in before) if all(_known(output) for output in before) else None


def _slice_start(node: Any, axis: int) -> int | None:
    """Where a Slice starts on `axis`; None unless constant with step 1."""
    rank = len(node.inputs[0].shape)
    values: list[Any] = [t.values.tolist() if isinstance(t, gs.Constant) else None for t in node.inputs[1:]]
    if len(values) < 2 or values[0] is None or None in values[2:]:
        return None
    starts = values[0]
    axes = values[2] if len(values) > 2 else list(range(len(starts)))
    steps = values[3] if len(values) > 3 else [1] * len(starts)
    for start, sliced, step in zip(starts, axes, steps, strict=True):
        if sliced % rank == axis:
            dim = node.inputs[0].shape[axis]
            return None if step != 1 else int(min(start + dim if start < 0 else start, dim))
    return 0


def _overlap(one: list[_Source], other: list[_Source]) -> bool:
    return bool({id(source.node) for source in one} & {id(source.node) for source in other})


def _probabilities(sources: list[_Source]) -> bool:
    """Sigmoids, or products of them (objectness already multiplied in)."""
    return bool(sources) and all(source.node.op == "Sigmoid" or _product(source) for source in sources)


def _product(source: _Source) -> bool:
    return source.node.op == "Mul" and all(_probabilities(_operand(source, t)) for t in source.node.inputs)


def _decoded(tensor: Any, axis: int, size: Size, strides: tuple[int, ...]) -> bool:
    """Whether channels 0:4 are arithmetic, and no probabilities, with a position grid added or subtracted in it.

    A grid is a constant of at least as many elements as the coarsest scale has cells: biases and scales are smaller.
    """
    sources = _sources(tensor, axis, 0, 4)
    if not sources or _probabilities(sources) or any(source.node.op not in _ARITHMETIC for source in sources):
        return False
    return _adds_constant([source.node for source in sources], _cells(size, max(strides)))


def _adds_constant(nodes: list[Any], elements: int) -> bool:
    pending, seen = list(nodes), set()
    while pending:
        node = pending.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if node.op in {"Add", "Sub"} and any(_is_constant(t) and prod(t.shape) >= elements for t in node.inputs):
            return True
        if node.op in _ARITHMETIC | _MOVE:
            pending += [producer for tensor in node.inputs for producer in tensor.inputs]
    return False


def _is_constant(tensor: Any) -> bool:
    """A constant, or a weight that the probe carries as a tensor without a producer (see `probe_of`)."""
    return isinstance(tensor, gs.Constant) or (tensor.name.startswith(PREFIX + "weight/") and _known(tensor))


def _coding(boxes: Any, axis: int, default: Coding) -> Coding:
    """What channels 2:4 are: a place on the grid is a far corner; anything else is a size.

    A sum of two distances (left + right) is a size; a sum with a grid in it is a place.
    """
    kinds = {_unscaled(source) for source in _sources(boxes, axis, 2, 4)}
    if kinds == {"Place"}:
        return "corners"
    return "centre" if kinds and kinds <= {"Add", "Sub", "Pow", "Exp", "Square"} else default


def _unscaled(source: _Source) -> str:
    """The operation under multiplications by constants (strides, anchors); "Mixed" where scales disagree."""
    node = source.node
    if node.op == "Add" and _adds_constant([node], _LEAST_GRID):
        return "Place"
    if node.op not in {"Mul", "Div"}:
        return str(node.op)
    if node.op == "Mul" and node.inputs[0] is node.inputs[1]:
        return "Square"
    variables = [tensor for tensor in node.inputs if not _is_constant(tensor)]
    kinds = {_unscaled(under) for under in _operand(source, variables[0])} if len(variables) == 1 else set()
    return kinds.pop() if len(kinds) == 1 else "Mixed"


# ----------------------------------------------------------------------------------------------------- probe


def probe_of(graph: gs.Graph) -> gs.Graph:
    """A copy with every input's shape fixed (batch 1), folded until the outputs' shapes are numbers.

    One round of ONNX shape inference stops at the first Div or Range of a shape computation, so rounds of inference
    and constant folding alternate. Weights are replaced by tensors without values: only their shapes matter here,
    and a copy of 100 MB a round would not be free.
    """
    probe = graph.copy().toposort()  # inference goes by order, and a pass may have appended its nodes at the end
    for number, tensor in enumerate(probe.tensors().values()):
        if isinstance(tensor, gs.Constant):
            if prod(tensor.shape) > _LARGE:
                tensor.to_variable(tensor.dtype, tensor.shape)
                tensor.type = "tensor_type"  # to_variable forgets it, and export reads it
                tensor.name = f"{PREFIX}weight/{number}"
        else:
            tensor.shape = _fixed(tensor.shape) if any(tensor is i for i in probe.inputs) else None
    probe = _inferred(probe)
    for _ in range(4):
        with quiet():
            probe.fold_constants().cleanup()
        probe = _inferred(probe)
        if all(_known(tensor) for tensor in probe.outputs):
            break
    return probe


def _fixed(shape: Any) -> list[int] | None:
    if shape is None:
        return None
    stand_in = (1, 3, _PROBE_SIDE, _PROBE_SIDE) if len(shape) == 4 else (1,) * len(shape)
    return [dim if isinstance(dim, int) and dim > 0 else other for dim, other in zip(shape, stand_in, strict=True)]


def _inferred(graph: gs.Graph) -> gs.Graph:
    model = gs.export_onnx(graph, do_type_check=False)
    return gs.import_onnx(onnx.shape_inference.infer_shapes(model, data_prop=True))


# ------------------------------------------------------------------------------------- suppression in the graph


def existing_nms(graph: gs.Graph) -> Any:
    """The node that already suppresses boxes: a TensorRT plugin or ONNX's NonMaxSuppression; None without one."""
    return next((node for node in graph.nodes if node.op in (*PLUGINS, "NonMaxSuppression")), None)


# ----------------------------------------------------------------------------------------------------- edits


def boxes_and_scores(graph: gs.Graph, detection: Detection) -> tuple[Any, Any]:
    """Add the nodes that give boxes `(B, N, 4)`, coded as `detection.coding`, and final scores `(B, N, C)`.

    Both float32. Scores are objectness times class probability where the form has objectness. The graph's outputs
    stay as they are.
    """
    tensors = graph.tensors()
    first, *others = (float32(graph, tensors[name]) for name in detection.outputs)
    if others:
        return first, others[0]
    if detection.channel_axis == 1:
        first = add_node(graph, "Transpose", [first], "rows", perm=[0, 2, 1])
    boxes = channels(graph, first, 0, 4, "box_channels")
    if detection.form == "anchor-free":
        return boxes, channels(graph, first, 4, 4 + detection.classes, "class_channels")
    objectness = channels(graph, first, 4, 5, "objectness")
    classes = channels(graph, first, 5, 5 + detection.classes, "class_channels")
    return boxes, add_node(graph, "Mul", [objectness, classes], "scores")


def to_corners(graph: gs.Graph, boxes: Any) -> Any:
    """cx, cy, w, h to x1, y1, x2, y2, both `(B, N, 4)`.

    Not a MatMul with a 4x4 matrix, which would be shorter: TensorRT multiplies matrices in TF32, good to about a
    third of a pixel at 640.
    """
    centre = channels(graph, boxes, 0, 2, "centre")
    half = add_node(graph, "Mul", [channels(graph, boxes, 2, 4, "extent"), np.array(0.5, np.float32)], "half")
    low = add_node(graph, "Sub", [centre, half], "low_corner")
    high = add_node(graph, "Add", [centre, half], "high_corner")
    return add_node(graph, "Concat", [low, high], "corners", axis=2)
