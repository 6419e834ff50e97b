"""One report as one self-contained HTML page, and as Markdown."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trtforge import present
from trtforge.devices import Device
from trtforge.reporting import plots, svg
from trtforge.reporting.cost import edges, weight_of
from trtforge.reporting.model import Layer, LayerReport, Node, labels

TOP = 10
NAMES = 300  # characters of a name that the page shows; layers.json has the whole
DRAWN = 400  # layers up to which the graph is drawn at once
HISTOGRAMS = 48  # tensors whose histograms are drawn: 1 kB each


@dataclass(frozen=True)
class TensorRange:
    """A calibrated tensor: counts of magnitudes in equal bins over [0, limit), and where INT8 ends."""

    name: str
    counts: Sequence[int]
    limit: float
    amax: float


@dataclass(frozen=True)
class Candidate:
    """An engine of a sweep or an evaluation; accuracy in 0..1, latency in milliseconds."""

    name: str
    latency_ms: float
    accuracy: float
    precision: str = ""


@dataclass(frozen=True)
class Context:
    """What lies beside the layers, where it exists.

    Attributes:
        title: of the page.
        device: that floors were computed for.
        ranges: of the calibration.
        sweep: engines to choose from.
        accuracy: what ``trtforge verify --json`` wrote.
    """

    title: str
    device: Device | None = None
    ranges: Sequence[TensorRange] = ()
    sweep: Sequence[Candidate] = ()
    accuracy: Mapping[str, Any] = field(default_factory=dict)


def html(report: LayerReport, context: Context) -> str:
    """A page with no outside reference. Every text from the model is escaped, and scripts run by
    their digest only.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "size": present.size,
        "cut": svg.shorten,
        "css": plots.css_class,
        "count": _count,
        "ms": _milliseconds,
    }
    style = "".join(map(svg.asset, ("colors.css", "plot.css", "page.css")))
    scripts = [svg.asset("vendor/dagre.min.js"), svg.asset("page.js")]
    page = environment.from_string(svg.asset("page.html")).render(
        report=report,
        context=context,
        style=style,
        scripts=scripts,
        digests=[*map(_digest, scripts)],
        licence=svg.asset("vendor/dagre.LICENSE").strip(),
        graph=_island(_graph(report)),
        names=labels(report),
        tiles=_tiles(report),
        rows=_bars(report),
        top=_top(report),
        rooflines=_roofline(report, context.device),
        fused=_fused(report),
        histograms=_histograms(context.ranges),
        pareto=_pareto(context.sweep),
        NAMES=NAMES,
        accuracy=_accuracy(context.accuracy),
    )
    return page.encode("utf-8", "replace").decode("utf-8")


def _tiles(report: LayerReport) -> list[tuple[str, str, str]]:
    """Figures for the head of the page: what, how much, and a word on it."""
    tiles = []
    working = [layer for layer in report.layers if layer.role != "sync"]
    if report.nodes:
        tiles.append(("ONNX nodes", str(len(report.nodes)), report.places))
    note = (
        f"and {len(report.layers) - len(working)} that only wait"
        if len(working) < len(report.layers)
        else ""
    )
    tiles.append(("engine layers", str(len(working)), note))
    macs = report.by_precision("macs")
    if macs:
        total = sum(macs.values())
        shares = ", ".join(f"{100 * value / total:.1f} % {name}" for name, value in macs.items())
        tiles.append(("multiply-accumulates", _count(int(total)), shares))
    moved = report.by_precision("bytes")
    tiles.append(("bytes moved", present.size(sum(moved.values())), f"batch {report.engine.batch}"))
    if report.time_ms is not None:
        tiles.append(("time of all layers", _milliseconds(report.time_ms), "measured"))
    floor = sum(layer.floor_ms or 0 for layer in report.layers)
    if floor:
        tiles.append(
            ("roofline", _milliseconds(floor), "least that the device allows, layer by layer")
        )
    tiles += [
        (label, present.size(count), "memory, by the builder") for label, count in report.memory
    ]
    return tiles


