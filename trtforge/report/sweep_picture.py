"""A sweep as one SVG file: which workspace builds what, and how the engines stand to each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from xml.etree import ElementTree as ET

from trtforge import present
from trtforge.sweep import Row, Swept, mib

# The colours of the reports, by datatype; a file of its own brings them with it.
KINDS = {"fp32": "float", "fp16": "half", "int8": "int8", "fp8": "fp8"}
STYLE = """
svg { background: #fcfcfd; font: 12px system-ui, sans-serif }
text { fill: #1c2230 } .soft { fill: #5b6476 } .cell text { fill: #ffffff } .none text { fill: #b3261e }
.none rect { fill: #f2f4f8; stroke: #d9dee7 } .line { stroke: #d9dee7 }
.front rect, circle.front { stroke: #1c2230; stroke-width: 2.5 }
.float { fill: #b3661a } .half { fill: #6f62d6 } .int8 { fill: #24805a } .fp8 { fill: #127a87 }
@media (prefers-color-scheme: dark) {
  svg { background: #14171d } text { fill: #e4e8f0 } .soft { fill: #9aa4b6 } .none text { fill: #ff8a80 }
  .none rect { fill: #1c2129; stroke: #323946 } .line { stroke: #323946 } .front rect, circle.front { stroke: #e4e8f0 }
}
"""
CELL, HIGH, LEFT, TOP = 108, 40, 150, 84  # pixels
PLOT = 260
LETTER = 6.4


def render(swept: Swept) -> str:
    """A grid of engines against workspaces; and, where two figures of them are known, the engines as points."""
    workspaces = sorted({row.cell.workspace for row in swept.rows}, key=lambda size: size or float("inf"))
    kinds = list(dict.fromkeys(_kind(row) for row in swept.rows))
    points = _points(swept)
    width = max(LEFT + CELL * len(workspaces) + 16, 640)
    low = TOP + HIGH * len(kinds)
    height = low + 44 + (PLOT + 40 if points else 0)
    root = ET.Element("svg", {
        "xmlns": "http://www.w3.org/2000/svg", "viewBox": f"0 0 {width} {height}", "width": str(width),
        "height": str(height), "role": "img", "aria-label": f"sweep of {swept.model}",
    })  # fmt: skip
    ET.SubElement(root, "style").text = STYLE
    _text(root, 16, 26, f"{swept.model}: {swept.backend}, {swept.device}", size=15)
    _text(root, 16, 46, "engine + activations, which hold the scratch memory; an outline marks the front", kind="soft")
    _text(root, LEFT - 12, TOP - 10, "workspace", "end", kind="soft")
    for column, workspace in enumerate(workspaces):
        _text(root, LEFT + CELL * (column + 0.5), TOP - 10, mib(workspace), "middle")
    for number, kind in enumerate(kinds):
        _text(root, LEFT - 12, TOP + HIGH * number + 24, kind, "end")
    for row in swept.rows:
        _cell(root, row, LEFT + CELL * workspaces.index(row.cell.workspace), TOP + HIGH * kinds.index(_kind(row)))
    if points:
        _scatter(root, *points, top=low + 30, width=width)
    return ET.tostring(root, encoding="unicode")


def _kind(row: Row) -> str:
    level = f", level {row.cell.opt_level}" if row.cell.opt_level is not None else ""
    return f"{row.cell.precision.upper()}, batch {row.cell.batch}{level}"


def _cell(root: ET.Element, row: Row, x: float, y: float) -> None:
    kind = "none" if row.why_not else f"cell {'front' if row.front else ''}"
    group = ET.SubElement(root, "g", {"class": kind.strip()})
    ET.SubElement(group, "title").text = row.why_not or (
        f"#{row.number}: engine {present.size(row.engine_bytes or 0)}, activations "
        f"{present.size(row.activation_bytes or 0)}, scratch {present.size(row.scratch_bytes or 0)}, "
        f"built in {row.build_seconds:.1f} s{f', the bytes of #{row.same_as}' if row.same_as else ''}")  # fmt: skip
    colour = "" if row.why_not else KINDS[row.cell.precision]
    ET.SubElement(group, "rect", {"x": f"{x + 2:.1f}", "y": f"{y + 2:.1f}", "width": str(CELL - 4), "rx": "4",
                                  "height": str(HIGH - 4), "class": colour})  # fmt: skip
    middle = x + CELL / 2
    if row.why_not:
        _text(group, middle, y + HIGH / 2 + 4, "✕ not built", "middle")
        return
    _text(group, middle, y + 18, present.size(row.memory), "middle")
    more = (
        f"{row.latency_ms:.2f} ms" if row.latency_ms is not None else f"scratch {present.size(row.scratch_bytes or 0)}"
    )
    _text(group, middle, y + 32, f"= #{row.same_as}" if row.same_as else more, "middle", size=10)


def _points(swept: Swept) -> tuple[list[Row], str, Callable[[Row], float], str, Callable[[Row], float]] | None:
    """The engines, and the two figures that say most of what is known."""
    rows = [row for row in swept.rows if not row.why_not and not row.same_as]
    timed, judged = bool(rows) and rows[0].latency_ms is not None, bool(swept.metric)
    if len(rows) < 2 or not (timed or judged):
        return None
    if timed and judged:
        return rows, "latency, ms", lambda row: row.latency_ms or 0.0, swept.metric, lambda row: row.accuracy or 0.0
    if timed:
        return (rows, "latency, ms", lambda row: row.latency_ms or 0.0,
                "images a second", lambda row: row.images_per_second or 0.0)  # fmt: skip
    return rows, "memory, MB", lambda row: row.memory / 1e6, swept.metric, lambda row: row.accuracy or 0.0


def _scatter(
    root: ET.Element, rows: Sequence[Row], x_label: str, x_of: Callable[[Row], float], y_label: str,
    y_of: Callable[[Row], float], *, top: float, width: float,
) -> None:  # fmt: skip
    low, left, right = top + PLOT - 20, 80.0, width - 30.0
    place_x = _scale([x_of(row) for row in rows], left, right)
    place_y = _scale([y_of(row) for row in rows], low, top)
    for value in _ends([x_of(row) for row in rows]):
        _line(root, place_x(value), low, place_x(value), top)
        _text(root, place_x(value), low + 16, f"{value:.4g}", "middle")
    for value in _ends([y_of(row) for row in rows]):
        _line(root, left, place_y(value), right, place_y(value))
        _text(root, left - 8, place_y(value) + 4, f"{value:.4g}", "end")
    _text(root, (left + right) / 2, low + 32, x_label, "middle", kind="soft")
    _text(root, left, top - 8, y_label, kind="soft")
    for row in rows:
        kind = f"{KINDS[row.cell.precision]}{' front' if row.front else ''}"
        dot = ET.SubElement(root, "circle", {"cx": f"{place_x(x_of(row)):.1f}", "cy": f"{place_y(y_of(row)):.1f}",
                                             "r": "5.5", "class": kind})  # fmt: skip
        ET.SubElement(dot, "title").text = f"#{row.number}: {_kind(row)}, workspace {mib(row.cell.workspace)}"
        if row.front:
            _text(root, place_x(x_of(row)) + 9, place_y(y_of(row)) - 6, f"#{row.number}", size=10)


def _ends(values: Sequence[float]) -> list[float]:
    return sorted({min(values), (min(values) + max(values)) / 2, max(values)})


def _scale(values: Sequence[float], low: float, high: float) -> Callable[[float], float]:
    least, most = min(values), max(values)
    margin = (most - least) * 0.08 or abs(most) * 0.1 or 1.0
    return lambda value: low + (high - low) * (value - least + margin) / (most - least + 2 * margin)


def _line(root: ET.Element, x1: float, y1: float, x2: float, y2: float) -> None:
    ET.SubElement(root, "line", {"x1": f"{x1:.1f}", "y1": f"{y1:.1f}", "x2": f"{x2:.1f}", "y2": f"{y2:.1f}",
                                 "class": "line"})  # fmt: skip


def _text(
    root: ET.Element, x: float, y: float, text: str, anchor: str = "start", *, kind: str = "", size: int = 12
) -> None:
    ET.SubElement(root, "text", {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor, "class": kind,
                                 "font-size": str(size)}).text = text  # fmt: skip
