"""Place ONNX nodes in the layers of an engine, by names and by following tensors.

1. Constants, shape arithmetic and dead ends run in no engine.
2. A layer without names that writes the tensor of a node contains that node.
3. Q/DQ nodes of the same scale with only moves between them cancel. Views move nothing. A Concat
   whose inputs come from several layers is written in place, by those layers.
4. Any other node belongs to the layer from which all its inputs come; or to the layer that computes
   one of its inputs and reads the others; or else to the layers that read it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from trtforge.reporting.cost import edges
from trtforge.reporting.inspector import FOREIGN
from trtforge.reporting.model import Layer
from trtforge.reporting.origin import MOVES, SAME, VIEWS, Origin

# What Myelin, TensorRT's compiler, appends to a tensor's ONNX name.
_ENGINE_TENSOR = re.compile(r"(\.\d+)?(_\d+)?_myl\d+$")
_PAIRS = ("QuantizeLinear", "DequantizeLinear")


class Places:
    """The layers of each node, all as indices.

    Attributes:
        layers: the layers of each node that could be placed.
        named: pairs of node and layer that the builder itself lists.
        why: for each node that runs nowhere, the reason.
    """

    def __init__(self, layers: Sequence[Layer], origin: Origin) -> None:
        self.layers: dict[int, set[int]] = {}
        self.named: set[tuple[int, int]] = set()
        self.why: dict[int, str] = {}
        self._engine = layers
        self._origin = origin
        self._feeders: dict[int, set[int]] = {}  # the layers whose tensors each layer reads
        for source, target in edges(layers):
            self._feeders.setdefault(target, set()).add(source)
        # The order matters: each step relies on the nodes that the steps before have placed.
        self._place_by_name()
        self._place_by_tensor()
        self._fold()
        self._place_by_neighbours()

    def _place_by_name(self) -> None:
        """Place the nodes that the builder names; a ForeignNode stands for all nodes between two."""
        index = {op.name: number for number, op in enumerate(self._origin.ops)}
        foreign: list[tuple[int, int | None, int | None]] = []
        for number, layer in enumerate(self._engine):
            for name in layer.nodes:
                if name in index:
                    self.layers.setdefault(index[name], set()).add(number)
                    self.named.add((index[name], number))
                elif ends := FOREIGN.fullmatch(name):
                    foreign.append((number, index.get(ends[1]), index.get(ends[2])))
        for number, first, last in foreign:
            if first is not None and last is not None:
                below = self._reachable([first], self._origin.below) | {first}
                above = self._reachable([last], self._origin.above) | {last}
                self._infer((below & above) | {first, last}, number)
        for node, reason in self._origin.at_build_time.items():
            if node not in self.layers:
                self.why[node] = reason

    def _place_by_tensor(self) -> None:
        """Place the nodes whose tensors are written by layers that name no node."""
        writers: dict[str, list[int]] = {}
        for number, layer in enumerate(self._engine):
            for tensor in layer.outputs:
                writers.setdefault(tensor.name, []).append(number)
        for name, numbers in writers.items():
            node = self._origin.producer.get(_ENGINE_TENSOR.sub("", name))
            if node is None or self._is_settled(node):
                continue
            for number in numbers:
                if not self._engine[number].nodes:
                    self._infer({node}, number)

    def _fold(self) -> None:
        """Note the nodes that need no layer, with the reason."""
        for node, op in enumerate(self._origin.ops):
            if self._is_settled(node):
                continue
            if op.kind in SAME:
                self.why[node] = "passes its input on"
            elif op.kind in VIEWS:
                self.why[node] = "a view, moves nothing"
            elif op.kind in _PAIRS and self._cancels(node):
                self.why[node] = "cancels with the scale beside it"
            elif op.kind == "Concat" and len(self._nearest(node, self._origin.above)) > 1:
                self.why[node] = "written in place by the layers before it"

    def _place_by_neighbours(self) -> None:
        """Place nodes by their neighbours, until nothing changes: each placed node helps others."""
        waiting = [node for node in range(len(self._origin.ops)) if not self._is_settled(node)]
        while waiting:
            for node in waiting:
                self._infer({node}, *self._layers_by_neighbours(node))
            left = [node for node in waiting if not self._is_settled(node)]
            if len(left) == len(waiting):
                return
            waiting = left

    def _layers_by_neighbours(self, node: int) -> set[int]:
        """Return the layers in which a node belongs by rule 4; empty if they are not known yet."""
        above = self._layers_of(self._origin.above(node))
        below = self._layers_of(self._origin.below(node))
        readers = set.union(*below) if below and all(below) else set[int]()
        if self._origin.ops[node].kind == "DequantizeLinear":
            if readers:
                return readers  # a DQ runs once for each layer that reads it
        elif len(readers) > 1:
            readers = set.intersection(*below)
        shared = set.intersection(*above) if above else set[int]()
        return shared or self._residual_layer(above) or readers

    def _layers_of(self, nodes: Iterable[int]) -> list[set[int]]:
        """Return the layers of each node that runs; an empty set if a node is not placed yet."""
        return [self.layers.get(node, set()) for node in nodes if node not in self.why]

    def _residual_layer(self, above: Sequence[set[int]]) -> set[int]:
        """Return the only layer that computes one input of a node and reads the others, if any.

        An example is a convolution with the addition that follows it.
        """
        candidates = set[int]().union(*above)
        fitting = [
            number
            for number in candidates
            if all(
                number in makers or makers & self._feeders.get(number, set()) for makers in above
            )
        ]
        return set(fitting) if len(fitting) == 1 else set()

    def _is_settled(self, node: int) -> bool:
        return node in self.layers or node in self.why

    def _infer(self, nodes: Iterable[int], *layers: int) -> None:
        """Place nodes that are not settled yet."""
        for node in nodes:
            if layers and not self._is_settled(node):
                self.layers[node] = set(layers)

    def _nearest(self, node: int, towards: Callable[[int], list[int]]) -> set[int]:
        """Return the layers of the nearest placed nodes in one direction."""
        stack, visited = towards(node), set[int]()
        nearest = set[int]()
        while stack:
            other = stack.pop()
            if other in visited:
                continue
            visited.add(other)
            if other in self.layers:
                nearest |= self.layers[other]
            else:
                stack += towards(other)
        return nearest

    def _reachable(self, start: list[int], towards: Callable[[int], list[int]]) -> set[int]:
        """Return all nodes that can be reached in one direction."""
        stack, reached = list(start), set[int]()
        while stack:
            fresh = [other for other in towards(stack.pop()) if other not in reached]
            reached.update(fresh)
            stack += fresh
        return reached

    def _cancels(self, node: int) -> bool:
        """Return whether a Q cancels with the DQs before it, or a DQ with the Qs after it.

        They cancel if only moves are between them, and if all have the same scale.
        """
        origin = self._origin
        quantizes = origin.ops[node].kind == "QuantizeLinear"
        towards = origin.above if quantizes else origin.below
        counterpart = "DequantizeLinear" if quantizes else "QuantizeLinear"
        stack, visited = towards(node), set[int]()
        ends: list[str] = []
        while stack:
            index = stack.pop()
            if index in visited:
                continue
            visited.add(index)
            op = origin.ops[index]
            if op.kind == counterpart:
                ends.append(op.name)
            elif op.kind in MOVES | {"Cast"}:
                more = towards(index)
                if not more:
                    return False
                stack += more
            elif index not in origin.at_build_time:
                return False
        scale = origin.scales.get(origin.ops[node].name)
        if scale is None or not ends:
            return False
        return all(origin.scales.get(name) == scale for name in ends)
