"""Find, for the layers of one engine, their counterparts in another engine.

Builders name their layers anew in each build, so layers are paired by the ONNX nodes in them. Q/DQ
and casts do not count, because only one of two precisions has them. Layers without nodes are paired
by name and shapes.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Hashable

from trtforge.reporting.model import Layer, LayerReport

TYPING = {"QuantizeLinear", "DequantizeLinear", "Cast"}
_NUMBER = re.compile(r"(_U\d+)?_myl\d+_\d+$")  # what Myelin, TensorRT's compiler, appends to names

# What two layers must have in common to be paired; None if a layer can't be paired by this key.
Key = Callable[[Layer, frozenset[str]], "Hashable | None"]


def pair_layers(one: LayerReport, other: LayerReport) -> dict[int, int]:
    """Return, for indices of layers of the first engine, the indices of their counterparts."""
    pairing = _Pairing(one, other)
    pairing.pair_by(lambda layer, nodes: (layer.name, layer.type, nodes))
    pairing.pair_by(lambda layer, nodes: (nodes, layer.macs > 0) if nodes else None)
    pairing.pair_by_likeness()
    pairing.pair_by(lambda layer, nodes: None if nodes else _name_and_shapes(layer))
    return pairing.pairs


def _name_and_shapes(layer: Layer) -> Hashable:
    shapes = tuple(tuple(tensor.dims) for tensor in layer.outputs)
    return _NUMBER.sub("", layer.name), layer.type, shapes


class _Pairing:
    """The pairs that are known so far.

    Attributes:
        pairs: index of a layer of the first engine -> index of its counterpart.
    """

    def __init__(self, one: LayerReport, other: LayerReport) -> None:
        self.pairs: dict[int, int] = {}
        reports = (one, other)
        typing = {node.name for report in reports for node in report.nodes if node.op in TYPING}
        self._one, self._other = one.layers, other.layers
        # The nodes of each layer that count.
        self._nodes_one, self._nodes_other = (
            [frozenset(layer.members) - typing for layer in report.layers] for report in reports
        )
        # The layers without a counterpart.
        self._free_one, self._free_other = (
            {index for index, layer in enumerate(report.layers) if layer.role != "sync"}
            for report in reports
        )

    def pair_by(self, key: Key) -> None:
        """Pair free layers with equal keys, in order."""
        waiting: dict[Hashable, list[int]] = defaultdict(list)
        for after in sorted(self._free_other):
            other_key = key(self._other[after], self._nodes_other[after])
            if other_key is not None:
                waiting[other_key].append(after)
        for before in sorted(self._free_one):
            candidates = waiting.get(key(self._one[before], self._nodes_one[before]))
            if candidates:
                self._pair(before, candidates.pop(0))

    def pair_by_likeness(self) -> None:
        """Pair free layers that share nodes, those with the largest share first."""
        holders: dict[str, list[int]] = defaultdict(list)
        for after in sorted(self._free_other):
            for name in self._nodes_other[after]:
                holders[name].append(after)
        likeness: list[tuple[bool, float, int, int]] = []
        for before in sorted(self._free_one):
            nodes = self._nodes_one[before]
            for after in {index for name in nodes for index in holders[name]}:
                other_nodes = self._nodes_other[after]
                share = len(nodes & other_nodes) / len(nodes | other_nodes)
                both_compute = (self._one[before].macs > 0) == (self._other[after].macs > 0)
                # Negative indices: of equal pairs, the first comes first when sorted in reverse.
                likeness.append((both_compute, share, -before, -after))
        for _, _, negative_before, negative_after in sorted(likeness, reverse=True):
            before, after = -negative_before, -negative_after
            if before in self._free_one and after in self._free_other:
                self._pair(before, after)

    def _pair(self, before: int, after: int) -> None:
        self.pairs[before] = after
        self._free_one.discard(before)
        self._free_other.discard(after)
