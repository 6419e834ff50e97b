"""Find the nodes that compute a tensor's channels, past every node that only moves values.

Works on a ``ConcreteGraph``, whose shapes are numbers.
"""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import numpy as np
import onnx_graphsurgeon as gs

from trtforge.graph.tensors import fixed_shape

PASS = {"Identity", "Cast", "QuantizeLinear", "DequantizeLinear"}
RESHAPE = {"Reshape", "Flatten", "Squeeze", "Unsqueeze"}
MOVE = PASS | RESHAPE | {"Concat", "Transpose", "Slice", "Split", "Gather"}
SELECT = {"Gather", "GatherElements", "GatherND"}
ARITHMETIC = {"Add", "Sub", "Mul", "Div", "Pow", "Exp"}


class ChannelSource(NamedTuple):
    """A node, and the channels `low:high` on `axis` of its output that are meant."""

    node: gs.Node
    axis: int
    low: int
    high: int


class Channels(NamedTuple):
    """Channels `low:high` of a tensor, on one of its axes."""

    tensor: gs.Tensor
    axis: int
    low: int
    high: int


def sources(tensor: gs.Tensor, axis: int, low: int, high: int) -> list[ChannelSource]:
    """Return what computes channels `low:high` of a tensor, visited through all that only moves values.

    Casts and quantisation count as moving: the graph may be typed already. A constant has no
    source.
    """
    if not tensor.inputs or low >= high:
        return []
    node = tensor.inputs[0]
    here = [ChannelSource(node, axis, low, high)]
    if node.op not in MOVE or not known(tensor) or not all(known(t) for t in node.inputs[:1]):
        return here
    data: gs.Tensor = node.inputs[0]
    if node.op in PASS:
        return sources(data, axis, low, high)
    if node.op == "Concat":
        return _through_concat(here[0])
    if node.op == "Gather":
        return _through_choice(here[0])
    if node.op == "Transpose":
        perm = node.attrs.get("perm", list(reversed(range(len(fixed_shape(tensor))))))
        return sources(data, perm[axis], low, high)
    if node.op in RESHAPE:
        moved = _same_axis(tensor.shape, axis, data.shape)
        # The axis is new and has one entry, which stands for the whole tensor.
        if moved is None and fixed_shape(tensor)[axis] == 1 and fixed_shape(data):
            return sources(data, len(fixed_shape(data)) - 1, 0, fixed_shape(data)[-1])
        return here if moved is None else sources(data, moved, low, high)
    start = _split_start(node, tensor, axis) if node.op == "Split" else _slice_start(node, axis)
    return here if start is None else sources(data, axis, low + start, high + start)


def _through_concat(source: ChannelSource) -> list[ChannelSource]:
    node, axis, low, high = source
    if not all(known(tensor) for tensor in node.inputs):
        return [source]
    if node.attrs["axis"] % len(fixed_shape(node.outputs[0])) != axis:
        return [found for tensor in node.inputs for found in sources(tensor, axis, low, high)]
    found: list[ChannelSource] = []
    before = 0
    for tensor in node.inputs:
        width = fixed_shape(tensor)[axis]
        found += sources(tensor, axis, max(low - before, 0), min(high - before, width))
        before += width
    return found


def _through_choice(source: ChannelSource) -> list[ChannelSource]:
    """Follow a Gather of one constant index, such as the last of several decoder layers."""
    node, axis, low, high = source
    data, index = node.inputs
    if not isinstance(index, gs.Constant) or prod(index.shape) != 1:
        return [source]
    chosen_axis = node.attrs.get("axis", 0) % len(fixed_shape(data))
    before = row_axis(node, axis)
    if before is None:
        return [source]
    number = int(index.values.item()) % fixed_shape(data)[chosen_axis]
    return sources(_piece(data, chosen_axis, number), before, low, high)


def _piece(tensor: gs.Tensor, axis: int, number: int) -> gs.Tensor:
    """Return the input of a Concat that holds one place on its axis; the tensor itself elsewhere."""
    node = tensor.inputs[0] if tensor.inputs else None
    if node is None or node.op != "Concat" or not all(known(part) for part in node.inputs):
        return tensor
    if node.attrs["axis"] % len(fixed_shape(tensor)) != axis:
        return tensor
    for part in node.inputs:
        if number < fixed_shape(part)[axis]:
            return part
        number -= fixed_shape(part)[axis]
    return tensor


def row_axis(node: gs.Node, axis: int) -> int | None:
    """Return the axis of the data that a node of `SELECT` leaves whole; None where it selects there."""
    data, index = node.inputs
    if not known(data) or not known(index):
        return None
    rank = len(fixed_shape(index))
    if node.op == "GatherND":
        first = int(node.attrs.get("batch_dims", 0)) + fixed_shape(index)[-1]
        moved = axis - (rank - 1) + first
        return moved if axis >= rank - 1 else None
    selected = node.attrs.get("axis", 0) % len(fixed_shape(data))
    if node.op == "GatherElements":
        return axis if axis != selected else None
    if axis < selected:
        return axis
    return axis - rank + 1 if axis >= selected + rank else None


def before_selection(found: list[ChannelSource]) -> list[ChannelSource]:
    """Return the sources of the same channels before rows were selected by index."""
    origins = []
    for source in found:
        axis = row_axis(source.node, source.axis) if source.node.op in SELECT else None
        behind = sources(source.node.inputs[0], axis, *source[2:]) if axis is not None else []
        origins += before_selection(behind) if behind else [source]
    return origins


