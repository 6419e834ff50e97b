"""A sweep as one SVG file: which workspace builds what, and how the engines stand to each other."""

from __future__ import annotations

from collections.abc import Callable
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
    """A grid of engines against workspaces; and, where two figures of them are known, the engines
    as points.
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
    level = f", level {row.cell.opt_level}" if row.cell.opt_level is not None else ""
    return f"{row.cell.precision.upper()}, batch {row.cell.batch}{level}"


def _cell(root: ET.Element, row: Row, x: float, y: float) -> None:
    kind = (
        "none"
        if row.why_not
        else f"cell {KINDS[row.cell.precision]}{' front' if row.front else ''}"
    )
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


def _points(
    swept: Swept,
) -> tuple[list[Row], str, Callable[[Row], float], str, Callable[[Row], float]] | None:
    """The engines, and the two figures that say most of what is known."""
    rows = [row for row in swept.rows if not row.why_not and not row.same_as]
    timed, judged = bool(rows) and rows[0].latency_ms is not None, bool(swept.metric)
    if len(rows) < 2 or not (timed or judged):
        return None
    if timed and judged:
        return (
            rows,
            "latency, ms",
            lambda row: row.latency_ms or 0.0,
            swept.metric,
            lambda row: row.accuracy or 0.0,
        )
    if timed:
        return (
            rows,
            "latency, ms",
            lambda row: row.latency_ms or 0.0,
            "images a second",
            lambda row: row.images_per_second or 0.0,
        )
    return (
        rows,
        "memory, MB",
        lambda row: row.memory / 1e6,
        swept.metric,
        lambda row: row.accuracy or 0.0,
    )


def _scatter(swept: Swept, width: int) -> ET.Element | None:
    """The engines by those two figures."""
    found = _points(swept)
    if found is None:
        return None
    rows, x_label, x_of, y_label, y_of = found
    points = [
        Point(
            x_of(row),
            y_of(row),
            f"{KINDS[row.cell.precision]}{' front' if row.front else ''}",
            f"#{row.number}: {_kind(row)}, workspace {mib(row.cell.workspace)}",
            f"#{row.number}" if row.front else "",
        )
        for row in rows
    ]
    kinds = dict.fromkeys(row.cell.precision for row in rows)
    return scatter(
        f"{y_label} against {x_label}",
        points,
        x_label,
        y_label,
        width=width,
        height=PLOT,
        key=[(KINDS[kind], kind.upper()) for kind in kinds],
    )
