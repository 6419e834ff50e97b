"""Improve INT8 by a second look at the images: narrower ranges, and better weights.

Both minimise the error that rounding a convolution's input makes in its output, in the float
network, one convolution at a time. A narrower range is taken only where nothing is lost by it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from trtforge.calibration.images import evenly_spaced
from trtforge.calibration.rows import can_sample, sample
from trtforge.graph.moves import MOVES_ALL, MOVES_FIRST, Group
from trtforge.graph.quantize.qdq import Placement, fp16_scale, weight_scales
from trtforge.graph.quantize.rounding import INT8_MAX, Moments, Rounded, parts, round_weights
from trtforge.graph.tensors import fixed_shape, values_of

# For the weights: 4,096 rows for a convolution, several for each of the 576 columns of a part.
SAMPLED, POSITIONS = 64, 64
# For the ranges: fewer positions of an image where that many products are made for it.
NARROW_IMAGES, NARROW_POSITIONS = 32, 256
NARROW_LEAST, NARROW_PRODUCTS = 64, 1 << 23
# Shares of the range that are tried: narrower by a quarter or more, or it is not worth the risk.
WIDTHS = (1.0, 0.72, 0.61, 0.52, 0.44, 0.37)
# The error must fall to this share: a smaller gain may cost rare, strong activations.
WORTHWHILE = 2 / 3
# Errors this close to the least one are as good; of them, the narrowest range is best for most
# values.
ALIKE = 1.15

Array = NDArray[np.float32]
Prepare = Callable[[Path], Array]
Activation = Callable[[Array], Array]


def narrow_ranges(
    graph: gs.Graph,
    placement: Placement,
    amax: Mapping[str, float],
    images: Sequence[Path],
    prepare: Prepare,
) -> dict[str, float]:
    """Return narrower ranges for groups whose readers then make a smaller error.

    A few strong values can set a range and still not matter, where the activation function behind
    the convolution is flat for them: then the rounding of all other values matters. Only groups
    that are read by convolutions with a known activation function, and by nothing else, are looked
    at.

    Args:
        graph: the float graph of the placement.
        amax: range of each of its tensors.
        images: readable files; 32 of them are used, evenly spaced.

    Returns:
        New ranges for the tensors of these groups.
    """
    activations: dict[str, Activation] = {}
    for node in graph.nodes:
        if node.name in placement.operators and can_sample(node):
            activation = _activation(node)
            if activation is not None:
                activations[node.name] = activation
    groups = _groups_to_narrow(graph, placement, activations)
    tensors = {name for members in groups for name in members if amax[name] > 0}
    nodes = [
        node for node in graph.nodes if node.name in activations and node.inputs[0].name in tensors
    ]
    if not nodes:
        return {}
    trials = {
        node.name: _Trial(node, activations[node.name], amax[node.inputs[0].name]) for node in nodes
    }
    some_images = evenly_spaced(images, NARROW_IMAGES)
    for rows in sample(graph.copy(), nodes, some_images, prepare, NARROW_POSITIONS):
        for name, values in rows.items():
            trials[name].observe(values)
    narrowed: dict[str, float] = {}
    for members in groups:
        readers = [
            trial for trial in trials.values() if trial.tensor in members and trial.variance > 0
        ]
        error = sum((trial.errors / trial.variance for trial in readers), np.zeros(len(WIDTHS)))
        if error.min() < WORTHWHILE * error[0]:
            narrowest = WIDTHS[int(np.flatnonzero(error <= ALIKE * error.min())[-1])]
            narrowed |= {name: narrowest * amax[name] for name in members}
    return narrowed


def _groups_to_narrow(
    graph: gs.Graph, placement: Placement, activations: Mapping[str, Activation]
) -> list[tuple[str, ...]]:
    """Return the members of each group that only convolutions with a known activation read."""
    movers = {node.name for node in graph.nodes if node.op in MOVES_ALL | MOVES_FIRST}

    def readable(group: Group) -> bool:
        readers = [reader for name in group[0] for reader, _ in placement.readers[name]]
        return all(reader in activations or reader in movers for reader in readers)

    return [group[0] for group in placement.groups if readable(group)]


class _Trial:
    """Errors in one convolution's output for each of ``WIDTHS``.

    Attributes:
        tensor: what the convolution reads.
        errors: float64 of shape (widths,), summed over images.
        variance: of the exact output, summed in the same way.
    """

    def __init__(self, node: gs.Node, activation: Activation, amax: float) -> None:
        self.tensor: str = node.inputs[0].name
        self.errors = np.zeros(len(WIDTHS))
        self.variance = 0.0
        self._weights, self._bias = _matrix(node)
        self._activation = activation
        self._amax = amax

    def observe(self, values: Array) -> None:
        """Add the errors on rows (count, I, kH * kW) of one image."""
        taken = values[: max(NARROW_LEAST, NARROW_PRODUCTS // self._weights.size)]
        x = taken.reshape(len(taken), len(self._weights), -1).transpose(1, 0, 2)
        exact = self._output(x)
        self.variance += float(exact.var(axis=1).sum())
        for index, width in enumerate(WIDTHS):
            scale = np.float32(fp16_scale(width * self._amax / INT8_MAX))
            rounded = np.clip(np.rint(x / scale), -128, 127) * scale
            self.errors[index] += float(np.square(self._output(rounded) - exact).sum())

    def _output(self, x: Array) -> Array:
        return self._activation(x @ self._weights + self._bias)


def refine_weights(
    graph: gs.Graph,
    placement: Placement,
    amax: Mapping[str, float],
    images: Sequence[Path],
    prepare: Prepare,
    progress: Callable[[float], None],
) -> dict[str, Rounded]:
    """Return better INT8 weights for the placement's two-dimensional convolutions.

    Args:
        images: readable files; 64 of them are used, evenly spaced.
        progress: is called with the number of images that are done.
    """
    nodes = [node for node in graph.nodes if node.name in placement.operators and can_sample(node)]
    if not nodes:
        return {}
    scales = {node.name: fp16_scale(amax[node.inputs[0].name] / INT8_MAX) for node in nodes}
    moments: dict[str, Moments] = {}
    groups: dict[str, int] = {}
    for node in nodes:
        _, channels, *kernel = fixed_shape(node.inputs[1])
        columns = channels * int(np.prod(kernel))
        groups[node.name] = node.attrs.get("group", 1)
        pieces = parts(channels, columns)
        moments[node.name] = Moments(groups[node.name] * pieces, columns // pieces)
    stream = sample(graph.copy(), nodes, evenly_spaced(images, SAMPLED), prepare, POSITIONS)
    for number, rows in enumerate(stream, 1):
        for name, values in rows.items():
            count, columns = moments[name].shape
            steps = values / np.float32(scales[name])
            moments[name].observe(steps.reshape(len(values), count, columns))
        progress(number)
    return {
        node.name: round_weights(
            values_of(node.inputs[1]),
            _bias(node),
            scales[node.name],
            moments[node.name],
            groups[node.name],
            weight_scales,
        )
        for node in nodes
    }


def _bias(node: gs.Node) -> Array:
    if len(node.inputs) > 2:
        return np.asarray(values_of(node.inputs[2]), np.float32)
    return np.zeros(fixed_shape(node.inputs[1])[0], np.float32)


def _matrix(node: gs.Node) -> tuple[Array, Array]:
    """Return weights (groups, columns, group outputs) and bias (groups, 1, group outputs)."""
    groups: int = node.attrs.get("group", 1)
    values = np.asarray(values_of(node.inputs[1]), np.float32)
    bias = _bias(node).reshape(groups, 1, -1)
    return np.ascontiguousarray(values.reshape(groups, bias.shape[2], -1).transpose(0, 2, 1)), bias


def _activation(node: gs.Node) -> Activation | None:
    """Return the function that all readers of the node's output apply.

    Known are ReLU, LeakyReLU, and SiLU as ``z * Sigmoid(z)``; None for anything else.
    """
    readers = node.outputs[0].outputs
    if len(readers) == 1 and readers[0].op == "Relu":
        return _leaky_relu(0.0)
    if len(readers) == 1 and readers[0].op == "LeakyRelu":
        return _leaky_relu(readers[0].attrs.get("alpha", 0.01))
    gate = next((reader for reader in readers if reader.op == "Sigmoid"), None)
    if gate is None or len(readers) != 2:
        return None
    return _silu if all(reader is gate or _multiplies(reader, gate) for reader in readers) else None


def _leaky_relu(slope: float) -> Activation:
    slope_32 = np.float32(slope)
    return lambda z: np.where(z < 0, slope_32 * z, z)


def _silu(z: Array) -> Array:
    clipped: Array = np.clip(z, -60, 60)  # exp() of more than 88 would overflow in float32
    result: Array = z / (1 + np.exp(-clipped))
    return result


def _multiplies(node: gs.Node, gate: gs.Node) -> bool:
    return bool(node.op == "Mul" and any(tensor is gate.outputs[0] for tensor in node.inputs))
