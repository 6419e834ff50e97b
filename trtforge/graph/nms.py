"""Put box suppression into a detector's graph, in the form that its runtime can run.

========================  ============================================================================
form                      for
========================  ============================================================================
``none``                  TensorRT-RTX, which builds no NMS at all; calibration
``onnx``                  ONNX Runtime, and TensorRT without plugins: standard operators only
``efficientnms``          TensorRT with its own plugin ``EfficientNMS_TRT``
``deepstream``            DeepStream's stock output parser, with no custom library; plugin or operators
========================  ============================================================================

All but ``none`` replace the graph's outputs by four of fixed size, so that buffers can be allocated before a run:

==========================================  ==========================================================
``num_detections``    int32 (B, 1)          how many rows of the others hold a detection
``detection_boxes``   float32 (B, K, 4)     x1, y1, x2, y2 in pixels of the network's input
``detection_scores``  float32 (B, K)        descending; zero past the last detection, as everything is
``detection_classes`` int32 (B, K)
==========================================  ==========================================================

``deepstream`` differs in two: boxes are y1, x1, y2, x2 as fractions of the input, classes are float32.

Suppression is greedy and per class: the box of highest score stays, and boxes of its class whose IoU with it is
greater than the limit go. ONNX Runtime's NonMaxSuppression compares strictly: it keeps `score > limit` and removes
`IoU > limit`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from trtforge.errors import ForgeError
from trtforge.graph.detection import Coding, Detection, boxes_and_scores, existing_nms, recognise, to_corners
from trtforge.graph.edit import add_node, batch_dim, input_size, name_output, unique
from trtforge.graph.strip import strip_nms

NmsForm = Literal["none", "onnx", "efficientnms", "deepstream"]
NmsImpl = Literal["plugin", "onnx"]

OUTPUTS = ("num_detections", "detection_boxes", "detection_scores", "detection_classes")
STOCK_PARSER = "NvDsInferParseCustomTfSSD"
MAX_DETECTIONS = 3840  # TensorRT's limit on the K of a TopK

_MIN_OPSET = 11  # Range, GatherND, and NonMaxSuppression and TopK as used here
_PLUGIN = "EfficientNMS_TRT"

Four = tuple[Any, Any, Any, Any]  # tensors in the order of OUTPUTS


@dataclass(frozen=True)
class NmsOptions:
    """What to keep.

    Attributes:
        score: least score, 0 <= score < 1.
        iou: greatest overlap of two boxes of one class, 0 < iou <= 1.
        max_det: K, the most detections for an image.
        class_agnostic: suppress across classes; a box then counts once, under its best class.
    """

    score: float = 0.25
    iou: float = 0.45
    max_det: int = 100
    class_agnostic: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.score) and 0 <= self.score < 1):
            raise ForgeError(f"NMS score threshold is {self.score}", "--score takes 0 <= score < 1")
        if not (math.isfinite(self.iou) and 0 < self.iou <= 1):
            raise ForgeError(f"NMS IoU threshold is {self.iou}", "--iou takes 0 < iou <= 1")
        if self.max_det != int(self.max_det) or not 1 <= self.max_det <= MAX_DETECTIONS:
            raise ForgeError(f"NMS keeps {self.max_det} detections", f"--max-det takes 1 to {MAX_DETECTIONS}")


def apply(
    graph: gs.Graph,
    form: NmsForm,
    options: NmsOptions,
    impl: NmsImpl = "plugin",
    hint: str | None = None,
) -> dict[str, Any]:
    """Give `graph` the NMS of `form`, in place; a TensorRT NMS plugin that it holds already is cut away first.

    Args:
        graph: a detector with decoded outputs; float32 at its outputs, any batch.
        form: see the module.
        options: thresholds and K.
        impl: what ``deepstream`` is made of; the other forms leave no choice.
        hint: the detector's form (see `recognise`) where the graph does not show it.

    Returns:
        facts: form, impl, classes, boxes, parser (DeepStream's function), outputs (name, dtype, shape), dropped
        (outputs of the model that are gone), why (the evidence for a detector).

    Raises:
        ForgeError: no detector in the graph; an option or opset that cannot be had.
    """
    _check(form, impl)
    if form == "none":
        return _facts(graph, form, None, None, [])
    if graph.opset < _MIN_OPSET:
        raise ForgeError(f"the model has ONNX opset {graph.opset}", f"export it with opset {_MIN_OPSET} or newer")
    size = input_size(graph)
    if form == "deepstream" and size is None:
        raise ForgeError(
            "DeepStream's stock parser wants boxes as fractions of the input, whose height or width is dynamic",
            "fix them with --size HxW",
        )
    before = [tensor.name for tensor in graph.outputs]
    detection = _detector(graph, hint)
    boxes, scores = boxes_and_scores(graph, detection)
    made_of: NmsImpl = "onnx" if form == "onnx" or (form == "deepstream" and impl == "onnx") else "plugin"
    suppress = standard_nms if made_of == "onnx" else plugin_nms
    four = suppress(graph, boxes, scores, options, detection.coding)
    if form == "deepstream" and size is not None:
        four = stock_parser_outputs(graph, four, size)
    _replace_outputs(graph, four, options.max_det)
    return _facts(graph, form, made_of, detection, [name for name in before if name not in OUTPUTS])


def _check(form: str, impl: str) -> None:
    for value, allowed, option in ((form, get_args(NmsForm), "--nms"), (impl, get_args(NmsImpl), "--nms-impl")):
        if value not in allowed:
            raise ForgeError(f"'{value}' is not a value of {option}", f"one of: {', '.join(allowed)}")


def _detector(graph: gs.Graph, hint: str | None) -> Detection:
    detection = strip_nms(graph) if existing_nms(graph) is not None else recognise(graph, hint)
    if detection is None:
        outputs = ", ".join(f"{tensor.name} {_shape(tensor)}" for tensor in graph.outputs)
        raise ForgeError(
            f"no decoded detector among the model's outputs: {outputs}",
            "give --nms none to build the model without NMS, or export it with its boxes decoded and no NMS",
        )
    return detection


def _shape(tensor: Any) -> str:
    return "[?]" if tensor.shape is None else "[" + ", ".join(map(str, tensor.shape)) + "]"


def _facts(
    graph: gs.Graph, form: NmsForm, impl: NmsImpl | None, detection: Detection | None, dropped: list[str]
) -> dict[str, Any]:
    outputs = [
        {
            "name": tensor.name,
            "dtype": None if tensor.dtype is None else np.dtype(tensor.dtype).name,
            "shape": None if tensor.shape is None else list(tensor.shape),
        }
        for tensor in graph.outputs
    ]
    return {
        "form": form,
        "impl": impl,
        "classes": detection.classes if detection else None,
        "boxes": detection.boxes if detection else None,
        "parser": STOCK_PARSER if form == "deepstream" else None,
        "outputs": outputs,
        "dropped": dropped,
        "why": detection.why if detection else None,
    }


def _replace_outputs(graph: gs.Graph, four: Four, keep: int) -> None:
    batch = batch_dim(graph)
    shapes = ([batch, 1], [batch, keep, 4], [batch, keep], [batch, keep])
    graph.outputs = [
        name_output(graph, tensor, name, shape) for tensor, name, shape in zip(four, OUTPUTS, shapes, strict=True)
    ]
    graph.cleanup().toposort()


# ------------------------------------------------------------------------------------------------------ forms


def plugin_nms(graph: gs.Graph, boxes: Any, scores: Any, options: NmsOptions, coding: Coding) -> Four:
    """One `EfficientNMS_TRT` node, version 1, no namespace.

    TensorRT's ONNX parser finds a plugin by the node's type and its `plugin_version`, and ignores the domain, hence
    the default one. The plugin's creator wants thresholds as floats and the rest as integers, and no attribute left
    out. It gives corners whatever the coding of its input. It considers the few thousand best scores of an image
    (4096 documented, 5000 in its source), and is slow for score thresholds under 0.01.

    Source: plugin/efficientNMSPlugin of NVIDIA/TensorRT, 10.3 to 11.1.
    """
    name = unique(graph, "trtforge/nms/efficientnms")
    outputs = (
        gs.Variable(f"{name}/num", np.int32),
        gs.Variable(f"{name}/boxes", np.float32),
        gs.Variable(f"{name}/scores", np.float32),
        gs.Variable(f"{name}/classes", np.int32),
    )
    attrs = {
        "plugin_version": "1",
        "score_threshold": float(options.score),
        "iou_threshold": float(options.iou),
        "max_output_boxes": int(options.max_det),
        "background_class": -1,
        "score_activation": 0,
        "class_agnostic": int(options.class_agnostic),
        "box_coding": 1 if coding == "centre" else 0,
    }
    graph.nodes.append(gs.Node(_PLUGIN, name, attrs, [boxes, scores], list(outputs)))
    return outputs


def standard_nms(graph: gs.Graph, boxes: Any, scores: Any, options: NmsOptions, coding: Coding) -> Four:
    """The plugin's outputs from operators that are alike in opsets 11 to 20.

    NonMaxSuppression lists its M survivors as rows (image, class, box), as many as there happen to be. They are
    ranked by a TopK over a table `(B, M + K)` with each survivor's score in the row of its image and zero elsewhere;
    K zero columns make it wide enough when little survives. So nothing dense as large as B x C x N is built but the
    transposed scores, and only M, which stays inside, depends on the data.
    """
    keep = options.max_det
    if coding == "centre":
        boxes = to_corners(graph, boxes)
    best = None
    if options.class_agnostic:
        scores, best = _best_class(graph, scores)
    by_class = add_node(graph, "Transpose", [scores], "scores_by_class", perm=[0, 2, 1])
    survivors = _survivors(graph, boxes, by_class, options)
    rows = add_node(graph, "Concat", [survivors, np.zeros((keep, 3), np.int64)], "rows", np.int64, axis=0)
    score = add_node(graph, "GatherND", [by_class, survivors], "survivor_scores")
    score = add_node(graph, "Concat", [score, np.zeros(keep, np.float32)], "row_scores", axis=0)

    ranked, order = _top(graph, _table(graph, boxes, rows, score), keep)
    picked = add_node(graph, "Gather", [rows, order], "picked", np.int64, axis=0)  # (B, K, 3)
    where = _columns(graph, picked, [0, 2], "picked_box")
    corners = add_node(graph, "GatherND", [boxes, where], "picked_corners")
    classes = _column(graph, picked, 1, 2, "picked_class") if best is None else _lookup(graph, best, where)
    return _blanked(graph, ranked, corners, classes)


def stock_parser_outputs(graph: gs.Graph, four: Four, size: tuple[int, int]) -> Four:
    """Detections as DeepStream's own `NvDsInferParseCustomTfSSD` reads them: y1, x1, y2, x2 in 0..1, float classes.

    That parser is in libnvds_infercustomparser.so, which every DeepStream installation has, so no library has to be
    compiled on the target. Of the stock parsers it is the safest: it finds tensors by name, where the BatchedNMS
    parsers go by position and read out of bounds when the order differs; it refuses int32 classes with an error,
    where they silently call everything class 0; and it applies each class's own threshold. It ignores an int32
    num_detections and scans all K rows, of which padding has score zero.

    Boxes are converted after suppression: K rows instead of N, and IoU is computed on the same pixels as in the
    other forms, so every form keeps the same boxes.
    """
    count, boxes, scores, classes = four
    height, width = size
    swapped = _columns(graph, boxes, [1, 0, 3, 2], "boxes_yx", np.float32)
    extent = np.array([height, width, height, width], np.float32)
    fractions = add_node(graph, "Div", [swapped, extent], "boxes_normalised")
    return count, fractions, scores, _cast(graph, classes, np.float32, "classes_float")


# ---------------------------------------------------------------------------------------- parts of `standard_nms`


def _best_class(graph: gs.Graph, scores: Any) -> tuple[Any, Any]:
    """Scores `(B, N, 1)` and int64 classes `(B, N)` of each box's best class."""
    name = unique(graph, "trtforge/nms/best_class")
    values, indices = gs.Variable(f"{name}/values", np.float32), gs.Variable(f"{name}/indices", np.int64)
    one = gs.Constant(f"{name}/k", np.array([1], np.int64))
    graph.nodes.append(gs.Node("TopK", name, {"axis": 2}, [scores, one], [values, indices]))
    return values, _column(graph, indices, 0, 2, "best_class_of_box")


def _survivors(graph: gs.Graph, boxes: Any, by_class: Any, options: NmsOptions) -> Any:
    """int64 `(M, 3)`: image, class, box."""
    limits = [
        np.array([options.max_det], np.int64),
        np.array([options.iou], np.float32),
        np.array([options.score], np.float32),
    ]
    return add_node(graph, "NonMaxSuppression", [boxes, by_class, *limits], "survivors", np.int64, center_point_box=0)


def _table(graph: gs.Graph, boxes: Any, rows: Any, score: Any) -> Any:
    """float32 `(B, M + K)`: each row's score where the row is the image's, else 0."""
    shape = add_node(graph, "Shape", [boxes], "shape", np.int64)
    batch = add_node(graph, "Gather", [shape, np.array(0, np.int64)], "batch", np.int64, axis=0)
    bounds = [np.array(0, np.int64), batch, np.array(1, np.int64)]
    images = add_node(graph, "Range", bounds, "images", np.int64)
    images = add_node(graph, "Reshape", [images, np.array([-1, 1], np.int64)], "images_down", np.int64)
    owner = _column(graph, rows, 0, 1, "row_image")
    mine = add_node(graph, "Equal", [images, owner], "row_is_mine", np.bool_)
    return add_node(graph, "Where", [mine, score, np.array(0, np.float32)], "table")


def _top(graph: gs.Graph, table: Any, keep: int) -> tuple[Any, Any]:
    """The `keep` best of each row, best first, and their columns; the first wins a tie."""
    name = unique(graph, "trtforge/nms/top")
    values, columns = gs.Variable(f"{name}/values", np.float32), gs.Variable(f"{name}/columns", np.int64)
    count = gs.Constant(f"{name}/k", np.array([keep], np.int64))
    graph.nodes.append(gs.Node("TopK", name, {"axis": 1}, [table, count], [values, columns]))
    return values, columns


def _blanked(graph: gs.Graph, scores: Any, corners: Any, classes: Any) -> Four:
    """The four outputs, with zeros wherever the score is zero: no survivor has that, since `score > limit >= 0`."""
    valid = add_node(graph, "Greater", [scores, np.array(0, np.float32)], "valid", np.bool_)
    shape = np.array([0, -1, 1], np.int64)
    valid_box = add_node(graph, "Reshape", [valid, shape], "valid_box", np.bool_)
    corners = add_node(graph, "Where", [valid_box, corners, np.array(0, np.float32)], "boxes_blanked")
    narrow = _cast(graph, classes, np.int32, "classes_int32")
    narrow = add_node(graph, "Where", [valid, narrow, np.array(0, np.int32)], "classes_blanked", np.int32)
    total = _sum_rows(graph, _cast(graph, valid, np.float32, "valid_float"))
    return _cast(graph, total, np.int32, "count"), corners, scores, narrow


def _sum_rows(graph: gs.Graph, tensor: Any) -> Any:
    """`(B, K)` to `(B, 1)`; ReduceSum takes its axes as an input from opset 13 on."""
    if graph.opset >= 13:
        return add_node(graph, "ReduceSum", [tensor, np.array([1], np.int64)], "total", keepdims=1)
    return add_node(graph, "ReduceSum", [tensor], "total", axes=[1], keepdims=1)


def _column(graph: gs.Graph, tensor: Any, index: int, axis: int, name: str) -> Any:
    """One int64 column, its axis dropped."""
    return add_node(graph, "Gather", [tensor, np.array(index, np.int64)], name, np.int64, axis=axis)


def _columns(graph: gs.Graph, tensor: Any, indices: list[int], name: str, dtype: Any = np.int64) -> Any:
    """Some of the last of three axes' columns, in this order."""
    return add_node(graph, "Gather", [tensor, np.array(indices, np.int64)], name, dtype, axis=2)


def _lookup(graph: gs.Graph, table: Any, where: Any) -> Any:
    """int64 entries of `table` at the index rows `where`."""
    return add_node(graph, "GatherND", [table, where], "picked_class", np.int64)


def _cast(graph: gs.Graph, tensor: Any, dtype: Any, name: str) -> Any:
    to = int(onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
    return add_node(graph, "Cast", [tensor], name, dtype, to=to)
