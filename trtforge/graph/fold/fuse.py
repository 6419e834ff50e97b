"""Move constant arithmetic and padding around a convolution into its weights and pads."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_graphsurgeon as gs

from trtforge.graph.edit.rewire import Scope, constant, producer, remove, scope, standard, sweep
from trtforge.graph.shapes import Shapes

CONVOLUTIONS = ("Conv", "ConvTranspose")


def fuse(graph: gs.Graph, shapes: Shapes) -> bool:
    """Fuse normalization, arithmetic and padding into convolutions, in place; tell whether any was.

    The convolution keeps its name, and its result takes the name of what was fused into it.
    """
    found = scope(graph, shapes)
    changed = False
    for node in graph.nodes:
        if standard(node):
            changed |= (
                _into_weights(node, found)
                if node.op in _AFFINE
                else node.op == "Conv" and _padding(node, found)
            )
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


def _padding(conv: gs.Node, scope: Scope) -> bool:
    """Return the zeros around the image, which a convolution's pads can also add."""
    pad = producer(conv.inputs[0], "Pad")
    if pad is None or not scope.private(pad.outputs[0]):
        return False
    amounts, fill = constant(pad, 1), constant(pad, 2)
    zeros = len(pad.inputs) < 3 or pad.inputs[2].is_empty() or (fill is not None and not fill.any())
    plain = pad.attrs.get("mode", "constant") == "constant" and (
        len(pad.inputs) < 4 or pad.inputs[3].is_empty()
    )
    if (
        amounts is None
        or not zeros
        or not plain
        or conv.attrs.get("auto_pad", "NOTSET") != "NOTSET"
    ):
        return False
    low, high = np.split(amounts.astype(int), 2)
    if (amounts < 0).any() or low[:2].any() or high[:2].any():
        return False
    found = np.array(conv.attrs.get("pads", [0] * (2 * len(low[2:]))))
    conv.attrs["pads"] = [int(value) for value in found + np.concatenate([low[2:], high[2:]])]
    conv.inputs[0] = pad.inputs[0]
    return True