def all_rows(rows: Channels) -> Channels | None:
    """Return the channels of the rows from which the last Gather of these channels takes some.

    None where they are not gathered, or not by one node.
    """
    data = None
    found = sources(*rows)
    while len(found) == 1 and found[0].node.op in SELECT:
        node, axis, low, high = found[0]
        before = row_axis(node, axis)
        if before is None:
            return None
        data = Channels(node.inputs[0], before, low, high)
        found = sources(*data)
    return data


def operand(source: ChannelSource, tensor: gs.Tensor) -> list[ChannelSource]:
    """Return the same channels of an operand of an elementwise node, which may be broadcast."""
    if not known(tensor) or not known(source.node.outputs[0]):
        return []
    axis = source.axis - len(fixed_shape(source.node.outputs[0])) + len(fixed_shape(tensor))
    if axis < 0:
        return []
    return (
        sources(tensor, axis, 0, 1)
        if fixed_shape(tensor)[axis] == 1
        else sources(tensor, axis, *source[2:])
    )


def _same_axis(shape: Any, axis: int, other: Any) -> int | None:
    """Return the axis that a reshape maps an axis to; None if the axis does not stay whole."""
    before = prod(shape[:axis])
    return next(
        (i for i, dim in enumerate(other) if dim == shape[axis] and prod(other[:i]) == before), None
    )


def _split_start(node: gs.Node, tensor: gs.Tensor, axis: int) -> int | None:
    """Return where an output of a Split starts on an axis."""
    if node.attrs.get("axis", 0) % len(fixed_shape(tensor)) != axis:
        return 0
    index = next(i for i, output in enumerate(node.outputs) if output is tensor)
    before = node.outputs[:index]
    return (
        sum(fixed_shape(output)[axis] for output in before)
        if all(known(output) for output in before)
        else None
    )


def _slice_start(node: gs.Node, axis: int) -> int | None:
    """Return where a Slice starts on an axis; None unless it is constant with step 1."""
    rank = len(fixed_shape(node.inputs[0]))
    values: list[Any] = [
        t.values.tolist() if isinstance(t, gs.Constant) else None for t in node.inputs[1:]
    ]
    if len(values) < 2 or values[0] is None or None in values[2:]:
        return None
    starts = values[0]
    axes = values[2] if len(values) > 2 else list(range(len(starts)))
    steps = values[3] if len(values) > 3 else [1] * len(starts)
    for start, sliced, step in zip(starts, axes, steps, strict=True):
        if sliced % rank == axis:
            dim = fixed_shape(node.inputs[0])[axis]
            begin = start + dim if start < 0 else start
            return int(min(begin, dim)) if step == 1 else None
    return 0


def overlap(one: list[ChannelSource], other: list[ChannelSource]) -> bool:
    """Tell whether two lists of sources share a node."""
    return bool({id(source.node) for source in one} & {id(source.node) for source in other})


def known(tensor: gs.Tensor) -> bool:
    """Tell whether every dimension of the tensor's shape is a positive number."""
    return tensor.shape is not None and all(
        isinstance(dim, int) and dim > 0 for dim in tensor.shape
    )


def operations(found: list[ChannelSource]) -> set[str]:
    """Return the operators of the sources."""
    return {source.node.op for source in found}


def probabilities(found: list[ChannelSource]) -> bool:
    """Tell whether the channels are Sigmoids, or products of them with objectness."""
    return bool(found) and all(source.node.op == "Sigmoid" or _product(source) for source in found)


def _product(source: ChannelSource) -> bool:
    return source.node.op == "Mul" and all(
        probabilities(operand(source, t)) for t in source.node.inputs
    )


def decoded(tensor: gs.Tensor, axis: int, elements: int) -> bool:
    """Tell whether channels 0:4 are arithmetic with a position grid in it, and no probabilities.

    A grid is a constant of at least `elements` (biases and scales are smaller), or an even run of
    numbers along one axis, for the rows or for the columns.
    """
    found = sources(tensor, axis, 0, 4)
    if (
        not found
        or probabilities(found)
        or any(source.node.op not in ARITHMETIC for source in found)
    ):
        return False
    return adds_constant([source.node for source in found], elements)


def _is_run(tensor: gs.Constant) -> bool:
    """Tell whether a constant numbers the rows or the columns of a map: 0, 1, 2 along one axis."""
    shape = fixed_shape(tensor)
    if len(shape) < 4 or max(shape) < 2 or max(shape[-2:]) != prod(shape):
        return False
    steps = np.diff(tensor.values.ravel())
    return bool(steps[0] > 0 and np.allclose(steps, steps[0]))


def adds_constant(nodes: list[gs.Node], elements: int) -> bool:
    """Tell whether the nodes, or what they read, add a constant of so many elements, or a run."""
    pending, visited = list(nodes), set()
    while pending:
        node = pending.pop()
        if id(node) in visited:
            continue
        visited.add(id(node))
        if node.op in {"Add", "Sub"} and any(
            isinstance(tensor, gs.Constant)
            and (prod(fixed_shape(tensor)) >= elements or _is_run(tensor))
            for tensor in node.inputs
        ):
            return True
        if node.op in ARITHMETIC | MOVE:
            pending += [producer for tensor in node.inputs for producer in tensor.inputs]
    return False
