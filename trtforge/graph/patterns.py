"""Select nodes by patterns: of their names, or of the part of the network that they belong to.

Names change with the exporter: the matrix products that one calls ``/decoder/layers.0/fc1/MatMul``
are called ``node_MatMul_629`` by another. Two words stand for structure instead:

- ``@decoder``: what comes after the queries are selected, in detectors such as RT-DETR.
- ``@matmul``: matrix products (MatMul and Gemm), of which transformers consist.
"""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase

import onnx_graphsurgeon as gs

from trtforge.errors import ForgeError
from trtforge.graph.edit.nodes import upstream
from trtforge.graph.heads import learned

_PRODUCTS = ("MatMul", "Gemm")


def matching(
    graph: gs.Graph, patterns: tuple[str, ...], nodes: list[gs.Node], noun: str
) -> set[str]:
    """Return the names of the nodes that a pattern selects.

    Args:
        patterns: shell patterns of names, or words that begin with ``@`` (see the module).
        nodes: the nodes of the graph that may be selected.
        noun: says in a message what they are.

    Raises:
        ForgeError: a pattern selects none of them, or is an unknown word.
    """
    selected: set[str] = set()
    for pattern in patterns:
        if pattern.startswith("@") and pattern not in _PARTS:
            raise ForgeError(
                f"unknown part of a network '{pattern}'", f"one of: {', '.join(_PARTS)}"
            )
        if pattern in _PARTS:
            part, hint = _PARTS[pattern]
            inside = part(graph)
            found = {node.name for node in nodes if id(node) in inside}
        else:
            hint = "an ONNX viewer shows the nodes' names"
            found = {node.name for node in nodes if fnmatchcase(node.name, pattern)}
        if not found:
            raise ForgeError(f"pattern {pattern!r} matches no {noun}", hint)
        selected |= found
    return selected


def _decoder(graph: gs.Graph) -> set[int]:
    """Return the ids of all nodes that do not lead to the TopK that selects the queries.

    It is the first that learned operators follow: D-FINE's decoder takes the best bins by another.
    """
    ends = {id(node) for node in upstream(*(node.inputs[0] for node in learned(graph)))}
    selections = [node for node in graph.nodes if node.op == "TopK" and id(node) in ends]
    if not selections:
        return set()
    selecting = {id(node) for node in selections}
    leading = {id(node): {id(step) for step in upstream(node.inputs[0])} for node in selections}
    before = set().union(*(steps for steps in leading.values() if not steps & selecting))
    return {id(node) for node in graph.nodes if id(node) not in before}


def _products(graph: gs.Graph) -> set[int]:
    return {id(node) for node in graph.nodes if node.op in _PRODUCTS}


_PARTS: dict[str, tuple[Callable[[gs.Graph], set[int]], str]] = {
    "@decoder": (_decoder, "no TopK selects queries in this model: leave the pattern out"),
    "@matmul": (_products, "this model has none: leave the pattern out"),
}
