"""Draw a sweep: the engine of every workspace, and how the engines compare with each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from trtforge import present
from trtforge.reporting import svg
from trtforge.reporting.plots import Point, scatter
from trtforge.sweeping.rows import Row, Swept, mib

KINDS = {"fp32": "float", "fp16": "half", "int8": "int8", "fp8": "fp8"}
# White stands out from cells a shade darker than the reports' colours.
RULES = """
.cell text { fill: #ffffff } .cell.float rect { fill: #b3661a } .cell.half rect { fill: #6f62d6 }
.cell.int8 rect { fill: #24805a } .cell.fp8 rect { fill: #127a87 }
.none text { fill: var(--mark) } .none rect { fill: var(--panel); stroke: var(--line) }
.front rect, circle.front { stroke: var(--text); stroke-width: 2.5 }
"""
CELL, HIGH, TOP = 108, 40, 84  # pixels
PLOT = 300


def render(swept: Swept) -> str:
    """Return an SVG file: a grid of engines by workspace, and below it the engines as points.

    The points need two figures of every engine; without them there is only the grid.
    """
    workspaces = sorted(
        {row.cell.workspace for row in swept.rows}, key=lambda size: size or float("inf")
    )
    kinds = list(dict.fromkeys(_kind(row) for row in swept.rows))
    left = 28 + svg.LETTER * max(map(len, kinds))
    width = max(left + CELL * len(workspaces) + 16, 640)
    low = TOP + HIGH * len(kinds) + 24
    points = _scatter(swept, int(width) - 24)
    root = svg.figure(
        f"sweep of {swept.model}", width, low + (PLOT + 8 if points is not None else 0)
    )
    svg.add_heading(
        root,
        f"{swept.model}: {swept.backend}, {swept.device}",
        ["engine + activations, which hold the scratch memory; an outline marks the front"],
    )
    svg.text(root, left - 12, TOP - 10, "workspace", "end", kind="soft")
    for column, workspace in enumerate(workspaces):
        svg.text(root, left + CELL * (column + 0.5), TOP - 10, mib(workspace), "middle")
    for number, kind in enumerate(kinds):
        svg.text(root, left - 12, TOP + HIGH * number + 24, kind, "end")
    for row in swept.rows:
        _cell(
            root,
            row,
            left + CELL * workspaces.index(row.cell.workspace),
            TOP + HIGH * kinds.index(_kind(row)),
        )
    if points is not None:
        svg.place(root, points, 12, low)
    return svg.document(root, RULES)


def _kind(row: Row) -> str:
    """Return the line of the grid that a row belongs to."""
    level = f", level {row.cell.opt_level}" if row.cell.opt_level is not None else ""
    return f"{row.cell.precision.upper()}, batch {row.cell.batch}{level}"


def _style(row: Row) -> str:
    """Return the names of the style of a row, for its colour and outline."""
    return f"{KINDS[row.cell.precision]}{' front' if row.front else ''}"


def _cell(root: ET.Element, row: Row, x: float, y: float) -> None:
    """Draw the engine of one row."""
    kind = "none" if row.why_not else f"cell {_style(row)}"
    group = svg.add(root, "g", kind=kind)
    svg.add(group, "title").text = row.why_not or (
        f"#{row.number}: engine {present.size(row.engine_bytes or 0)}, activations "
        f"{present.size(row.activation_bytes or 0)}, scratch {present.size(row.scratch_bytes or 0)}, "
        f"built in {row.build_seconds:.1f} s{f', the bytes of #{row.same_as}' if row.same_as else ''}"
    )
    svg.add(group, "rect", x=x + 2, y=y + 2, width=CELL - 4, height=HIGH - 4, rx=4)
    middle = x + CELL / 2
    if row.why_not:
        svg.text(group, middle, y + HIGH / 2 + 4, "✕ not built", "middle")
        return
    svg.text(group, middle, y + 18, present.size(row.memory), "middle")
    more = (
        f"{row.latency_ms:.2f} ms"
        if row.latency_ms is not None
        else f"scratch {present.size(row.scratch_bytes or 0)}"
    )
    svg.text(
        group, middle, y + 32, f"= #{row.same_as}" if row.same_as else more, "middle", font_size=10
    )


@dataclass(frozen=True)
class _Axis:
    """A figure of the engines: what it is called, and how it is read from a row."""

    label: str
    value: Callable[[Row], float]


LATENCY = _Axis("latency, ms", lambda row: row.latency_ms or 0.0)
THROUGHPUT = _Axis("images a second", lambda row: row.images_per_second or 0.0)
MEMORY = _Axis("memory, MB", lambda row: row.memory / 1e6)


def _axes(swept: Swept, rows: Sequence[Row]) -> tuple[_Axis, _Axis] | None:
    """Return the two figures that tell most about the engines; None if only one is known."""
    timed = bool(rows) and rows[0].latency_ms is not None
    accuracy = _Axis(swept.metric, lambda row: row.accuracy or 0.0)
    if timed and swept.metric:
        return LATENCY, accuracy
    if timed:
        return LATENCY, THROUGHPUT
    return (MEMORY, accuracy) if swept.metric else None


def _scatter(swept: Swept, width: int) -> ET.Element | None:
    """Draw the engines as points; None if there are too few of them or of their figures."""
    rows = [row for row in swept.rows if not row.why_not and not row.same_as]
    axes = _axes(swept, rows)
    if axes is None or len(rows) < 2:
        return None
    x, y = axes
    points = [
        Point(
            x.value(row),
            y.value(row),
            _style(row),
            f"#{row.number}: {_kind(row)}, workspace {mib(row.cell.workspace)}",
            f"#{row.number}" if row.front else "",
        )
        for row in rows
    ]
    kinds = dict.fromkeys(row.cell.precision for row in rows)
    return scatter(
        f"{y.label} against {x.label}",
        points,
        x.label,
        y.label,
        width=width,
        height=PLOT,
        key=[(KINDS[kind], kind.upper()) for kind in kinds],
    )
