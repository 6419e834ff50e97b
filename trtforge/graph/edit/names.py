"""Names for new nodes and tensors that no other one of the graph has."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_graphsurgeon as gs


@dataclass(frozen=True)
class Names:
    """The names of a graph's tensors and nodes, those in bodies of If and Loop included."""

    taken: set[str]

    def free(self, name: str) -> str:
        """Return a name for a new tensor or node: the given one, or one like it."""
        while name in self.taken:
            name += "'"
        self.taken.add(name)
        return name


def names_of(graph: gs.Graph) -> Names:
    """Return the names that a graph has already."""
    taken: set[str] = set()
    for part in (graph, *graph.subgraphs(recursive=True)):
        taken |= set(part.tensors()) | {node.name for node in part.nodes}
    return Names(taken)
