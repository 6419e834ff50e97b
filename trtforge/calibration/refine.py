"""Improve INT8 in a second pass over the images: narrower ranges, and better rounded weights.

Both reduce the error in the output of a convolution when its input is rounded to INT8. The error
is measured in the float network, one convolution at a time.
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

# For the weights, images and positions in each: together 4,096 rows per convolution, which is
# several for each of the up to 576 columns of a part.
WEIGHT_IMAGES, WEIGHT_POSITIONS = 64, 64
# For the ranges: large convolutions use fewer positions, to bound the products for each image.
RANGE_IMAGES, RANGE_POSITIONS = 32, 256
MIN_RANGE_POSITIONS, MAX_RANGE_PRODUCTS = 64, 1 << 23
# Shares of the range to try. A gain from less than a quarter off is not worth the risk.
RANGE_SHARES = (1.0, 0.72, 0.61, 0.52, 0.44, 0.37)
# The error must fall below this share of its old value: a smaller gain may cost rare, strong
# activations.
MAX_ERROR_SHARE = 2 / 3
# Errors up to this multiple of the smallest count as equal. Of equal ones the narrowest range wins,
# because it has the finest steps.
EQUAL_ERROR = 1.15

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
    """Return narrower ranges for the groups of tensors where they make the error much smaller.

    A few strong values can set a range although they hardly matter, because the activation function
    after the convolution is flat for them; finer steps for all other values are then better. Only
    groups that nothing but convolutions with a known activation function reads are considered.

    Args:
        graph: the float graph of the placement.
        amax: range of each of its tensors.
        images: readable files; 32 of them are used, evenly spaced.

    Returns:
        New ranges by tensor name, without the tensors that keep their range.
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
    some_images = evenly_spaced(images, RANGE_IMAGES)
    for rows in sample(graph.copy(), nodes, some_images, prepare, RANGE_POSITIONS):
        for name, values in rows.items():
            trials[name].observe(values)
    narrowed: dict[str, float] = {}
    for members in groups:
        readers = [
            trial for trial in trials.values() if trial.tensor in members and trial.variance > 0
        ]
        error = np.zeros(len(RANGE_SHARES))
        for trial in readers:
            error = error + trial.errors / trial.variance
        if error.min() < MAX_ERROR_SHARE * error[0]:
            equal = np.flatnonzero(error <= EQUAL_ERROR * error.min())
            share = RANGE_SHARES[int(equal[-1])]
            narrowed |= {name: share * amax[name] for name in members}
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
    """The errors in one convolution's output for each of ``RANGE_SHARES``.

    Attributes:
        tensor: name of the convolution's input.
        errors: squared errors for each share, float64 (shares,), summed over outputs and images.
        variance: variance of the exact output, summed in the same way.
    """

    def __init__(self, node: gs.Node, activation: Activation, amax: float) -> None:
        self.tensor: str = node.inputs[0].name
        self.errors = np.zeros(len(RANGE_SHARES))
        self.variance = 0.0
        self._weights, self._bias = _matrix(node)
        self._activation = activation
        self._amax = amax

    def observe(self, values: Array) -> None:
        """Add the errors on the rows of one image, float32 (count, I, kH * kW)."""
        rows = values[: max(MIN_RANGE_POSITIONS, MAX_RANGE_PRODUCTS // self._weights.size)]
        x = rows.reshape(len(rows), len(self._weights), -1).transpose(1, 0, 2)
        exact = self._output(x)
        self.variance += float(exact.var(axis=1).sum())
        for index, share in enumerate(RANGE_SHARES):
            scale = np.float32(fp16_scale(share * self._amax / INT8_MAX))
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
    """Return INT8 weights for the two-dimensional convolutions, rounded for the smallest error.

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
    stream = sample(
        graph.copy(), nodes, evenly_spaced(images, WEIGHT_IMAGES), prepare, WEIGHT_POSITIONS
    )
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
    """Return the activation function that all readers of the node's output apply.

    It can be ReLU, LeakyReLU, or SiLU as ``z * Sigmoid(z)``; None for anything else.
    """
    readers = node.outputs[0].outputs
    if len(readers) == 1 and readers[0].op == "Relu":
        return _leaky_relu(0.0)
    if len(readers) == 1 and readers[0].op == "LeakyRelu":
        return _leaky_relu(readers[0].attrs.get("alpha", 0.01))
    gate = next((reader for reader in readers if reader.op == "Sigmoid"), None)
    if gate is None or len(readers) != 2:
        return None
    is_silu = all(reader is gate or _multiplies(reader, gate) for reader in readers)
    return _silu if is_silu else None


def _leaky_relu(slope: float) -> Activation:
    slope_32 = np.float32(slope)
    return lambda z: np.where(z < 0, slope_32 * z, z)


def _silu(z: Array) -> Array:
    clipped: Array = np.clip(z, -60, 60)  # exp() of more than 88 would overflow in float32
    result: Array = z / (1 + np.exp(-clipped))
    return result


def _multiplies(node: gs.Node, gate: gs.Node) -> bool:
    return bool(node.op == "Mul" and any(tensor is gate.outputs[0] for tensor in node.inputs))
