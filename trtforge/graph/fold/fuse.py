"""Move constant arithmetic and padding into the weights and pads of convolutions and pools."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_graphsurgeon as gs

from trtforge.graph.edit.rewire import Scope, constant, producer, remove, scope, standard, sweep
from trtforge.graph.shapes import Shapes

CONVOLUTIONS = ("Conv", "ConvTranspose")


def fuse(graph: gs.Graph, shapes: Shapes) -> bool:
    """Fuse normalization, arithmetic and padding, in place; tell whether any was fused.

    The convolution keeps its name, and its result takes the name of what was fused into it.
    """
    found = scope(graph, shapes)
    changed = False
    for node in graph.nodes:
        if standard(node):
            if node.op in _AFFINE:
                changed |= _into_weights(node, found)
            elif node.op in ("Conv", "MaxPool"):
                changed |= _padding(node, found)
    sweep(graph)
    return changed


def _into_weights(node: gs.Node, scope: Scope) -> bool:
    """Fuse ``scale * conv(x) + shift`` into the convolution, with a number for each channel."""
    index = 1 if node.op in ("Add", "Mul") and isinstance(node.inputs[0], gs.Constant) else 0
    conv = producer(node.inputs[index], *CONVOLUTIONS)
    if conv is None or not scope.private(conv.outputs[0]):
        return False
    weights, bias = constant(conv, 1), constant(conv, 2)
    if weights is None or (bias is None and len(conv.inputs) > 2) or weights.dtype.kind != "f":
        return False
    groups = conv.attrs.get("group", 1)
    channels = weights.shape[0] if conv.op == "Conv" else weights.shape[1] * groups
    affine = _AFFINE[node.op](node, 1 - index, channels, weights.ndim)
    if affine is None:
        return False
    scale, shift = affine
    if conv.op == "Conv":
        scaled = weights * scale.reshape(-1, *[1] * (weights.ndim - 1))
    else:  # (inputs, outputs of a group, ...): each group's inputs meet its own outputs
        per_group = scale.reshape(groups, 1, -1).repeat(weights.shape[0] // groups, 1)
        scaled = weights * per_group.reshape(weights.shape[0], -1, *[1] * (weights.ndim - 2))
    moved = (0.0 if bias is None else bias.astype(np.float64)) * scale + shift
    made = node.outputs[0]
    if not _finite(scaled, weights.dtype) or not _finite(moved, weights.dtype):
        return False
    if (scale != 1).any():
        conv.inputs[1] = scope.constant(f"{made.name}.weight", scaled.astype(weights.dtype))
    conv.inputs = [
        *conv.inputs[:2],
        scope.constant(f"{made.name}.bias", moved.astype(weights.dtype)),
    ]
    remove(node)
    conv.outputs = [made]
    return True


def _finite(values: np.ndarray, dtype: np.dtype) -> bool:
    """Tell whether a type holds the values; a scale that is not a number must stay visible."""
    return bool(np.isfinite(values).all() and np.abs(values).max(initial=0) <= np.finfo(dtype).max)


Affine = tuple[np.ndarray, np.ndarray]  # float64 (channels,)


def _batch_normalization(node: gs.Node, index: int, channels: int, rank: int) -> Affine | None:
    parts = [constant(node, position) for position in range(1, 5)]
    if any(part is None or part.shape != (channels,) for part in parts) or node.attrs.get(
        "training_mode", 0
    ):
        return None
    if any(tensor.outputs for tensor in node.outputs[1:]):
        return None
    gamma, beta, mean, variance = (part.astype(np.float64) for part in parts if part is not None)
    scale = gamma / np.sqrt(variance + node.attrs.get("epsilon", 1e-5))
    return scale, beta - mean * scale


def _multiplication(node: gs.Node, index: int, channels: int, rank: int) -> Affine | None:
    values = _per_channel(constant(node, index), channels, rank)
    if values is None or (node.op == "Div" and not values.all()):
        return None
    return (1 / values if node.op == "Div" else values), np.zeros(channels)


def _addition(node: gs.Node, index: int, channels: int, rank: int) -> Affine | None:
    values = _per_channel(constant(node, index), channels, rank)
    if values is None:
        return None
    return np.ones(channels), -values if node.op == "Sub" else values


def _per_channel(values: np.ndarray | None, channels: int, rank: int) -> np.ndarray | None:
    """Return a constant as a number for each channel; None if it broadcasts in another way."""
    if values is None or values.ndim > rank or values.dtype.kind != "f":
        return None
    shape = (1,) * (rank - values.ndim) + values.shape
    if shape[1] not in (1, channels) or any(
        size != 1 for axis, size in enumerate(shape) if axis != 1
    ):
        return None
    return np.full(channels, values.ravel(), np.float64)


_AFFINE: dict[str, Callable[[gs.Node, int, int, int], Affine | None]] = {
    "BatchNormalization": _batch_normalization,
    "Mul": _multiplication,
    "Div": _multiplication,
    "Add": _addition,
    "Sub": _addition,
}


def _padding(node: gs.Node, scope: Scope) -> bool:
    """Move what surrounds the image into the pads of a convolution or a pool, if they add the same.

    A convolution's pads are zeros, those of a MaxPool are lower than any number.
    """
    pad = producer(node.inputs[0], "Pad")
    if pad is None or not scope.private(pad.outputs[0]):
        return False
    amounts, fill = constant(pad, 1), _fill(pad)
    if amounts is None or fill is None or node.attrs.get("auto_pad", "NOTSET") != "NOTSET":
        return False
    if node.op == "MaxPool" and fill == 0:
        _stay_zero(pad, fill, scope)
    neutral = fill == 0 if node.op == "Conv" else fill <= np.finfo(fill.dtype).min
    low, high = np.split(amounts.astype(int), 2)
    if not neutral or (amounts < 0).any() or low[:2].any() or high[:2].any():
        return False
    found = np.array(node.attrs.get("pads", [0] * (2 * len(low[2:]))))
    pads = found + np.concatenate([low[2:], high[2:]])
    if node.op == "MaxPool" and not _are_pads_of_pool(node, pads):
        return False
    node.attrs["pads"] = [int(value) for value in pads]
    node.inputs[0] = pad.inputs[0]
    return True


def _fill(pad: gs.Node) -> np.floating | None:
    """Return the float that a Pad surrounds its input with; None if it is not one float."""
    if pad.attrs.get("mode", "constant") != "constant":
        return None
    if len(pad.inputs) > 3 and not pad.inputs[3].is_empty():
        return None
    if len(pad.inputs) < 3 or pad.inputs[2].is_empty():
        value: np.ndarray | None = np.zeros(1, np.float32)
    else:
        value = constant(pad, 2)
    number = value.reshape(-1)[0] if value is not None and value.size == 1 else None
    return number if isinstance(number, np.floating) else None


def _stay_zero(pad: gs.Node, fill: np.floating, scope: Scope) -> None:
    """Write the zero as -0.0: ONNX Runtime before 1.32 takes +0.0 for the pads of a MaxPool.

    It fuses the two, and where all numbers under a window are negative, the zero was the greatest.
    """
    if not np.signbit(fill):
        zero = scope.constant(f"{pad.outputs[0].name}.zero", np.array(-0.0, fill.dtype))
        pad.inputs = [*pad.inputs[:2], zero]


def _are_pads_of_pool(pool: gs.Node, pads: np.ndarray) -> bool:
    """Tell whether a pool may have these pads: every window holds at least one number."""
    kernel = np.array(pool.attrs["kernel_shape"])
    one_result = len(pool.outputs) == 1  # indices would count the padding
    return (
        one_result
        and not pool.attrs.get("ceil_mode", 0)
        and bool((pads < np.concatenate([kernel, kernel])).all())
    )
