"""Find operators that only move values, so their inputs and outputs share one scale."""

from __future__ import annotations

from collections.abc import Iterable

import onnx_graphsurgeon as gs

MOVES_ALL = {"Concat"}  # operators whose output holds values of all their inputs
# Operators whose outputs hold values of their first input only.
MOVES_FIRST = {
    "MaxPool",
    "Resize",
    "Slice",
    "Split",
    "Transpose",
    "Reshape",
    "Squeeze",
    "Unsqueeze",
    "Flatten",
    "Identity",
    "DepthToSpace",
    "SpaceToDepth",
}
Group = tuple[tuple[str, ...], tuple[str, ...]]  # all members, and the sources among them


def moved_inputs(tensor: gs.Tensor) -> list[tuple[gs.Tensor, gs.Node, int]]:
    """Return the tensors whose values ``tensor`` holds, with the moving node and its input index."""
    if not tensor.inputs:
        return []
    producer = tensor.inputs[0]
    if producer.op in MOVES_ALL and not any(
        isinstance(moved, gs.Constant) for moved in producer.inputs
    ):
        return [(moved, producer, index) for index, moved in enumerate(producer.inputs)]
    if producer.op in MOVES_FIRST and not (
        producer.op == "Resize" and producer.attrs.get("mode") == "cubic"
    ):
        return [(producer.inputs[0], producer, 0)]  # a cubic resize overshoots its input's range
    return []


def groups(graph: gs.Graph, names: Iterable[str]) -> tuple[Group, ...]:
    """Group the names that share a scale, because one tensor holds values of another.

    A source is a member that does not only copy values from other members. Every value in the
    group comes from a source, so the ranges of the sources give the range of the group.
    """
    tensors = graph.tensors()
    selected = set(names)
    shared = _Shared()
    for name in selected:
        shared.add(name)
        for moved, _, _ in moved_inputs(tensors[name]):
            if moved.name in selected:
                shared.join(name, moved.name)

    def is_source(name: str) -> bool:
        moved = moved_inputs(tensors[name])
        return not moved or any(source.name not in selected for source, _, _ in moved)

    return tuple(
        (members, tuple(name for name in members if is_source(name)))
        for members in shared.sets(order=[name for name in tensors if name in selected])
    )


class _Shared:
    """Disjoint sets of names, merged by union-find."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def add(self, name: str) -> None:
        self._parent.setdefault(name, name)

    def root(self, name: str) -> str:
        while self._parent[name] != name:
            name = self._parent[name]
        return name

    def join(self, first: str, second: str) -> None:
        self.add(first)
        self.add(second)
        self._parent[self.root(second)] = self.root(first)

    def sets(self, order: list[str]) -> list[tuple[str, ...]]:
        members_of: dict[str, list[str]] = {}
        for name in order:
            members_of.setdefault(self.root(name), []).append(name)
        return [tuple(members) for members in members_of.values()]
