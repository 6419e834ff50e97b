"""Vectors of sizes that stay dynamic, made the short way: numbers, and sizes read off the inputs."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from trtforge.graph.edit.rewire import Scope, scope, standard, sweep
from trtforge.graph.shapes import Shapes
from trtforge.graph.symbols import Dim

SHAPE_SLICES = 15  # the opset in which Shape took start and end
Source = tuple[gs.Tensor, int]  # an input, and the axis that has the size


def shorten(graph: gs.Graph, shapes: Shapes) -> bool:
    """Make vectors such as ``[batch, 300, 4]`` from numbers and a Shape of an input, in place.

    Exporters read sizes out of the nearest tensor, and guard them: ``where(shape == -1, 1,
    shape)``.

    Returns:
        Whether there was one that was made in another way.
    """
    if graph.opset < SHAPE_SLICES:
        return False
    sources: dict[Dim, Source] = {}
    for tensor in graph.inputs:
        for axis, size in enumerate(shapes.shape.get(tensor.name, ())):
            if isinstance(size, Dim):
                sources.setdefault(size, (tensor, axis))
    found = scope(graph, shapes)
    read: dict[Dim, gs.Tensor] = {}
    nodes: list[gs.Node] = []
    changed = False
    for node in graph.nodes:
        elements = _vector(node, found)
        if elements is not None and all(
            isinstance(size, int) or size in sources for size in elements
        ):
            nodes += _make(node, elements, sources, read, found)
            changed = True
        nodes.append(node)
    graph.nodes = nodes
    sweep(graph)
    return changed


def _vector(node: gs.Node, scope: Scope) -> list[int | Dim] | None:
    """Return the elements of a vector of sizes that takes several nodes to make."""
    if (
        not standard(node)
        or len(node.outputs) != 1
        or node.op == "Shape"
        or id(node.outputs[0]) in scope.keep
    ):
        return None
    name = node.outputs[0].name
    values = scope.shapes.values.get(name)
    if values is None or values.ndim != 1 or scope.shapes.dtype[name] != onnx.TensorProto.INT64:
        return None
    if None in values or not any(isinstance(size, Dim) for size in values) or _short(node):
        return None
    return list(values)


def _short(node: gs.Node) -> bool:
    return node.op == "Concat" and all(
        isinstance(tensor, gs.Constant) or (tensor.inputs and tensor.inputs[0].op == "Shape")
        for tensor in node.inputs
    )


def _make(
    node: gs.Node,
    elements: list[int | Dim],
    sources: dict[Dim, Source],
    read: dict[Dim, gs.Tensor],
    scope: Scope,
) -> list[gs.Node]:
    """Turn the node into a Concat, or into a Shape; the nodes that have to go before it."""
    made, before = node.outputs[0], []
    if len(elements) == 1 and isinstance(elements[0], Dim):
        tensor, axis = sources[elements[0]]
        node.op, node.attrs, node.inputs = "Shape", {"start": axis, "end": axis + 1}, [tensor]
        return []
    pieces: list[gs.Tensor] = []
    numbers: list[int] = []
    for size in [*elements, None]:
        if isinstance(size, int):
            numbers.append(int(size))
            continue
        if numbers:
            pieces.append(scope.constant(f"{made.name}.sizes", np.array(numbers, np.int64)))
            numbers = []
        if isinstance(size, Dim):
            if size not in read:
                before.append(_read(sources[size], scope))
                read[size] = before[-1].outputs[0]
            pieces.append(read[size])
    node.op, node.attrs, node.inputs = "Concat", {"axis": 0}, pieces
    return before


def _read(source: Source, scope: Scope) -> gs.Node:
    tensor, axis = source
    name = scope.free(f"{tensor.name}.size{axis}")
    return gs.Node(
        "Shape",
        name,
        {"start": axis, "end": axis + 1},
        [tensor],
        [gs.Variable(name, np.int64, [1])],
    )
