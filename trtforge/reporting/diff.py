"""Compare two engines: layers that came, went or changed, and ONNX nodes that are fused otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from typing_extensions import TypedDict

from trtforge import present
from trtforge.errors import ForgeError, GateError
from trtforge.reporting.layer_pairs import pair_layers
from trtforge.reporting.model import Layer, LayerReport, labels
from trtforge.reporting.svg import shorten

REFORMATS = ("convert", "copy")
NOISE = 0.02  # share by which a layer's time may differ and still count as unchanged
SHOWN = 12  # rows of a list


class ChangeJson(TypedDict):
    """A ``Change`` in a JSON document."""

    layer: str
    precision: tuple[str, str]
    role: tuple[str, str]
    tactic: tuple[str, str]
    time_ms: tuple[float | None, float | None]


class DiffJson(TypedDict):
    """The document that ``trtforge diff --json`` prints: a ``Diff``, and whether it is empty."""

    appeared: list[str]
    vanished: list[str]
    changed: list[ChangeJson]
    fused: dict[str, list[str]]
    unfused: dict[str, list[str]]
    moved: dict[str, tuple[str, str]]
    reformats: list[str]
    time_ms: tuple[float | None, float | None]
    layers: tuple[int, int]
    empty: bool


@dataclass(frozen=True)
class Change:
    """A layer that both engines have; every field but its name is a pair of (before, after)."""

    layer: str
    precision: tuple[str, str]
    role: tuple[str, str]
    tactic: tuple[str, str]
    time_ms: tuple[float | None, float | None]

    @property
    def any(self) -> bool:
        """True if anything changed by more than noise."""
        before, after = self.time_ms
        if before is not None and after is not None and abs(after - before) > NOISE * before:
            return True
        return any(old != new for old, new in (self.precision, self.role, self.tactic))

    def document(self) -> ChangeJson:
        """Return the change for JSON."""
        return {
            "layer": self.layer,
            "precision": self.precision,
            "role": self.role,
            "tactic": self.tactic,
            "time_ms": self.time_ms,
        }


@dataclass(frozen=True)
class Diff:
    """The differences from the first engine to the second.

    Attributes:
        appeared, vanished: names of the layers that only one engine has.
        changed: layers that both engines have.
        fused: for a node of both graphs, the nodes that share a layer with it only in the second
            engine.
        unfused: for a node of both graphs, the nodes that share a layer with it only in the first
            engine.
        moved: for a node, (place before, place after), such as layer and folded.
        reformats: layers of the second engine that convert or copy, without a counterpart in the
            first engine that does so.
        time_ms: time of all layers of each engine, where it is known.
        layers: number of layers of each engine, without those that only wait.
    """

    appeared: list[str]
    vanished: list[str]
    changed: list[Change]
    fused: dict[str, list[str]]
    unfused: dict[str, list[str]]
    moved: dict[str, tuple[str, str]]
    reformats: list[str]
    time_ms: tuple[float | None, float | None]
    layers: tuple[int, int]

    @property
    def empty(self) -> bool:
        """True if there is no difference."""
        lists = (self.appeared, self.vanished, self.changed, self.fused, self.unfused, self.moved)
        return not any(lists)

    def document(self) -> DiffJson:
        """Return the differences for JSON."""
        return {
            "appeared": self.appeared,
            "vanished": self.vanished,
            "changed": [change.document() for change in self.changed],
            "fused": self.fused,
            "unfused": self.unfused,
            "moved": self.moved,
            "reformats": self.reformats,
            "time_ms": self.time_ms,
            "layers": self.layers,
            "empty": self.empty,
        }


def compare(one: LayerReport, other: LayerReport) -> Diff:
    """Return the differences from one engine to another."""
    counterparts = pair_layers(one, other)
    counterpart_before = {after: before for before, after in counterparts.items()}
    names_before, names_after = labels(one), labels(other)
    layers_before, layers_after = _working(one.layers), _working(other.layers)
    changes = [
        _change(names_after[after], one.layers[before], other.layers[after])
        for before, after in sorted(counterparts.items())
    ]
    fused, unfused = _fusions(one, other)

    def is_new_reformat(index: int) -> bool:
        if other.layers[index].role not in REFORMATS:
            return False
        before = counterpart_before.get(index)
        return before is None or one.layers[before].role not in REFORMATS

    return Diff(
        appeared=[names_after[index] for index in layers_after if index not in counterpart_before],
        vanished=[names_before[index] for index in layers_before if index not in counterparts],
        changed=[change for change in changes if change.any],
        fused=fused,
        unfused=unfused,
        moved=_moved(one, other),
        reformats=[names_after[index] for index in layers_after if is_new_reformat(index)],
        time_ms=(one.time_ms, other.time_ms),
        layers=(len(layers_before), len(layers_after)),
    )


def check_limits(diff: Diff, max_slower: float | None, no_new_reformat: bool) -> None:
    """Hold the second engine to limits.

    Args:
        max_slower: percentage by which the time of all layers may grow.
        no_new_reformat: refuse new layers that only convert or copy.

    Raises:
        GateError: a limit is not met.
        ForgeError: there are no times to compare.
    """
    before, after = diff.time_ms
    if max_slower is not None:
        if before is None or after is None:
            raise ForgeError(
                "--max-slower: one of the engines has no times",
                "add times with `trtforge report --profile FILE -o DIR`, and compare those reports",
            )
        if after > before * (1 + max_slower / 100):
            percent = 100 * (after / before - 1) if before else 100
            raise GateError(
                f"--max-slower {max_slower:g} %: {before:.3f} ms became {after:.3f} ms "
                f"({percent:+.1f} %)"
            )
    if no_new_reformat and diff.reformats:
        names = ", ".join(shorten(name, 80) for name in diff.reformats[:SHOWN])
        raise GateError(
            f"--no-new-reformat: {len(diff.reformats)} new layers convert or copy: {names}"
        )


def summarize(diff: Diff) -> str:
    """Return the differences for people; one line if there are none."""
    before, after = diff.time_ms
    times = f", {before:.3f} -> {after:.3f} ms" if before is not None and after is not None else ""
    lines = [f"{diff.layers[0]} -> {diff.layers[1]} layers{times}"]
    if diff.empty:
        return f"{lines[0]}: no difference"
    for title, names in (("appeared", diff.appeared), ("vanished", diff.vanished)):
        lines += _list(f"{title}: {len(names)} layers", [shorten(name, 100) for name in names])
    lines += _changes(diff.changed)
    lines += _list(f"fused anew: {len(diff.fused)} nodes", _partner_rows(diff.fused))
    lines += _list(f"no longer fused: {len(diff.unfused)} nodes", _partner_rows(diff.unfused))
    moved = [f"{shorten(name, 80)}: {old} -> {new}" for name, (old, new) in diff.moved.items()]
    lines += _list(f"nodes in another place: {len(diff.moved)}", moved)
    return "\n".join(lines)


def _working(layers: Sequence[Layer]) -> list[int]:
    """Return the indices of the layers that do more than wait."""
    return [index for index, layer in enumerate(layers) if layer.role != "sync"]


def _moved(one: LayerReport, other: LayerReport) -> dict[str, tuple[str, str]]:
    place_before = {node.name: node.place for node in one.nodes}
    return {
        node.name: (place_before[node.name], node.place)
        for node in other.nodes
        if place_before.get(node.name, node.place) != node.place
    }


def _change(name: str, before: Layer, after: Layer) -> Change:
    return Change(
        name,
        (before.precision, after.precision),
        (before.role, after.role),
        (before.tactic, after.tactic),
        (before.time_ms, after.time_ms),
    )


def _fusions(
    one: LayerReport, other: LayerReport
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return, for each node, its new partners in a layer, and the partners that it lost."""
    shared = {node.name for node in one.nodes} & {node.name for node in other.nodes}
    if not shared:  # without an ONNX graph, the layers' lists are all that is known
        shared = _members(one) & _members(other)
    before, after = (_partners(report.layers, shared) for report in (one, other))
    fused: dict[str, list[str]] = {}
    unfused: dict[str, list[str]] = {}
    for name in sorted(shared):
        old, new = before.get(name, set()), after.get(name, set())
        if new - old:
            fused[name] = sorted(new - old)
        if old - new:
            unfused[name] = sorted(old - new)
    return fused, unfused


