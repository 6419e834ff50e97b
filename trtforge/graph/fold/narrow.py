"""Types that TensorRT has to narrow itself are narrowed here, where nothing is lost by it."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from trtforge.graph.edit.rewire import Scope, standard
from trtforge.graph.tensors import values_of

# Operators that take indices of either width, and the inputs that share one type.
INDICES = {"Gather": (1,), "GatherElements": (1,), "ScatterElements": (1,), "Slice": (1, 2, 3, 4)}
TYPE_ATTRIBUTES = ("to", "dtype")
INT32 = np.iinfo(np.int32)


def doubles_to_floats(graph: gs.Graph) -> None:
    """Replace computation in double by float, in place, as TensorRT does.

    A graph with double inputs or outputs, or with control flow, stays as it is.
    """
    if any(graph.subgraphs()) or any(
        tensor.dtype == np.float64 for tensor in [*graph.inputs, *graph.outputs]
    ):
        return
    for tensor in graph.tensors().values():
        if isinstance(tensor, gs.Constant) and tensor.dtype == np.float64:
            tensor.values = _float(tensor.values)
    for node in graph.nodes:
        for name, value in node.attrs.items():
            if name in TYPE_ATTRIBUTES and value == onnx.TensorProto.DOUBLE:
                node.attrs[name] = int(onnx.TensorProto.FLOAT)
            elif isinstance(value, gs.Constant) and value.dtype == np.float64:
                value.values = _float(value.values)


def indices_to_int32(graph: gs.Graph, scope: Scope) -> None:
    """Convert constant int64 indices to int32 where they fit, in place."""
    for node in graph.nodes:
        if node.op not in INDICES or not standard(node):
            continue
        positions = [
            index
            for index in INDICES[node.op]
            if index < len(node.inputs) and node.inputs[index].name
        ]
        read = [node.inputs[index] for index in positions]
        if not all(isinstance(tensor, gs.Constant) and tensor.dtype == np.int64 for tensor in read):
            continue
        # Exporters write the largest int64 for "to the end": any number past the end says the same.
        values = [
            values_of(tensor).clip(INT32.min, INT32.max)
            if node.op == "Slice"
            else values_of(tensor)
            for tensor in read
        ]
        if all(((each >= INT32.min) & (each <= INT32.max)).all() for each in values):
            for index, tensor, each in zip(positions, read, values, strict=True):
                node.inputs[index] = scope.constant(f"{tensor.name}.int32", each.astype(np.int32))


def _float(values: np.ndarray) -> np.ndarray:
    """Convert to float; numbers beyond its range stand for infinity and become its largest."""
    limit = float(np.finfo(np.float32).max)
    return np.where(np.isfinite(values), values.clip(-limit, limit), values).astype(np.float32)
