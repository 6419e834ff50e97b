"""Show a report as Markdown, for a pull request."""

from __future__ import annotations

from trtforge import present
from trtforge.reporting.cost import weight_of
from trtforge.reporting.model import Layer, LayerReport, labels

TOP = 10  # layers in the table
LISTED = 50  # nodes that are not accounted for
LONGEST, START, END = 160, 120, 30  # letters of a name; a longer name keeps its start and end


def markdown(report: LayerReport, title: str) -> str:
    """Return summary, remarks, and the layers that matter most.

    Names come from the model, so they are written as code, and nothing in them acts as markup.
    """
    working = [layer for layer in report.layers if layer.role != "sync"]
    lines = [f"### {code(title)}", ""]
    if report.nodes:
        nodes = len(report.nodes)
        lines.append(f"{nodes} ONNX nodes became {len(working)} layers: {report.places}.")
    else:
        lines.append(f"{len(working)} layers.")
    if report.memory:
        figures = ", ".join(f"{label} {present.size(count)}" for label, count in report.memory)
        lines += ["", f"Memory: {figures}."]
    lines += _precisions(report)
    if report.findings:
        lines += ["", "**Findings**", ""]
        for remark in report.findings:
            act = f" What to do: {code(remark.act)}" if remark.act else ""
            lines.append(f"- **{plain(remark.title)}.** {plain(remark.why)}{act}")
    lines += ["", f"**The {min(TOP, len(working))} layers that matter most**", ""]
    lines += _top_layers(report)
    lines += _unaccounted(report)
    return "\n".join(lines) + "\n"


def _precisions(report: LayerReport) -> list[str]:
    """Return the table of layers, MACs, bytes and time by precision."""
    lines = ["", "| precision | layers | MACs | bytes | time |", "|---|---|---|---|---|"]
    macs, moved = report.by_precision("macs"), report.by_precision("bytes")
    times = report.by_precision("time_ms")
    for name, count in report.layers_by_precision().items():
        if name in moved or name != "none":
            size = present.size(moved.get(name, 0))
            time = f"{times[name]:.3f} ms" if name in times else ""
            lines.append(f"| {name} | {count} | {share(macs, name)} | {size} | {time} |")
    return lines


def _top_layers(report: LayerReport) -> list[str]:
    lines = ["| layer | precision | MACs | bytes | time | at least |", "|---|---|---|---|---|---|"]
    names = labels(report)
    ranked = sorted(
        range(len(report.layers)), key=lambda number: weight_of(report.layers[number]), reverse=True
    )
    for number in ranked[:TOP]:
        lines.append(f"| {' | '.join(_cells(report.layers[number], names[number]))} |")
    return lines


def _cells(layer: Layer, name: str) -> list[str]:
    return [
        code(name),
        layer.precision,
        f"{layer.macs / 1e6:.1f} M" if layer.macs else "",
        present.size(layer.bytes),
        "" if layer.time_ms is None else f"{layer.time_ms:.3f} ms",
        "" if layer.floor_ms is None else f"{layer.floor_ms:.4f} ms",
    ]


def _unaccounted(report: LayerReport) -> list[str]:
    nodes = [node for node in report.nodes if node.place == "unaccounted"]
    if not nodes:
        return []
    lines = ["", "**Not accounted for**", ""]
    lines += [f"- {code(node.name)} ({plain(node.op)})" for node in nodes[:LISTED]]
    if len(nodes) > LISTED:
        lines.append(f"- and {len(nodes) - LISTED} more")
    return lines


def code(text: str) -> str:
    """Return untrusted text as a code span that fits into a table cell."""
    flat = " ".join(text.split()).replace("`", "'").replace("|", "\\|")
    return f"`{flat if len(flat) <= LONGEST else flat[:START] + '...' + flat[-END:]}`"


def plain(text: str) -> str:
    """Return untrusted text with the punctuation of Markdown and HTML escaped."""
    flat = " ".join(text.split())
    return "".join(f"\\{char}" if char in "\\`*_[]<>|#&!~$@" else char for char in flat)


def share(values: dict[str, float], name: str) -> str:
    """Return a precision's share of a figure, in percent; empty if there is no figure."""
    total = sum(values.values())
    return f"{100 * values.get(name, 0) / total:.1f} %" if total else ""
