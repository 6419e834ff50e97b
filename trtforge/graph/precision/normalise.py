"""Find normalisations that are written out: FP16 holds neither their squares nor their guards.

LayerNorm, RMSNorm, L2 norm, standard deviation and softmax share one form. Values are squared (or
go through Exp), reduced, and guarded by a small constant; then a Div, a Log or a root takes the
result. |x| = 256 has a square beyond FP16's range, and a guard of 1e-12 is 0 in FP16, so everything
from the square to the division stays FP32.
"""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from trtforge.graph.moves import MOVES_FIRST
from trtforge.graph.tensors import values_of

SMALLEST_NORMAL = float(np.finfo(np.float16).tiny)  # 6.1e-5; smaller numbers lose digits
LONGEST = 16  # nodes of a normalisation, one behind the other; a GroupNorm has 9
REDUCTIONS = {
    "ReduceMean",
    "ReduceSum",
    "ReduceMax",
    "ReduceProd",
    "GlobalAveragePool",
    "AveragePool",
    "CumSum",
}
# What they return is far larger or smaller than what they read.
SQUARES = {
    "Abs",
    "Exp",
    "GlobalLpPool",
    "LpPool",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceSumSquare",
    "Sigmoid",
    "Softmax",
    "Softplus",
}
ARITHMETIC = {"Add", "Sub", "Mul", "Div", "Max", "Min", "Clip", "Where", "Neg", "Sum", "Mean"}
ROOTS = {"Sqrt", "Reciprocal", "Log"}
LAYOUT = (MOVES_FIRST - {"MaxPool", "Resize"}) | {"Expand", "Tile", "Cast", "Gather"}


def normalising(graph: gs.Graph) -> list[gs.Node]:
    """Return the nodes of written-out normalisations, from the square to the division."""
    found: dict[int, gs.Node] = {}
    for node in graph.nodes:
        tensor = _divisor(node)
        if tensor is None:
            continue
        before = _before(tensor, False, {}, LONGEST)
        if before or _guards(node):
            found |= {id(kept): kept for kept in (*before, node)}
            if _is_scale(node):
                found |= {id(reader): reader for reader in _scaling(node)}
    return [node for node in graph.nodes if id(node) in found]


def vanishes(values: np.ndarray) -> bool:
    """Tell whether a constant is so small throughout that FP16 has few digits of it, or none."""
    largest = float(np.abs(values[np.isfinite(values)]).max(initial=0.0))
    return 0 < largest < SMALLEST_NORMAL


def _divisor(node: gs.Node) -> gs.Tensor | None:
    """Return the input whose small values decide a node's result; None if there is no such one."""
    if node.op == "Div":
        read = node.inputs[1]
    elif node.op in ROOTS or (node.op == "Pow" and not _is_power(node)):
        read = node.inputs[0]
    else:
        return None
    return None if isinstance(read, gs.Constant) else read


def _before(
    tensor: gs.Tensor, reduced: bool, seen: dict[int, list[gs.Node]], steps: int
) -> list[gs.Node]:
    """Return the nodes between a square, a reduction or a guard and a tensor.

    Args:
        reduced: a reduction follows: only squares are looked for.
        seen: results by tensor.
        steps: number of nodes to go back at most.
    """
    unknown = len(tensor.inputs) != 1 or tensor.dtype != np.float32
    if id(tensor) in seen or unknown or not steps:
        return seen.get(id(tensor), [])
    seen[id(tensor)] = []
    node = tensor.inputs[0]
    if node.op in SQUARES or _is_square(node):
        seen[id(tensor)] = [node]
        return [node]
    if node.op in REDUCTIONS:
        seen[id(tensor)] = [*_before(node.inputs[0], True, seen, steps - 1), node]
    elif node.op in LAYOUT or (
        not reduced and (node.op in ARITHMETIC or node.op in ROOTS or node.op == "Pow")
    ):
        inner = [kept for read in node.inputs for kept in _before(read, reduced, seen, steps - 1)]
        seen[id(tensor)] = [*inner, node] if inner or _guards(node) else []
    return seen[id(tensor)]


def _scaling(node: gs.Node, steps: int = LONGEST) -> list[gs.Node]:
    """Return what multiplies by 1 / deviation: that may be large where the product is not."""
    found: list[gs.Node] = []
    if not steps:
        return found
    for reader in (reader for tensor in node.outputs for reader in tensor.outputs):
        by_constant = any(isinstance(read, gs.Constant) for read in reader.inputs)
        if reader.op in LAYOUT or (reader.op == "Mul" and by_constant):
            found += [reader, *_scaling(reader, steps - 1)]
        elif reader.op == "Mul":
            found.append(reader)
    return found


def _is_scale(node: gs.Node) -> bool:
    """Tell whether a node returns 1 / its input, or a constant / its input."""
    return (
        node.op == "Reciprocal"
        or (node.op == "Div" and isinstance(node.inputs[0], gs.Constant))
        or node.op == "Pow"
    )


def _is_square(node: gs.Node) -> bool:
    return (node.op == "Mul" and node.inputs[0] is node.inputs[1]) or (
        node.op == "Pow" and _is_power(node)
    )


def _is_power(node: gs.Node) -> bool:
    """Tell whether the exponent of a Pow is 1 or more, and no root or reciprocal."""
    exponent = node.inputs[1]
    return isinstance(exponent, gs.Constant) and bool((values_of(exponent) >= 1).all())


def _guards(node: gs.Node) -> bool:
    """Tell whether a node has a small constant, as it keeps a division from 0."""
    return node.op in ARITHMETIC and any(
        isinstance(read, gs.Constant) and read.dtype == np.float32 and vanishes(values_of(read))
        for read in node.inputs
    )
