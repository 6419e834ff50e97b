"""Multiply-accumulate operations: what a learned operator costs."""

from __future__ import annotations

from math import prod
from typing import Any

import onnx_graphsurgeon as gs

from trtforge.graph.heads import learned


def macs(graph: gs.Graph) -> dict[str, int]:
    """Multiply-accumulates of each learned operator for one image, by node name.

    Dimensions that are not numbers (the batch) count as 1, unknown shapes as nothing.
    """
    return {node.name: _of(node) for node in learned(graph)}


def _of(node: gs.Node) -> int:
    weights, output = node.inputs[1].shape, node.outputs[0].shape
    if node.op == "Conv":  # weights (O, I / groups, kH, kW), once for each place
        return _size(weights) * _size(output, 2)
    if node.op == "ConvTranspose":  # weights (I, O / groups, kH, kW), once for each place of the input
        return _size(weights) * _size(node.inputs[0].shape, 2)
    if node.op == "Gemm":
        return _size(weights)
    return _size(weights) * _size(output[:-1] if output else None, 1)  # MatMul: (..., I) times (I, O)


def _size(shape: Any, start: int = 0) -> int:
    return prod(dim for dim in shape[start:] if isinstance(dim, int)) if shape is not None else 0
