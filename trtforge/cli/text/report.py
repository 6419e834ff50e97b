"""Show a report in a few lines, for a terminal."""

from __future__ import annotations

from pathlib import Path

from trtforge import present
from trtforge.reporting.model import LayerReport
from trtforge.reporting.svg import shorten


def text(report: LayerReport, title: str, out: Path | None) -> str:
    """Return the summary of one engine.

    Args:
        title: the first line.
        out: the folder with the whole report, if it was written.
    """
    working = [layer for layer in report.layers if layer.role != "sync"]
    lines = [shorten(title, 200), f"{len(working)} layers"]
    if report.nodes:
        lines[1] = f"{len(report.nodes)} ONNX nodes -> {lines[1]}: {report.places}"
    lines += ["", _precisions(report), ""]
    if report.memory:
        figures = ", ".join(f"{label} {present.size(count)}" for label, count in report.memory)
        lines += [f"memory: {figures}", ""]
    for remark in report.findings:
        lines.append(f"- {remark.title}")
        if remark.act:
            lines.append(f"    {remark.act}")
    if out:
        lines.append(f"\n{out}/: layers.json, report.md, report.html")
    return "\n".join(lines)


def _precisions(report: LayerReport) -> str:
    """Return the table of layers, MACs, bytes and time by precision."""
    macs, moved = report.by_precision("macs"), report.by_precision("bytes")
    times = report.by_precision("time_ms")
    total = sum(macs.values()) or 1
    header = ["precision", "layers", "MACs", "bytes moved", *(["time"] if times else [])]
    rows: list[list[str]] = []
    for name, count in report.layers_by_precision().items():
        if name == "none":
            continue
        share = f"{100 * macs.get(name, 0) / total:.1f} %"
        row = [name, str(count), share, present.size(moved.get(name, 0))]
        if times:
            row.append(f"{times.get(name, 0):.3f} ms")
        rows.append(row)
    return present.table(rows, header)
