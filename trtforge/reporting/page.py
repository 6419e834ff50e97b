"""Show a report as one HTML page without outside references."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from trtforge import present
from trtforge.devices import Device
from trtforge.reporting import page_plots, plots, svg
from trtforge.reporting.drawing import drawing, json_island
from trtforge.reporting.model import LayerReport, labels
from trtforge.reporting.page_plots import count, milliseconds

if TYPE_CHECKING:
    from trtforge.evaluate.verification import VerificationJson

NAMES = 300  # characters of a name that the page shows; layers.json contains the whole name


@dataclass(frozen=True)
class TensorRange:
    """A calibrated tensor: counts of magnitudes in equal bins over [0, limit), and its range."""

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
    """Optional data that the page shows beside the layers.

    Attributes:
        title: title of the page.
        device: the device for which floors were computed.
        ranges: tensors of the calibration.
        sweep: engines to choose from.
        accuracy: what ``trtforge verify --json`` printed.
    """

    title: str
    device: Device | None = None
    ranges: Sequence[TensorRange] = ()
    sweep: Sequence[Candidate] = ()
    accuracy: VerificationJson | None = None


class AccuracyTable(TypedDict):
    """The table of ``trtforge verify``."""

    header: list[str]
    rows: list[list[str]]
    images: int | None


def html(report: LayerReport, context: Context) -> str:
    """Return the page.

    Every text from the model is escaped, and only scripts with a listed digest run.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "size": present.size,
        "cut": svg.shorten,
        "css": plots.css_class,
        "count": count,
        "ms": milliseconds,
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
        graph=json_island(drawing(report)),
        names=labels(report),
        tiles=_tiles(report),
        rows=page_plots.bars_by_precision(report),
        top=page_plots.top_layers(report),
        rooflines=page_plots.roofline(report, context.device),
        fused=_fused(report),
        histograms=page_plots.histograms(
            [(tensor.name, tensor.counts, tensor.limit, tensor.amax) for tensor in context.ranges]
        ),
        pareto=_pareto(context.sweep),
        NAMES=NAMES,
        accuracy=_accuracy_table(context.accuracy) if context.accuracy else None,
    )
    # Names may contain half of a surrogate pair, which UTF-8 can't encode.
    return page.encode("utf-8", "replace").decode("utf-8")


def _tiles(report: LayerReport) -> list[tuple[str, str, str]]:
    """Return the figures at the top of the page: what, how much, and a note."""
    tiles: list[tuple[str, str, str]] = []
    working = [layer for layer in report.layers if layer.role != "sync"]
    if report.nodes:
        tiles.append(("ONNX nodes", str(len(report.nodes)), report.places))
    waiting = len(report.layers) - len(working)
    tiles.append(
        ("engine layers", str(len(working)), f"and {waiting} that only wait" if waiting else "")
    )
    macs = report.by_precision("macs")
    if macs:
        total = sum(macs.values())
        shares = ", ".join(f"{100 * value / total:.1f} % {name}" for name, value in macs.items())
        tiles.append(("multiply-accumulates", count(int(total)), shares))
    moved = report.by_precision("bytes")
    tiles.append(("bytes moved", present.size(sum(moved.values())), f"batch {report.engine.batch}"))
    if report.time_ms is not None:
        tiles.append(("time of all layers", milliseconds(report.time_ms), "measured"))
    floor = sum(layer.floor_ms or 0 for layer in report.layers)
    if floor:
        note = "the least time that the device allows, layer by layer"
        tiles.append(("roofline", milliseconds(floor), note))
    for label, size in report.memory:
        tiles.append((label, present.size(size), "memory, as the builder reports it"))
    return tiles


def _fused(report: LayerReport) -> dict[str, int]:
    """Count the layers that contain several nodes, and the layers that run several side by side."""
    learned = {node.name for node in report.nodes if node.learned}
    several = [layer for layer in report.layers if len(layer.members) > 1]
    if learned:
        side_by_side = [
            layer
            for layer in report.layers
            if layer.macs and len(learned.intersection(layer.members)) > 1
        ]
    else:
        side_by_side = [layer for layer in report.layers if " || " in layer.name]
    return {
        "layers": len(several),
        "nodes": sum(len(layer.members) for layer in several),
        "side_by_side": len(side_by_side),
    }


def _pareto(sweep: Sequence[Candidate]) -> str:
    """Return the plot of the engines of a sweep."""
    points: list[plots.Point] = []
    for engine in sweep:
        note = f"{engine.name}: {engine.latency_ms:.3g} ms, {engine.accuracy:.4f}"
        kind = plots.css_class(engine.precision)
        points.append(plots.Point(engine.latency_ms, engine.accuracy, kind, note, engine.name))
    return svg.inline(
        plots.pareto("Engines by latency and accuracy", points, "latency, ms", "accuracy")
    )


def _accuracy_table(document: VerificationJson) -> AccuracyTable | None:
    """Return the table of accuracies; None if they were measured without labels.

    Documents of older versions lack some of the keys.
    """
    if not document.get("accuracy"):
        return None
    more = document.get("more") or {}
    columns = [document["accuracy"], *more.values()]
    drops: list[float | None] = [None, *(document.get("drop_points") or [])]
    rows: list[list[str]] = []
    for index, engine in enumerate(document["engines"]):
        drop = drops[index] if index < len(drops) else None
        cells = [f"{column[index]:.4f}" for column in columns]
        rows.append([Path(str(engine)).name, *cells, "" if drop is None else f"{drop:.2f}"])
    return {
        "header": ["engine", document.get("metric", "accuracy"), *more, "points lost"],
        "rows": rows,
        "images": document.get("images"),
    }


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
