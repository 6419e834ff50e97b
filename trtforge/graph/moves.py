"""Operators that only move values: what they read and what they write needs one scale."""

from __future__ import annotations

from collections.abc import Iterable

import onnx_graphsurgeon as gs

# Operators whose outputs hold values of their inputs, and which of the inputs those are.
MOVES_ALL = {"Concat"}
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
Group = tuple[tuple[str, ...], tuple[str, ...]]


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

    The sources are the members that hold more than other members' values: every value of the group
    passes through one of them.
    """
    tensors = graph.tensors()
    wanted = set(names)
    shared = _Shared()
    for name in wanted:
        shared.add(name)
        for moved, _, _ in moved_inputs(tensors[name]):
            if moved.name in wanted:
                shared.join(name, moved.name)

    def is_source(name: str) -> bool:
        moved = moved_inputs(tensors[name])
        return not moved or any(source.name not in wanted for source, _, _ in moved)

    return tuple(
        (members, tuple(name for name in members if is_source(name)))
        for members in shared.sets(order=[name for name in tensors if name in wanted])
    )


class _Shared:
    """Sets of names (union-find)."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def add(self, name: str) -> None:
        self._parent.setdefault(name, name)

    def root(self, name: str) -> str:
        while self._parent[name] != name:
            name = self._parent[name]
        return name

    def join(self, one: str, other: str) -> None:
        self.add(one)
        self.add(other)
        self._parent[self.root(other)] = self.root(one)

    def sets(self, order: list[str]) -> list[tuple[str, ...]]:
        found: dict[str, list[str]] = {}
        for name in order:
            found.setdefault(self.root(name), []).append(name)
        return [tuple(members) for members in found.values()]
