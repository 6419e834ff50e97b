"""Multiply-accumulate operations: what convolutions and matrix products cost."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import onnx_graphsurgeon as gs

from trtforge.graph.heads import learned

Shape = Sequence[int] | None  # None: unknown


def macs(graph: gs.Graph) -> dict[str, int]:
    """Return the multiply-accumulates of each learned operator, by node name.

    Dimensions that are not numbers (a dynamic batch) count as 1, unknown shapes as nothing.
    """
    return {
        node.name: count(
            node.op,
            _numbers(node.inputs[0].shape),
            _numbers(node.inputs[1].shape),
            _numbers(node.outputs[0].shape),
            bool(node.attrs.get("transA", 0)),
        )
        for node in learned(graph)
    }


def count(op: str, data: Shape, weights: Shape, output: Shape, transposed: bool = False) -> int:
    """Count the multiply-accumulates of an operator by its shapes; 0 where it has none or unknown ones.

    Args:
        op: of ONNX.
        transposed: Gemm with transA.
    """
    # Weights (O, I / groups, kH, kW): one kernel for each value of the output.
    if op == "Conv" and weights and output:
        return prod(output) * prod(weights[1:])
    # Weights (I, O / groups, kH, kW): one kernel for each value of the input.
    if op == "ConvTranspose" and weights and data:
        return prod(data) * prod(weights[1:])
    if op in ("Gemm", "MatMul") and data and output:  # (..., I) times (I, O)
        return prod(output) * (data[-2] if transposed and len(data) > 1 else data[-1])
    return 0


def _numbers(shape: Any) -> Shape:
    if shape is None:
        return None
    return [dim if isinstance(dim, int) else 1 for dim in shape]
