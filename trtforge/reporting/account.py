"""Find out what became of each ONNX node: in a layer, folded away, or not accounted for.

Builders name the nodes of most layers, but no Concat, Cast or Q/DQ that needs no layer. These are
placed by following the tensors, in ``trtforge.reporting.places``. Nodes that are placed in this way
are ``inferred``. Nodes that can't be placed are not accounted for, and are listed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf, prod
from typing import Literal

from trtforge.reporting.model import Layer, Node
from trtforge.reporting.origin import Origin
from trtforge.reporting.places import Places

# TensorRT-RTX logs a name of more than 1000 characters as "start ... end".
ELLIPSIS, LONG = " ... ", 1000


def account(layers: Sequence[Layer], origin: Origin, batch: int) -> tuple[list[Layer], list[Node]]:
    """Place every node of the graph in a layer, or say why it needs none.

    Args:
        batch: batch size for which MACs are counted.

    Returns:
        The layers with the nodes that could be placed in them, and with their MACs; and every node
        with what became of it.
    """
    layers = [_with_full_names(layer, origin) for layer in layers]
    places = Places(layers, origin)
    macs = [origin.macs(index, batch) for index in range(len(origin.ops))]
    return _layers_with_nodes(layers, origin, places, macs), _nodes(origin, places, macs)


def _with_full_names(layer: Layer, origin: Origin) -> Layer:
    """Return the layer with the full names of nodes whose names the builder's log shortens."""
    full: dict[str, str] = {}
    for name in layer.nodes:
        if len(name) > LONG and ELLIPSIS in name:
            matches = [op.name for op in origin.ops if _shortens(name, op.name)]
            if len(matches) == 1:
                full[name] = matches[0]
    if not full:
        return layer
    return layer.model_copy(update={"nodes": sorted(full.get(name, name) for name in layer.nodes)})


def _shortens(name: str, full: str) -> bool:
    start, _, end = name.partition(ELLIPSIS)
    return len(full) >= len(start) + len(end) and full.startswith(start) and full.endswith(end)


def _layers_with_nodes(
    layers: Sequence[Layer], origin: Origin, places: Places, macs: Sequence[int]
) -> list[Layer]:
    inferred: dict[int, list[str]] = {}
    total: dict[int, int] = {}
    for node, numbers in places.layers.items():
        for number in numbers:
            if (node, number) not in places.named:
                inferred.setdefault(number, []).append(origin.ops[node].name)
        if macs[node]:
            home = _home(layers, sorted(numbers), origin.weights(node))
            total[home] = total.get(home, 0) + macs[node]
    return [
        _layer_with_nodes(layer, inferred.get(number, []), total, number)
        for number, layer in enumerate(layers)
    ]


def _layer_with_nodes(
    layer: Layer, inferred: Sequence[str], total: Mapping[int, int], number: int
) -> Layer:
    # Without any MACs from the graph, the figures of the builder's list stay.
    macs = total.get(number, 0) if total else layer.macs
    return layer.model_copy(update={"inferred": sorted(inferred), "macs": macs})


def _home(layers: Sequence[Layer], numbers: Sequence[int], weights: int) -> int:
    """Return which of the layers that name a node computes it.

    The others prepare its input, or do what follows it. The layer that computes has the node's
    weights among its constants. The weights may be padded, so the smallest constant that is large
    enough decides.
    """

    def padding(number: int) -> float:
        sizes = [prod(tensor.dims) for tensor in layers[number].constants]
        return min((size / weights for size in sizes if size >= weights > 0), default=inf)

    return min(numbers, key=padding)


def _nodes(origin: Origin, places: Places, macs: Sequence[int]) -> list[Node]:
    """Return every node with what became of it."""
    nodes: list[Node] = []
    for index, op in enumerate(origin.ops):
        learned = op.name in origin.learned
        nodes.append(
            Node(
                name=op.name,
                op=op.kind,
                macs=macs[index],
                learned=learned,
                why=places.why.get(index, ""),
                place=_place(places, index),
                quantized=learned and origin.quantized(index),
                reads_input=learned and origin.reads_input(index),
            )
        )
    return nodes


def _place(places: Places, node: int) -> Literal["layer", "folded", "unaccounted"]:
    if node in places.layers:
        return "layer"
    return "folded" if node in places.why else "unaccounted"
