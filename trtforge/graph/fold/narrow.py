"""Types that TensorRT has to narrow itself are narrowed here, where nothing is lost by it."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from trtforge.graph.edit.rewire import Scope, standard
from trtforge.graph.tensors import values_of

# Operators that take indices of either width, and the inputs that share one type.
INDICES = {"Gather": (1,), "GatherElements": (1,), "ScatterElements": (1,), "Slice": (1, 2, 3, 4)}
AXES, STEPS = 3, 4  # inputs of Slice that may be absent
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
    """Convert constant int64 indices to int32 where they fit, in place.

    A Slice gets the bounds that it leaves out: TensorRT-RTX 1.7 refuses int32 bounds without steps.
    """
    for node in graph.nodes:
        if node.op not in INDICES or not standard(node):
            continue
        positions = [
            index
            for index in INDICES[node.op]
            if index < len(node.inputs) and node.inputs[index].name
        ]
        read = [node.inputs[index] for index in positions]
        if all(_is_index(tensor) for tensor in read) and positions:
            _narrow(node, positions, scope)


def _is_index(tensor: gs.Tensor) -> bool:
    return isinstance(tensor, gs.Constant) and tensor.dtype in (np.int32, np.int64)


def _narrow(node: gs.Node, positions: list[int], scope: Scope) -> None:
    """Convert the indices at some positions of a node, if all of them fit."""
    values = [values_of(node.inputs[index]) for index in positions]
    if node.op == "Slice":
        # Exporters write the largest int64 for "to the end": any number past the end says the same.
        values = [each.clip(INT32.min, INT32.max) for each in values]
    if any((each < INT32.min).any() or (each > INT32.max).any() for each in values):
        return
    for index, each in zip(positions, values, strict=True):
        tensor = node.inputs[index]
        if tensor.dtype == np.int64:
            node.inputs[index] = scope.constant(f"{tensor.name}.int32", each.astype(np.int32))
    if node.op == "Slice":
        _complete(node, scope)


def _complete(node: gs.Node, scope: Scope) -> None:
    """Write out the axes and steps of a Slice, which are the first axes and 1 where absent."""
    count = len(values_of(node.inputs[1]))
    defaults = {AXES: np.arange(count, dtype=np.int32), STEPS: np.ones(count, np.int32)}
    for index, values in defaults.items():
        tensor = scope.constant(f"{node.outputs[0].name}.slice.{index}", values)
        if index == len(node.inputs):
            node.inputs.append(tensor)
        elif not node.inputs[index].name:
            node.inputs[index] = tensor


def _float(values: np.ndarray) -> np.ndarray:
    """Convert to float; numbers beyond its range stand for infinity and become its largest."""
    limit = float(np.finfo(np.float32).max)
    return np.where(np.isfinite(values), values.clip(-limit, limit), values).astype(np.float32)
