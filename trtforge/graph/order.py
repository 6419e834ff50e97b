"""Sort the nodes of a model, so that each stands behind the nodes whose results it reads.

ONNX asks for that order. Tools that cast a finished graph to FP16 append their Cast nodes at its
end, and runtimes take the file all the same.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx
    from google.protobuf.internal.containers import RepeatedCompositeFieldContainer

    Nodes = RepeatedCompositeFieldContainer[onnx.NodeProto]


class CycleError(ValueError):
    """Nodes that wait for each other.

    Attributes:
        node: name of one of them.
    """

    def __init__(self, node: str) -> None:
        super().__init__(f"node {node!r} reads what is computed from its own result")
        self.node = node


def sort_nodes(model: onnx.ModelProto) -> bool:
    """Sort the graph, the bodies in its nodes and the local functions, in place.

    Nodes keep their order where they can.

    Returns:
        Whether any node had to move.

    Raises:
        CycleError: a node needs its own result.
    """
    moved = _sort(model.graph.node)
    for function in model.functions:
        moved |= _sort(function.node)
    return moved


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """Yield the graphs that are attributes of a node, such as the branches of an If."""
    for attribute in node.attribute:
        yield from attribute.graphs
        if attribute.HasField("g"):
            yield attribute.g


def _sort(nodes: Nodes) -> bool:
    moved = False
    for node in nodes:
        for body in subgraphs(node):
            moved |= _sort(body.node)
    needs = _needs(nodes)
    if all(maker < number for number, makers in enumerate(needs) for maker in makers):
        return moved
    _rearrange(nodes, _order(nodes, needs))
    return True


def _needs(nodes: Nodes) -> list[set[int]]:
    """Return, for each node, the numbers of the nodes of the same graph that it reads from."""
    makers = {name: number for number, node in enumerate(nodes) for name in node.output if name}
    return [{makers[name] for name in reads(node) if name in makers} for node in nodes]


def reads(node: onnx.NodeProto) -> Iterator[str]:
    """Yield what a node reads; its bodies read results of the nodes around it, too."""
    yield from node.input
    for body in subgraphs(node):
        made = {name for inner in body.node for name in inner.output}
        names = [name for inner in body.node for name in reads(inner)]
        names += [value.name for value in body.output]
        yield from (name for name in names if name not in made)


def _order(nodes: Nodes, needs: Sequence[Collection[int]]) -> list[int]:
    """Return the numbers of the nodes, sorted; of those that may come next, the first comes."""
    readers: list[list[int]] = [[] for _ in needs]
    for number, makers in enumerate(needs):
        for maker in makers:
            readers[maker].append(number)
    waiting = [len(makers) for makers in needs]
    ready = [number for number, count in enumerate(waiting) if count == 0]
    order: list[int] = []
    while ready:
        number = heapq.heappop(ready)
        order.append(number)
        for reader in readers[number]:
            waiting[reader] -= 1
            if waiting[reader] == 0:
                heapq.heappush(ready, reader)
    if len(order) < len(needs):
        raise CycleError(_on_cycle(nodes, needs, waiting))
    return order


def _on_cycle(nodes: Nodes, needs: Sequence[Collection[int]], waiting: Sequence[int]) -> str:
    """Return the name of a node that waits for itself: any walk back along the waiting ends there."""
    number = next(number for number, count in enumerate(waiting) if count > 0)
    seen: set[int] = set()
    while number not in seen:
        seen.add(number)
        number = next(maker for maker in needs[number] if waiting[maker] > 0)
    node = nodes[number]
    return str(node.name or node.output[0])


def _rearrange(nodes: Nodes, order: Sequence[int]) -> None:
    copies = [type(nodes[number])() for number in order]
    for copy, number in zip(copies, order, strict=True):
        copy.CopyFrom(nodes[number])
    del nodes[:]
    nodes.extend(copies)
