"""Put box suppression into a detector's graph, in the form that its runtime can run.

- ``none``: no NMS, for TensorRT-RTX, which can't build one, and for calibration. NMS that is there
  is removed.
- ``keep``: the graph as it is, with its NMS.
- ``onnx``: standard operators only, for ONNX Runtime and TensorRT without plugins.
- ``efficientnms``: TensorRT's own plugin ``EfficientNMS_TRT``.
- ``deepstream``: outputs for DeepStream's stock parser, so that no custom library is needed; with
  the plugin or with operators.

The last three replace the graph's outputs by four of fixed size, so that buffers can be allocated
before a run:

- ``num_detections``, int32 (B, 1): how many rows of the other outputs hold a detection.
- ``detection_boxes``, float32 (B, K, 4): x1, y1, x2, y2 in pixels of the network's input.
- ``detection_scores``, float32 (B, K): in descending order.
- ``detection_classes``, int32 (B, K).

Every output is zero after the last detection.

``deepstream`` differs in two: boxes are y1, x1, y2, x2 as fractions of the input, classes are
float32.

Data of each box follows it: ``detection_coefficients``, ``detection_keypoints``,
``detection_angle`` and
``detection_landmarks``, float32 (B, K, channels), and prototypes of masks stay as they are.
EfficientNMS does not say which boxes it kept, so only standard operators can do that: ``--nms-impl
auto`` takes them for such models, and the plugin for the others. DeepStream's stock parser finds
its four by name, and leaves the rest to a probe of yours.

Suppression is greedy and per class: the box of highest score stays, and boxes of its class whose
IoU with it is greater than the limit go. ONNX Runtime's NonMaxSuppression compares strictly: it
keeps `score > limit` and removes `IoU > limit`. Turned boxes have a suppression of their own (see
`oriented`). Models whose boxes do not overlap (queries, or ranked by the model) are only ranked,
whatever the form.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import onnx_graphsurgeon as gs

from trtforge.errors import ForgeError
from trtforge.graph.detection import (
    Decoded,
    Detection,
    decode,
    existing_nms,
    looks_like,
    recognise,
    without_boxes,
)
from trtforge.graph.detection.concrete import concrete
from trtforge.graph.edit.nodes import add_node, batch_dim, input_size, name_output
from trtforge.graph.nms.options import (
    MAX_DETECTIONS,
    OUTPUTS,
    Four,
    Kept,
    NmsForm,
    NmsImpl,
    NmsOptions,
)
from trtforge.graph.nms.oriented import oriented_nms
from trtforge.graph.nms.plugin import plugin_nms
from trtforge.graph.nms.ranking import only_best_class, rank
from trtforge.graph.nms.standard import blank, standard_nms
from trtforge.graph.nms.stock import STOCK_PARSER, stock_parser_outputs
from trtforge.graph.nms.strip import strip_nms
from trtforge.recipe import Decode

__all__ = [
    "MAX_DETECTIONS",
    "OUTPUTS",
    "STOCK_PARSER",
    "Kept",
    "NmsForm",
    "NmsImpl",
    "NmsOptions",
    "apply",
    "standard_nms",
    "stock_parser_outputs",
    "suppress",
]

_MIN_OPSET = 11  # Range, GatherND, and NonMaxSuppression and TopK as used here


def apply(
    graph: gs.Graph,
    form: NmsForm,
    options: NmsOptions,
    impl: NmsImpl = "auto",
    hint: str | None = None,
    figures: Decode | None = None,
) -> dict[str, Any]:
    """Give `graph` the NMS of `form`, in place; NMS that it holds already is cut away first.

    Args:
        graph: a detector with decoded outputs; float32 at its outputs, any batch.
        form: see the module.
        options: thresholds and K.
        impl: what ``deepstream`` is made of; the other forms leave no choice.
        hint: the detector's form (see `recognise`) where the graph does not show it.
        figures: what the hint needs.

    Returns:
        facts: form, impl, classes, boxes, parser (DeepStream's function), outputs (name, dtype,
            shape), dropped
        (outputs of the model that are gone), why (the evidence for a detector).

    Raises:
        ForgeError: no detector in the graph, or only something like one; an option or opset that
            cannot be had.
    """
    _check(form, impl)
    before = [tensor.name for tensor in graph.outputs]
    if form in ("none", "keep"):
        if form == "none":
            strip_nms(graph, figures)
        return _facts(graph, form, None, None, before)
    if graph.opset < _MIN_OPSET:
        raise ForgeError(
            f"the model has ONNX opset {graph.opset}", f"export it with opset {_MIN_OPSET} or newer"
        )
    size = input_size(graph)
    if form == "deepstream" and size is None:
        raise ForgeError(
            "DeepStream's stock parser wants boxes as fractions of the input, whose height or width is dynamic",
            "fix them with --size HxW",
        )
    detection = _detector(graph, hint, figures)
    made_of = _impl(detection, form, impl)
    decoded = decode(graph, detection)
    if _best_class_only(detection, options):
        decoded = only_best_class(graph, decoded, detection.classes or 1)
    if made_of == "plugin":
        four = plugin_nms(graph, decoded.boxes, decoded.scores, options, decoded.coding)
        kept = Kept(four, None, None, options.max_det)
    else:
        kept = suppress(graph, decoded, detection, options)
    four = (
        stock_parser_outputs(graph, kept.four, size) if form == "deepstream" and size else kept.four
    )
    _replace_outputs(graph, four, kept.rows, detection, _following(graph, decoded, detection, kept))
    return _facts(graph, form, made_of, detection, before)


def _best_class_only(detection: Detection, options: NmsOptions) -> bool:
    """Tell whether a box counts under its best class only, where it has more than one class."""
    wanted = detection.best_class if options.best_class is None else options.best_class
    return wanted and detection.form != "ranked" and (detection.classes or 1) > 1


def suppress(graph: gs.Graph, decoded: Decoded, detection: Detection, options: NmsOptions) -> Kept:
    """Return the detections to keep, by standard operators."""
    if not detection.suppress:
        return rank(graph, decoded, detection, options)
    if "angle" in decoded.extras:
        return oriented_nms(graph, decoded, detection, options)
    return standard_nms(graph, decoded.boxes, decoded.scores, options, decoded.coding)


def _check(form: str, impl: str) -> None:
    for value, allowed, option in (
        (form, get_args(NmsForm), "--nms"),
        (impl, get_args(NmsImpl), "--nms-impl"),
    ):
        if value not in allowed:
            raise ForgeError(
                f"'{value}' is not a value of {option}", f"one of: {', '.join(allowed)}"
            )


def _impl(detection: Detection, form: NmsForm, impl: NmsImpl) -> NmsImpl:
    """Return what the NMS is made of: the plugin, or standard operators.

    Raises:
        ForgeError: the plugin is asked for, and loses what belongs to each box.
    """
    names = [extra.name for extra in detection.extras]
    if "angle" in names and form == "deepstream":
        raise ForgeError(
            "DeepStream's stock parser knows upright boxes only, and the model's are turned",
            "--nms onnx gives boxes and angles as tensors, which nvinfer attaches to frames",
        )
    plugin_requested = form == "efficientnms" or (form == "deepstream" and impl == "plugin")
    if plugin_requested and names and detection.suppress:
        raise ForgeError(
            f"EfficientNMS does not say which boxes it keeps, so their {' and '.join(names)} can't follow",
            "--nms onnx, or --nms deepstream --nms-impl onnx: standard operators do it",
        )
    if (
        form == "onnx"
        or names
        or not detection.suppress
        or (form == "deepstream" and impl == "onnx")
    ):
        return "onnx"
    return "plugin"


def _detector(graph: gs.Graph, hint: str | None, figures: Decode | None) -> Detection:
    """Return the detector in a graph.

    Raises:
        ForgeError: there is none; the message says what was seen and which option decides.
    """
    there = existing_nms(graph) is not None
    detection = strip_nms(graph, figures) if there else recognise(graph, hint, figures)
    if detection is not None:
        return detection
    seen = concrete(graph)
    outputs = ", ".join(
        f"{tensor.name} {_shape(tensor)}" for tensor in (seen.fixed if seen else graph).outputs
    )
    if hint:
        raise ForgeError(
            f"the recipe says head: {hint}, and no output has its shape: {outputs}",
            "name another recipe, or --nms none",
        )
    likely = looks_like(graph)
    if likely:
        raise ForgeError(
            f"not certain enough to patch; it may be: {likely[0].why}",
            f"what decides: {likely[0].ask}; --nms none leaves the outputs as they are",
        )
    other = without_boxes(graph)
    if other:
        raise ForgeError(
            f"no boxes to suppress: {other}", "--nms none leaves the outputs as they are"
        )
    raise ForgeError(
        f"no decoded detector among the model's outputs: {outputs}",
        "--nms none builds the model without NMS; head: in a recipe (--recipe) says what the outputs are",
    )


def _shape(tensor: gs.Tensor) -> str:
    return "[?]" if not tensor.shape else "[" + ", ".join(["B", *map(str, tensor.shape[1:])]) + "]"


def _facts(
    graph: gs.Graph,
    form: NmsForm,
    impl: NmsImpl | None,
    detection: Detection | None,
    before: list[str],
) -> dict[str, Any]:
    outputs = [
        {
            "name": tensor.name,
            "dtype": None if tensor.dtype is None else np.dtype(tensor.dtype).name,
            "shape": None if tensor.shape is None else list(tensor.shape),
        }
        for tensor in graph.outputs
    ]
    names = {tensor.name for tensor in graph.outputs}
    return {
        "form": form,
        "impl": impl,
        "classes": detection.classes if detection else None,
        "boxes": detection.boxes if detection else None,
        "parser": STOCK_PARSER if form == "deepstream" else None,
        "outputs": outputs,
        "dropped": [name for name in before if name not in names],
        "why": detection.why if detection else None,
    }


def _following(
    graph: gs.Graph, decoded: Decoded, detection: Detection, kept: Kept
) -> list[tuple[str, gs.Tensor, int]]:
    """Return what belongs to the kept boxes: name, tensor `(B, K, channels)` and its channels."""
    # The plugin does not tell which rows it keeps, so a model with extras never gets it (``_impl``).
    if kept.where is None or kept.valid is None:
        return []
    found = []
    for extra in detection.extras:
        rows = add_node(
            graph, "GatherND", [decoded.extras[extra.name], kept.where], f"picked_{extra.name}"
        )
        rows = blank(graph, rows, kept.valid, f"{extra.name}_blanked")
        found.append((f"detection_{extra.name}", rows, extra.high - extra.low))
    return found


def _replace_outputs(
    graph: gs.Graph,
    four: Four,
    keep: int,
    detection: Detection,
    following: Sequence[tuple[str, gs.Tensor, int]],
) -> None:
    batch = batch_dim(graph)
    shapes = ([batch, 1], [batch, keep, 4], [batch, keep], [batch, keep])
    stay = [tensor for tensor in graph.outputs if tensor.name in detection.kept]
    graph.outputs = [
        *(
            name_output(graph, tensor, name, shape)
            for tensor, name, shape in zip(four, OUTPUTS, shapes, strict=True)
        ),
        *(
            name_output(graph, tensor, name, [batch, keep, width])
            for name, tensor, width in following
        ),
        *stay,
    ]
    graph.cleanup().toposort()
