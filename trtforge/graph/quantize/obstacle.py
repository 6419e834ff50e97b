"""Name what TensorRT can't compute in a graph that another tool quantized."""

from __future__ import annotations

import re

import numpy as np
import onnx_graphsurgeon as gs

from trtforge.graph.edit.rewire import constant
from trtforge.graph.fold.constants import lift
from trtforge.graph.quantize.adopt import DEQUANTIZE, QUANTIZE

INTEGER = {"ConvInteger", "MatMulInteger", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul"}
FOREIGN = re.compile(r"Quantize|^QLinear|^QGemm$|^QAttention$")
SYMMETRIC = (
    "quantize activations and weights symmetrically as int8 (README, Models that are quantized "
    "already), or give the float model with --int8"
)
PAIRS = (
    "let the tool write QuantizeLinear and DequantizeLinear, or give the float model with --int8"
)


def unserved_pair(graph: gs.Graph) -> tuple[str, str] | None:
    """Return the first Q or DQ that TensorRT can't compute, with the reason, and a hint.

    Its parser refuses most of them, but reads unsigned integers around 0 as signed ones: half of
    their range is cut off in silence.
    """
    lift(graph)
    for node in graph.nodes:
        if node.op in (QUANTIZE, DEQUANTIZE) and (why := _why(node)):
            return f"node {node.name!r} ({node.op}) {why}", SYMMETRIC
    return None


def integer_operator(graph: gs.Graph) -> tuple[str, str] | None:
    """Return the first operator that computes with integers and no Q/DQ, as text, and a hint."""
    for node in graph.nodes:
        if node.op in INTEGER or (node.domain and FOREIGN.search(node.op)):
            return f"TensorRT has no {node.op} (node {node.name!r}): its INT8 is Q/DQ", PAIRS
    return None


def _why(node: gs.Node) -> str:
    """Return what of a Q or DQ TensorRT can't compute; empty if it can."""
    zero = constant(node, 2)
    stored = node.outputs[0] if node.op == QUANTIZE else node.inputs[0]
    dtype = stored.dtype if zero is None else zero.dtype
    if dtype in (np.int16, np.uint16, np.int32):
        return f"has {np.dtype(dtype).itemsize * 8} bits: TensorRT computes with 8"
    if zero is not None and zero.dtype in (np.int8, np.uint8) and zero.any():
        return f"has the zero point {zero[zero != 0].flat[0]}: TensorRT's is 0"
    if dtype == np.uint8:
        return "is unsigned: TensorRT would read it as signed, and cut off half of its range"
    return ""
