"""What became of each ONNX node: in a layer, folded away, or not accounted for; each is exactly one
of the three.

Builders name the nodes of most layers, but no concat, cast or Q/DQ that vanished. So what is left
is followed through the tensors:

1. Constants, shape arithmetic and dead ends run in no engine.
2. A nameless layer that writes the tensor of a node holds that node.
3. Q/DQ of one scale with nothing but moves in between cancel; views move nothing; a concat whose
   inputs come from several layers is written in place, by those layers.
4. Any other node belongs to the layer that all it reads comes from, or that computes one of its
   inputs and reads the others; or else to the layers that read it.

Nodes placed by 2 and 4 are ``inferred``. The rest is not accounted for, and listed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from math import inf, prod

from trtforge.reporting.cost import edges
from trtforge.reporting.inspector import FOREIGN
from trtforge.reporting.model import Layer, Node
from trtforge.reporting.origin import MOVES, SAME, VIEWS, Origin

_ENGINE_TENSOR = re.compile(
    r"(\.\d+)?(_\d+)?_myl\d+$"
)  # what Myelin puts behind a tensor's ONNX name
ELLIPSIS, LONG = " ... ", 1000
_PAIRS = ("QuantizeLinear", "DequantizeLinear")


def account(layers: Sequence[Layer], origin: Origin, batch: int) -> tuple[list[Layer], list[Node]]:
    """Layers with the nodes that could be placed and their MACs, and every node with what became of
    it.

    Args:
        batch: that MACs are counted for.
    """
    layers = [_in_full(layer, origin) for layer in layers]
    places = _Places(layers, origin)
    places.by_name()
    places.by_tensor()
    places.fold()
    places.by_neighbours()
    macs = [origin.macs(index, batch) for index in range(len(origin.ops))]
    return _with_nodes(layers, origin, places, macs), _nodes(origin, places, macs)


class _Places:
    """Layers of each node by indices, as they become known.

    Attributes:
        layers: of each placed node; those that the builder named are in ``named``.
        why: of each node that runs nowhere.
    """

    def __init__(self, layers: Sequence[Layer], origin: Origin) -> None:
        self.engine = layers
        self.origin = origin
        self.layers: dict[int, set[int]] = {}
        self.named: set[tuple[int, int]] = set()
        self.why: dict[int, str] = {}
        self.writers: dict[str, list[int]] = {}
        for number, layer in enumerate(layers):
            for tensor in layer.outputs:
                self.writers.setdefault(tensor.name, []).append(number)
        self.feeders: dict[int, set[int]] = {}
        for source, target in edges(layers):
            self.feeders.setdefault(target, set()).add(source)
        self.nameless = {number for number, layer in enumerate(layers) if not layer.nodes}

    def by_name(self) -> None:
        index = {op.name: number for number, op in enumerate(self.origin.ops)}
        foreign = []
        for number, layer in enumerate(self.engine):
            for name in layer.nodes:
                if name in index:
                    self.layers.setdefault(index[name], set()).add(number)
                    self.named.add((index[name], number))
                elif found := FOREIGN.fullmatch(name):
                    foreign.append((number, index.get(found[1]), index.get(found[2])))
        for number, first, last in foreign:
            if first is not None and last is not None:
                below = self._reached([first], self.origin.below) | {first}
                above = self._reached([last], self.origin.above) | {last}
                self._infer((below & above) | {first, last}, number)
        self.why |= {
            node: why for node, why in self.origin.at_build_time.items() if node not in self.layers
        }

    def by_tensor(self) -> None:
        for tensor, numbers in self.writers.items():
            node = self.origin.producer.get(_ENGINE_TENSOR.sub("", tensor))
            if node is None or self._settled(node):
                continue
            for number in numbers:
                if number in self.nameless:
                    self._infer({node}, number)

    def fold(self) -> None:
        for node, op in enumerate(self.origin.ops):
            if self._settled(node):
                continue
            if op.kind in SAME:
                self.why[node] = "passes its input on"
            elif op.kind in VIEWS:
                self.why[node] = "a view, moves nothing"
            elif op.kind in _PAIRS and self._cancels(node):
                self.why[node] = "cancels with the scale beside it"
            elif op.kind == "Concat" and len(self._nearest(node, self.origin.above)) > 1:
                self.why[node] = "written in place by the layers before it"

    def by_neighbours(self) -> None:
        """Until nothing changes: what one node settles, its neighbours may follow."""
        waiting = [node for node in range(len(self.origin.ops)) if not self._settled(node)]
        while waiting:
            for node in waiting:
                above = [
                    self.layers.get(each, set())
                    for each in self.origin.above(node)
                    if each not in self.why
                ]
                below = [
                    self.layers.get(each, set())
                    for each in self.origin.below(node)
                    if each not in self.why
                ]
                shared = (set.intersection(*above) if above else set()) or self._residual(above)
                absorbed = set.union(*below) if below and all(below) else set()
                if (
                    not shared
                    and len(absorbed) > 1
                    and self.origin.ops[node].kind != "DequantizeLinear"
                ):
                    absorbed = set.intersection(
                        *below
                    )  # only a DQ runs once for each of its readers
                if self.origin.ops[node].kind == "DequantizeLinear" and absorbed:
                    shared = set()
                self._infer({node}, *(shared or absorbed))
            left = [node for node in waiting if not self._settled(node)]
            if len(left) == len(waiting):
                return
            waiting = left

    def _residual(self, above: Sequence[set[int]]) -> set[int]:
        """The one layer that computes one input of a node and reads the others: a convolution with
        its add.
        """
        fits = [
            number
            for number in set[int]().union(*above)
            if all(number in made or made & self.feeders.get(number, set()) for made in above)
        ]
        return set(fits) if len(fits) == 1 else set()

    def _settled(self, node: int) -> bool:
        return node in self.layers or node in self.why

    def _infer(self, nodes: Iterable[int], *layers: int) -> None:
        for node in nodes:
            if layers and not self._settled(node):
                self.layers[node] = set(layers)

    def _nearest(self, node: int, towards: Callable[[int], list[int]]) -> set[int]:
        """The layers of the nearest placed nodes in one direction."""
        stack, seen, found = towards(node), set(), set()
        while stack:
            other = stack.pop()
            if other in seen:
                continue
            seen.add(other)
            if other in self.layers:
                found |= self.layers[other]
            else:
                stack += towards(other)
        return found

    def _reached(self, start: list[int], towards: Callable[[int], list[int]]) -> set[int]:
        stack, found = list(start), set()
        while stack:
            fresh = [other for other in towards(stack.pop()) if other not in found]
            found.update(fresh)
            stack += fresh
        return found

    def _cancels(self, node: int) -> bool:
        """Whether only moves lie between a Q and the DQs before it, or a DQ and the Qs behind it,
        of its scale.
        """
        origin = self.origin
        quantizes = origin.ops[node].kind == "QuantizeLinear"
        towards = origin.above if quantizes else origin.below
        other = _PAIRS[quantizes]
        stack, seen, ends = towards(node), set(), []
        while stack:
            index = stack.pop()
            if index in seen:
                continue
            seen.add(index)
            op = origin.ops[index]
            if op.kind == other:
                ends.append(op.name)
            elif op.kind in MOVES | {"Cast"}:
                more = towards(index)
                if not more:
                    return False
                stack += more
            elif index not in origin.at_build_time:
                return False
        scale = origin.scales.get(origin.ops[node].name)
        return (
            bool(ends)
            and scale is not None
            and all(origin.scales.get(name) == scale for name in ends)
        )


def _in_full(layer: Layer, origin: Origin) -> Layer:
    """The layer with the whole names of its nodes: of a very long one, TensorRT-RTX logs ``start
    ... end``.
    """
    short = [name for name in layer.nodes if len(name) > LONG and ELLIPSIS in name]
    if not short:
        return layer
    whole = {name: [op.name for op in origin.ops if _shortens(name, op.name)] for name in short}
    nodes = [whole[name][0] if len(whole.get(name, [])) == 1 else name for name in layer.nodes]
    return layer.model_copy(update={"nodes": sorted(nodes)})


def _shortens(name: str, whole: str) -> bool:
    start, _, end = name.partition(ELLIPSIS)
    return len(whole) >= len(start) + len(end) and whole.startswith(start) and whole.endswith(end)


def _with_nodes(
    layers: Sequence[Layer], origin: Origin, places: _Places, macs: Sequence[int]
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
        layer.model_copy(
            update={
                "inferred": sorted(inferred.get(number, [])),
                "macs": total.get(number, 0) if total else layer.macs,
            }
        )
        for number, layer in enumerate(layers)
    ]


def _home(layers: Sequence[Layer], numbers: Sequence[int], weights: int) -> int:
    """The layer that computes a node: others that carry its name prepare its input, or do what
    follows it.

    It is the one that has the node's weights among its constants; they may be padded, so the next
    larger ones count.
    """

    def excess(number: int) -> float:
        sizes = [prod(tensor.dims) for tensor in layers[number].constants]
        return min((size / weights for size in sizes if size >= weights > 0), default=inf)

    return min(numbers, key=excess)


def _nodes(origin: Origin, places: _Places, macs: Sequence[int]) -> list[Node]:
    found = []
    for index, op in enumerate(origin.ops):
        learned = op.name in origin.learned
        found.append(
            Node(
                name=op.name,
                op=op.kind,
                macs=macs[index],
                learned=learned,
                why=places.why.get(index, ""),
                place="layer"
                if index in places.layers
                else "folded"
                if index in places.why
                else "unaccounted",
                quantized=learned and origin.quantized(index),
                reads_input=learned and origin.reads_input(index),
            )
        )
    return found