def _members(report: LayerReport) -> set[str]:
    return {name for layer in report.layers for name in layer.members}


def _partners(layers: Sequence[Layer], names: set[str]) -> dict[str, set[str]]:
    """Return, for each node, the other nodes in its layers."""
    partners: dict[str, set[str]] = {}
    for layer in layers:
        members = names.intersection(layer.members)
        for name in members:
            partners.setdefault(name, set()).update(members - {name})
    return partners


def _changes(changes: Sequence[Change]) -> list[str]:
    """Return the table of changed layers."""
    if not changes:
        return []
    kernels = sum(change.tactic[0] != change.tactic[1] for change in changes)
    rows = [
        [shorten(change.layer, 60), _arrow(*change.precision), _arrow(*change.role), _times(change)]
        for change in changes[:SHOWN]
    ]
    lines = [f"\nchanged: {len(changes)} layers, {kernels} of them with another kernel"]
    lines.append(present.table(rows, ["layer", "precision", "role", "time"]))
    if len(changes) > SHOWN:
        lines.append(f"... and {len(changes) - SHOWN} more")
    return lines


def _partner_rows(partners: Mapping[str, Sequence[str]]) -> list[str]:
    rows: list[str] = []
    for name, others in partners.items():
        shown = ", ".join(shorten(other, 50) for other in others[:3])
        rows.append(f"{shorten(name, 60)} with {shown}")
    return rows


def _list(title: str, items: Sequence[str]) -> list[str]:
    """Return a title with the first items; nothing if there are no items."""
    if not items:
        return []
    lines = [f"\n{title}", *(f"  {item}" for item in items[:SHOWN])]
    if len(items) > SHOWN:
        lines.append(f"  ... and {len(items) - SHOWN} more")
    return lines


def _arrow(before: str, after: str) -> str:
    return before if before == after else f"{before or 'none'} -> {after or 'none'}"


def _times(change: Change) -> str:
    before, after = change.time_ms
    if before is None or after is None:
        return ""
    times = f"{before:.3f} -> {after:.3f} ms"
    return f"{times} ({100 * (after / before - 1):+.1f} %)" if before else times