def _bars(report: LayerReport) -> list[tuple[str, str]]:
    """(title, SVG) of each figure by precision, and of time by the builder's layer type."""
    layers = {
        name: float(count) for name, count in report.layers_by_precision().items() if name != "none"
    }
    figures: list[tuple[str, dict[str, float], Callable[[float], str]]] = [
        ("Layers", layers, "{:.0f}".format),
        ("Multiply-accumulates", report.by_precision("macs"), _count),
        ("Bytes moved", report.by_precision("bytes"), present.size),
        ("Time", report.by_precision("time_ms"), _milliseconds),
    ]
    found = []
    for title, values, told in figures:
        rows = [
            (
                name,
                [plots.Part(value, plots.css_class(name), f"{name}: {told(value)}")],
                told(value),
            )
            for name, value in values.items()
        ]
        if rows:
            found.append(
                (
                    f"{title} by precision",
                    svg.inline(plots.bars(f"{title} by precision", rows, 480)),
                )
            )
    if report.time_ms:
        by_type: dict[str, float] = {}
        for layer in report.layers:
            by_type[layer.type or "?"] = by_type.get(layer.type or "?", 0.0) + (layer.time_ms or 0)
        ranked = sorted(by_type.items(), key=lambda item: -item[1])[:TOP]
        rows = [
            (name, [plots.Part(value, "other", name)], _milliseconds(value))
            for name, value in ranked
        ]
        found.append(
            ("Time by layer type", svg.inline(plots.bars("Time by layer type", rows, 480)))
        )
    return found


def _top(report: LayerReport) -> str:
    """The layers that matter most, by measured time, else by the roofline, else by bytes."""
    names = labels(report)
    ranked = sorted(
        range(len(report.layers)), key=lambda number: weight_of(report.layers[number]), reverse=True
    )
    rows = []
    for number in ranked[:TOP]:
        layer = report.layers[number]
        known = layer.time_ms if layer.time_ms is not None else layer.floor_ms
        value = known if known is not None else float(layer.bytes)
        text = _milliseconds(known) if known is not None else present.size(layer.bytes)
        told = f"{text}{'' if layer.time_ms is not None or known is None else ' at least'}"
        part = plots.Part(
            value, plots.css_class(layer.precision), f"{names[number]}: {layer.precision}, {told}"
        )
        rows.append(
            (names[number], [part], f"{told}, {layer.bound} bound" if layer.bound else told)
        )
    return svg.inline(plots.bars("The layers that matter most", rows))


def _roofline(report: LayerReport, device: Device | None) -> str:
    """Operations a second that each layer could reach, or does where times are known, over
    operations a byte.
    """
    if device is None or device.bandwidth_gb_s is None:
        return ""
    names, points = labels(report), []
    for number, layer in enumerate(report.layers):
        spent = layer.time_ms or layer.floor_ms
        if layer.macs and layer.bytes and spent:
            x, y = 2 * layer.macs / layer.bytes, 2 * layer.macs / spent / 1e9
            told = f"{names[number]}: {layer.precision}, {x:.3g} operations a byte, {y:.3g} Tops"
            points.append(plots.Point(x, y, plots.css_class(layer.precision), told))
    lines = []
    peaks = [peak for peak in (device.int8_tops, device.fp16_tflops) if peak]
    most = max(
        [point.x for point in points] + [2e3 * peak / device.bandwidth_gb_s for peak in peaks],
        default=0,
    )
    for label, peak, kind in (
        ("INT8 peak", device.int8_tops, "int8"),
        ("FP16 peak", device.fp16_tflops, "half"),
    ):
        if peak and points:
            ridge = peak * 1e3 / device.bandwidth_gb_s
            least = min(point.x for point in points)
            lines.append(
                (
                    label,
                    kind,
                    [(least, least * device.bandwidth_gb_s / 1e3), (ridge, peak), (most, peak)],
                )
            )
    drawn = plots.scatter(
        "Roofline", points, "operations a byte", "10^12 operations a second", log=True, lines=lines
    )
    return svg.inline(drawn)


