"""What a second look at the images buys INT8: narrower ranges where nothing is lost by it, and
better weights.

Both go by the error that the rounding of a convolution's input makes in its output, in the float
network, one convolution at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx_graphsurgeon as gs

from trtforge.calibration.images import evenly_spaced
from trtforge.calibration.rows import can_sample, sample
from trtforge.graph.moves import MOVES_ALL, MOVES_FIRST
from trtforge.graph.quantize.qdq import Placement, fp16_scale, weight_scales
from trtforge.graph.quantize.rounding import INT8_MAX, Moments, Rounded, parts, round_weights

SAMPLED, POSITIONS = (
    64,
    64,
)  # 4,096 rows for a convolution: several for each of the 576 columns of a part
NARROW_IMAGES, NARROW_POSITIONS = 32, 256
NARROW_LEAST, NARROW_PRODUCTS = (
    64,
    1 << 23,
)  # fewer positions, where that many products are made for an image
WIDTHS = (
    1.0,
    0.72,
    0.61,
    0.52,
    0.44,
    0.37,
)  # of the range: by a quarter or more, or it is not worth the risk
WORTHWHILE = 2 / 3  # of the error: what is less sure than that may cost rare, strong activations
# errors this close to the least are as good, and the narrowest range is best for most values
ALIKE = 1.15

Prepare = Callable[[Path], np.ndarray]
Activation = Callable[[np.ndarray], np.ndarray]


def narrow_ranges(
    graph: gs.Graph,
    placement: Placement,
    amax: Mapping[str, float],
    images: Sequence[Path],
    prepare: Prepare,
) -> dict[str, float]:
    """Narrower ranges for groups whose readers then make a smaller error behind their activation.

    A few strong values can set a range and yet not matter, where the activation behind the
    convolution is flat for them: the rounding of all others does. Only groups that nothing but
    convolutions with a known activation read are looked at.

    Args:
        graph: the float graph of the placement.
        amax: range of each of its tensors.
        images: files that can be read, of which 32 are used, evenly spaced.

    Returns:
        New ranges for the tensors of these groups.
    """
    behind = {
        node.name: activation
        for node in graph.nodes
        if node.name in placement.operators
        and can_sample(node)
        and (activation := _activation(node))
    }
    movers = {node.name for node in graph.nodes if node.op in MOVES_ALL | MOVES_FIRST}
    groups = [
        members
        for members, _ in placement.groups
        if all(
            reader in behind or reader in movers
            for name in members
            for reader, _ in placement.readers[name]
        )
    ]
    looked_at = {name for members in groups for name in members if amax[name] > 0}
    nodes = [
        node for node in graph.nodes if node.name in behind and node.inputs[0].name in looked_at
    ]
    if not nodes:
        return {}
    reads = {node.name: node.inputs[0].name for node in nodes}
    matrices = {node.name: _matrix(node) for node in nodes}
    errors = {node.name: np.zeros(len(WIDTHS)) for node in nodes}
    spreads = dict.fromkeys(errors, 0.0)
    for rows in sample(
        graph.copy(), nodes, evenly_spaced(images, NARROW_IMAGES), prepare, NARROW_POSITIONS
    ):
        for name, values in rows.items():
            weights, bias = matrices[name]
            taken = values[: max(NARROW_LEAST, NARROW_PRODUCTS // weights.size)]
            x = taken.reshape(len(taken), len(weights), -1).transpose(1, 0, 2)
            exact = behind[name](x @ weights + bias)
            spreads[name] += float(exact.var(axis=1).sum())
            for index, width in enumerate(WIDTHS):
                scale = np.float32(fp16_scale(width * amax[reads[name]] / INT8_MAX))
                rounded = np.clip(np.rint(x / scale), -128, 127) * scale
                errors[name][index] += float(
                    np.square(behind[name](rounded @ weights + bias) - exact).sum()
                )
    found: dict[str, float] = {}
    for members in groups:
        readers = [name for name in errors if reads[name] in members and spreads[name] > 0]
        error = sum((errors[name] / spreads[name] for name in readers), np.zeros(len(WIDTHS)))
        if error.min() < WORTHWHILE * error[0]:
            narrowest = WIDTHS[int(np.flatnonzero(error <= ALIKE * error.min())[-1])]
            found |= {name: narrowest * amax[name] for name in members}
    return found


def refine_weights(
    graph: gs.Graph,
    placement: Placement,
    amax: Mapping[str, float],
    images: Sequence[Path],
    prepare: Prepare,
    progress: Callable[[float], None],
) -> dict[str, Rounded]:
    """New constants for the placement's two-dimensional convolutions, by the sums over 64 images.

    Args:
        progress: is told how many images are done.
    """
    nodes = [node for node in graph.nodes if node.name in placement.operators and can_sample(node)]
    if not nodes:
        return {}
    scales = {node.name: fp16_scale(amax[node.inputs[0].name] / INT8_MAX) for node in nodes}
    moments, groups = {}, {}
    for node in nodes:
        _, channels, *kernel = node.inputs[1].shape
        columns = channels * int(np.prod(kernel))
        groups[node.name] = node.attrs.get("group", 1)
        pieces = parts(channels, columns)
        moments[node.name] = Moments(groups[node.name] * pieces, columns // pieces)
    for number, rows in enumerate(
        sample(graph.copy(), nodes, evenly_spaced(images, SAMPLED), prepare, POSITIONS), 1
    ):
        for name, values in rows.items():
            count, columns = moments[name].shape
            moments[name].observe(
                (values / np.float32(scales[name])).reshape(len(values), count, columns)
            )
        progress(number)
    return {
        node.name: round_weights(
            np.asarray(node.inputs[1].values),
            _bias(node),
            scales[node.name],
            moments[node.name],
            groups[node.name],
            weight_scales,
        )
        for node in nodes
    }


def _bias(node: gs.Node) -> np.ndarray:
    given = node.inputs[2].values if len(node.inputs) > 2 else np.zeros(node.inputs[1].shape[0])
    return np.asarray(given, np.float32)


def _matrix(node: gs.Node) -> tuple[np.ndarray, np.ndarray]:
    """Weights (groups, columns, outputs of a group) and bias (groups, 1, outputs of a group)."""
    groups = node.attrs.get("group", 1)
    values = np.asarray(node.inputs[1].values, np.float32)
    bias = _bias(node).reshape(groups, 1, -1)
    return np.ascontiguousarray(values.reshape(groups, bias.shape[2], -1).transpose(0, 2, 1)), bias


def _activation(node: gs.Node) -> Activation | None:
    """What every reader of the node's output makes of it: SiLU, ReLU or LeakyReLU."""
    readers = node.outputs[0].outputs
    if len(readers) == 1 and readers[0].op in ("Relu", "LeakyRelu"):
        slope = np.float32(
            readers[0].attrs.get("alpha", 0.01) if readers[0].op == "LeakyRelu" else 0
        )
        return lambda z: np.where(z < 0, slope * z, z)
    gate = next((reader for reader in readers if reader.op == "Sigmoid"), None)
    if (
        gate is not None
        and len(readers) == 2
        and all(reader is gate or _gated(reader, gate) for reader in readers)
    ):
        return lambda z: z / (1 + np.exp(-np.clip(z, -60, 60)))
    return None


def _gated(node: gs.Node, gate: gs.Node) -> bool:
    return bool(node.op == "Mul" and any(tensor is gate.outputs[0] for tensor in node.inputs))
