"""Two engines side by side: which layers came, went or changed, and which ONNX nodes are fused
otherwise.

Names of layers say little across builds, so layers are paired by the ONNX nodes in them; Q/DQ and
casts, which only one of two precisions has, do not count. Layers without nodes are paired by name
and shapes.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from trtforge import present
from trtforge.errors import ForgeError, GateError
from trtforge.reporting.model import Layer, LayerReport, labels
from trtforge.reporting.svg import shorten

TYPING = {"QuantizeLinear", "DequantizeLinear", "Cast"}
REFORMATS = ("convert", "copy")
NOISE = 0.02  # share by which a layer's time may differ and still count as unchanged
SHOWN = 12
_NUMBER = re.compile(r"(_U\d+)?_myl\d+_\d+$")  # what Myelin puts behind names


@dataclass(frozen=True)
class Change:
    """A layer in both engines, by what it is for; fields are (before, after) and equal where
    nothing changed.
    """

    layer: str
    precision: tuple[str, str]
    role: tuple[str, str]
    tactic: tuple[str, str]
    time_ms: tuple[float | None, float | None]

    @property
    def any(self) -> bool:
        slower, faster = self.time_ms
        timed = slower is not None and faster is not None and abs(faster - slower) > NOISE * slower
        return (
            timed
            or self.precision[0] != self.precision[1]
            or self.role[0] != self.role[1]
            or self.tactic[0] != self.tactic[1]
        )


@dataclass(frozen=True)
class Diff:
    """What differs from the first engine to the second.

    Attributes:
        appeared, vanished: layers that only one has, by what they are for.
        changed: layers that both have.
        fused, unfused: ONNX node -> nodes that share its layers now, and that no longer do; only
            nodes of both graphs.
        moved: ONNX node -> (place before, place after), such as layer and folded.
        reformats: layers of the second engine that convert or copy, and have no counterpart that
            does so in the first.
        time_ms: of all layers, where known.
        layers: numbers of layers, without those that only wait.
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
        return not (
            self.appeared
            or self.vanished
            or self.changed
            or self.fused
            or self.unfused
            or self.moved
        )

    def document(self) -> dict[str, Any]:
        return {**asdict(self), "empty": self.empty}


def compare(one: LayerReport, other: LayerReport) -> Diff:
    """Compare two engines."""
    pairs = _pairs(one, other)
    names = labels(one), labels(other)
    left = [index for index, layer in enumerate(one.layers) if layer.role != "sync"]
    right = [index for index, layer in enumerate(other.layers) if layer.role != "sync"]
    paired = {after: before for before, after in pairs.items()}
    changes = [
        _change(names[1][after], one.layers[before], other.layers[after])
        for before, after in sorted(pairs.items())
    ]
    fused, unfused = _fusions(one, other)
    places = {node.name: node.place for node in one.nodes}
    return Diff(
        appeared=[names[1][index] for index in right if index not in paired],
        vanished=[names[0][index] for index in left if index not in pairs],
        changed=[change for change in changes if change.any],
        fused=fused,
        unfused=unfused,
        moved={
            node.name: (places[node.name], node.place)
            for node in other.nodes
            if places.get(node.name, node.place) != node.place
        },
        reformats=[
            names[1][index]
            for index in right
            if other.layers[index].role in REFORMATS
            and not (index in paired and one.layers[paired[index]].role in REFORMATS)
        ],
        time_ms=(one.time_ms, other.time_ms),
        layers=(len(left), len(right)),
    )


def check_limits(found: Diff, max_slower: float | None, no_new_reformat: bool) -> None:
    """Hold the second engine to limits.

    Args:
        max_slower: percent that the sum of all layers may take longer.

    Raises:
        GateError: a limit is not met.
        ForgeError: there are no times to compare.
    """
    before, after = found.time_ms
    if max_slower is not None:
        if before is None or after is None:
            raise ForgeError(
                "--max-slower: one of the engines has no times",
                "add them with `trtforge report --profile FILE -o DIR`, and compare those",
            )
        if after > before * (1 + max_slower / 100):
            raise GateError(
                f"--max-slower {max_slower:g} %: {before:.3f} ms became {after:.3f} ms "
                f"({100 * (after / before - 1) if before else 100:+.1f} %)"
            )
    if no_new_reformat and found.reformats:
        raise GateError(
            f"--no-new-reformat: {len(found.reformats)} layers convert or copy that did not: "
            f"{', '.join(shorten(name, 80) for name in found.reformats[:SHOWN])}"
        )


