"""One report in a few lines, for a terminal."""

from __future__ import annotations

from pathlib import Path

from trtforge import present
from trtforge.reporting.model import LayerReport
from trtforge.reporting.svg import shorten


def text(report: LayerReport, title: str, out: Path | None) -> str:
    """One engine in a few lines."""
    working = [layer for layer in report.layers if layer.role != "sync"]
    lines = [shorten(title, 200), f"{len(working)} layers"]
    if report.nodes:
        lines[1] = f"{len(report.nodes)} ONNX nodes -> {lines[1]}: {report.places}"
    macs, moved, times = (report.by_precision(figure) for figure in ("macs", "bytes", "time_ms"))
    total = sum(macs.values()) or 1
    rows = [
        [
            name,
            str(count),
            f"{100 * macs.get(name, 0) / total:.1f} %",
            present.size(moved.get(name, 0)),
            *([f"{times.get(name, 0):.3f} ms"] if times else []),
        ]
        for name, count in report.layers_by_precision().items()
        if name != "none"
    ]
    lines += [
        "",
        present.table(
            rows, ["precision", "layers", "MACs", "bytes moved", *(["time"] if times else [])]
        ),
        "",
    ]
    if report.memory:
        lines += [
            f"memory: {', '.join(f'{label} {present.size(count)}' for label, count in report.memory)}",
            "",
        ]
    for finding in report.findings:
        lines.append(f"- {finding.title}")
        lines += [f"    {finding.act}"] if finding.act else []
    return "\n".join([*lines, *([f"\n{out}/: layers.json, report.md, report.html"] if out else [])])
