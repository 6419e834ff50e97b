"""One report as Markdown, for a pull request."""

from __future__ import annotations

from trtforge import present
from trtforge.reporting.cost import weight_of
from trtforge.reporting.model import LayerReport, labels

TOP = 10
LISTED = 50  # nodes that are not accounted for


def markdown(report: LayerReport, title: str) -> str:
    """Summary, findings, and the layers that matter most; names stand as code, with nothing in them
    taken as markup.
    """
    working = [layer for layer in report.layers if layer.role != "sync"]
    lines = [f"### {code(title)}", ""]
    if report.nodes:
        lines.append(
            f"{len(report.nodes)} ONNX nodes became {len(working)} layers: {report.places}."
        )
    else:
        lines.append(f"{len(working)} layers.")
    if report.memory:
        lines += [
            "",
            f"Memory: {', '.join(f'{label} {present.size(count)}' for label, count in report.memory)}.",
        ]
    lines += ["", "| precision | layers | MACs | bytes | time |", "|---|---|---|---|---|"]
    macs, moved, times = (report.by_precision(figure) for figure in ("macs", "bytes", "time_ms"))
    for name, count in report.layers_by_precision().items():
        if name in moved or name != "none":
            time = f"{times[name]:.3f} ms" if name in times else ""
            lines.append(
                f"| {name} | {count} | {share(macs, name)} | {present.size(moved.get(name, 0))} | {time} |"
            )
    if report.findings:
        lines += ["", "**Findings**", ""]
        lines += [
            f"- **{plain(each.title)}.** {plain(each.why)}{f' What to do: {code(each.act)}' if each.act else ''}"
            for each in report.findings
        ]
    lines += ["", f"**The {min(TOP, len(working))} layers that matter most**", ""]
    lines += ["| layer | precision | MACs | bytes | time | at least |", "|---|---|---|---|---|---|"]
    names = labels(report)
    ranked = sorted(
        range(len(report.layers)), key=lambda number: weight_of(report.layers[number]), reverse=True
    )
    for number in ranked[:TOP]:
        layer = report.layers[number]
        cells = [
            code(names[number]),
            layer.precision,
            f"{layer.macs / 1e6:.1f} M" if layer.macs else "",
            present.size(layer.bytes),
            "" if layer.time_ms is None else f"{layer.time_ms:.3f} ms",
            "" if layer.floor_ms is None else f"{layer.floor_ms:.4f} ms",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lost = [node for node in report.nodes if node.place == "unaccounted"]
    if lost:
        lines += [
            "",
            "**Not accounted for**",
            "",
            *(f"- {code(node.name)} ({plain(node.op)})" for node in lost[:LISTED]),
        ]
        lines += [f"- and {len(lost) - LISTED} more"] if len(lost) > LISTED else []
    return "\n".join(lines) + "\n"


def code(text: str) -> str:
    """Untrusted text as a code span that fits into a table cell."""
    flat = " ".join(text.split()).replace("`", "'").replace("|", "\\|")
    return f"`{flat if len(flat) <= 160 else flat[:120] + '...' + flat[-30:]}`"


def plain(text: str) -> str:
    """Untrusted text with Markdown's and HTML's punctuation escaped."""
    return "".join(
        f"\\{char}" if char in "\\`*_[]<>|#&!~$@" else char for char in " ".join(text.split())
    )


def share(values: dict[str, float], name: str) -> str:
    """A precision's share of a figure, in percent."""
    total = sum(values.values())
    return f"{100 * values.get(name, 0) / total:.1f} %" if total else ""