def summarize(found: Diff) -> str:
    """What differs, for people; one line if nothing does."""
    before, after = found.time_ms
    times = f", {before:.3f} -> {after:.3f} ms" if before is not None and after is not None else ""
    lines = [f"{found.layers[0]} -> {found.layers[1]} layers{times}"]
    if found.empty:
        return f"{lines[0]}: no difference"
    for title, names in (("appeared", found.appeared), ("vanished", found.vanished)):
        lines += _listed(f"{title}: {len(names)} layers", [shorten(name, 100) for name in names])
    rows = [
        [shorten(change.layer, 60), _arrow(*change.precision), _arrow(*change.role), _times(change)]
        for change in found.changed
    ]
    kernels = sum(change.tactic[0] != change.tactic[1] for change in found.changed)
    if rows:
        lines.append(f"\nchanged: {len(rows)} layers, {kernels} of them another kernel")
        lines.append(present.table(rows[:SHOWN], ["layer", "precision", "role", "time"]))
        lines += [f"... and {len(rows) - SHOWN} more"] if len(rows) > SHOWN else []
    for title, nodes in (("fused anew", found.fused), ("no longer fused", found.unfused)):
        told = [
            f"{shorten(name, 60)} with {', '.join(shorten(each, 50) for each in more[:3])}"
            for name, more in nodes.items()
        ]
        lines += _listed(f"{title}: {len(nodes)} nodes", told)
    lines += _listed(
        f"nodes in another place: {len(found.moved)}",
        [f"{shorten(name, 80)}: {old} -> {new}" for name, (old, new) in found.moved.items()],
    )
    return "\n".join(lines)


def _pairs(one: LayerReport, other: LayerReport) -> dict[int, int]:
    """Index of a layer in the first -> of its counterpart in the second."""
    typing = {node.name for report in (one, other) for node in report.nodes if node.op in TYPING}
    cores = [
        [frozenset(layer.members) - typing for layer in report.layers] for report in (one, other)
    ]
    pairs: dict[int, int] = {}
    free = [
        {index for index, layer in enumerate(report.layers) if layer.role != "sync"}
        for report in (one, other)
    ]

    def pair(before: int, after: int) -> None:
        pairs[before] = after
        free[0].discard(before)
        free[1].discard(after)

    def by(key: Any) -> None:
        waiting = defaultdict(list)
        for after in sorted(free[1]):
            waiting[key(other.layers[after], cores[1][after])].append(after)
        for before in sorted(free[0]):
            same = waiting.get(key(one.layers[before], cores[0][before]))
            if same:
                pair(before, same.pop(0))

    by(lambda layer, core: (layer.name, layer.type, core))
    by(lambda layer, core: (core, layer.macs > 0) if core else object())
    holders = defaultdict(list)
    for after in sorted(free[1]):
        for name in cores[1][after]:
            holders[name].append(after)
    likeness = []
    for before in sorted(free[0]):
        for after in dict.fromkeys(index for name in cores[0][before] for index in holders[name]):
            shared = len(cores[0][before] & cores[1][after]) / len(
                cores[0][before] | cores[1][after]
            )
            same = (one.layers[before].macs > 0) == (other.layers[after].macs > 0)
            likeness.append((same, shared, -before, -after))
    for _, _, before, after in sorted(likeness, reverse=True):
        if -before in free[0] and -after in free[1]:
            pair(-before, -after)
    by(
        lambda layer, core: (
            object()
            if core
            else (
                _NUMBER.sub("", layer.name),
                layer.type,
                tuple(tuple(tensor.dims) for tensor in layer.outputs),
            )
        )
    )
    return pairs


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
    shared = {node.name for node in one.nodes} & {node.name for node in other.nodes}
    if not shared:  # no ONNX graph: the members that the layers name
        shared = _members(one) & _members(other)
    partners = [_partners(report.layers, shared) for report in (one, other)]
    fused, unfused = {}, {}
    for name in sorted(shared):
        before, after = (found.get(name, set()) for found in partners)
        if after - before:
            fused[name] = sorted(after - before)
        if before - after:
            unfused[name] = sorted(before - after)
    return fused, unfused


def _members(report: LayerReport) -> set[str]:
    return {name for layer in report.layers for name in layer.members}


def _partners(layers: Sequence[Layer], names: set[str]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for layer in layers:
        members = names.intersection(layer.members)
        for name in members:
            found.setdefault(name, set()).update(members - {name})
    return found


def _listed(title: str, items: list[str]) -> list[str]:
    more = [f"  ... and {len(items) - SHOWN} more"] if len(items) > SHOWN else []
    return [f"\n{title}", *(f"  {item}" for item in items[:SHOWN]), *more] if items else []


def _arrow(before: str, after: str) -> str:
    return before if before == after else f"{before or 'none'} -> {after or 'none'}"


def _times(change: Change) -> str:
    before, after = change.time_ms
    if before is None or after is None:
        return ""
    return (
        f"{before:.3f} -> {after:.3f} ms ({100 * (after / before - 1):+.1f} %)"
        if before
        else f"{before:.3f} -> {after:.3f} ms"
    )