def _fused(report: LayerReport) -> dict[str, int]:
    learned = {node.name for node in report.nodes if node.learned}
    several = [layer for layer in report.layers if len(layer.members) > 1]
    if learned:
        side = [
            layer
            for layer in report.layers
            if layer.macs and len(learned.intersection(layer.members)) > 1
        ]
    else:
        side = [layer for layer in report.layers if " || " in layer.name]
    return {
        "layers": len(several),
        "nodes": sum(len(layer.members) for layer in several),
        "side_by_side": len(side),
    }


def _histograms(ranges: Sequence[TensorRange]) -> list[tuple[str, str]]:
    """Those first that INT8 clips most."""
    ranked = sorted(ranges, key=lambda each: each.amax / each.limit if each.limit else 1.0)[
        :HISTOGRAMS
    ]
    return [
        (
            each.name,
            svg.inline(
                plots.histogram(
                    f"Magnitudes of {svg.shorten(each.name, 80)}",
                    each.counts,
                    each.limit,
                    each.amax,
                )
            ),
        )
        for each in ranked
    ]


def _pareto(sweep: Sequence[Candidate]) -> str:
    points = [
        plots.Point(
            each.latency_ms,
            each.accuracy,
            plots.css_class(each.precision),
            f"{each.name}: {each.latency_ms:.3g} ms, {each.accuracy:.4f}",
            each.name,
        )
        for each in sweep
    ]
    return svg.inline(
        plots.pareto("Engines by latency and accuracy", points, "latency, ms", "accuracy")
    )


def _accuracy(document: Mapping[str, Any]) -> dict[str, Any]:
    """Header and rows of the table of ``trtforge verify``; empty without labels."""
    if not document.get("accuracy"):
        return {}
    more = dict(document.get("more") or {})
    lost = [None, *(document.get("drop_points") or [])]
    rows = [
        [
            Path(str(engine)).name,
            *(f"{column[index]:.4f}" for column in (document["accuracy"], *more.values())),
            "" if index >= len(lost) or lost[index] is None else f"{lost[index]:.2f}",
        ]
        for index, engine in enumerate(document["engines"])
    ]
    return {
        "header": ["engine", document.get("metric", "accuracy"), *more, "points lost"],
        "rows": rows,
        "images": document.get("images"),
    }


def _graph(report: LayerReport) -> dict[str, Any]:
    """Boxes and arrows for the drawing; layers that only wait are left out."""
    nodes = {node.name: (index, node) for index, node in enumerate(report.nodes)}
    names = labels(report)
    drawn = [number for number, layer in enumerate(report.layers) if layer.role != "sync"]
    boxes = [
        {
            "id": number,
            "name": svg.shorten(names[number], 60),
            "what": _what(report.layers[number], nodes),
            "kind": plots.css_class(report.layers[number].precision),
            "role": report.layers[number].role,
            "precision": report.layers[number].precision,
        }
        for number in drawn
    ]
    kept = set(drawn)
    links = [pair for pair in edges(report.layers) if pair[0] in kept and pair[1] in kept]
    return {"boxes": boxes, "links": links, "atOnce": len(boxes) <= DRAWN}


def _what(layer: Layer, nodes: Mapping[str, tuple[int, Node]]) -> str:
    """The operators that were fused, in the graph's order; a product that another layer computes is
    left out.
    """
    found = [
        node
        for _, node in sorted(
            (nodes[name] for name in layer.members if name in nodes), key=lambda each: each[0]
        )
    ]
    ran = [node for node in found if layer.macs or not node.learned] or found
    short = {"QuantizeLinear": "Q", "DequantizeLinear": "DQ"}
    return svg.shorten(
        " + ".join(dict.fromkeys(short.get(node.op, node.op) for node in ran)) or layer.type or "?",
        44,
    )


def _island(document: Any) -> str:
    """JSON that no HTML parser can leave: ``<`` is written as an escape."""
    text = json.dumps(document, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _count(value: float) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.2f} {unit}"
    return f"{value:.0f}"


def _milliseconds(value: float) -> str:
    return f"{value:.3f} ms" if value >= 0.01 else f"{1000 * value:.2f} µs"
