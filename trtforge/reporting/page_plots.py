"""Draw the plots of the HTML page."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from trtforge import present
from trtforge.devices import Device
from trtforge.reporting import plots, svg
from trtforge.reporting.cost import weight_of
from trtforge.reporting.histogram_plot import histogram
from trtforge.reporting.model import LayerReport, labels

TOP = 10  # layers, or types of layers, in a plot
HISTOGRAMS = 48  # tensors whose histograms are drawn: each takes 1 kB
NARROW = 480  # pixels: two bar plots fit side by side


def bars_by_precision(report: LayerReport) -> list[tuple[str, str]]:
    """Return (title, SVG) for each figure by precision, and for time by the type of layer."""
    layers = {
        name: float(number)
        for name, number in report.layers_by_precision().items()
        if name != "none"
    }
    figures: list[tuple[str, dict[str, float], Callable[[float], str]]] = [
        ("Layers", layers, "{:.0f}".format),
        ("Multiply-accumulates", report.by_precision("macs"), count),
        ("Bytes moved", report.by_precision("bytes"), present.size),
        ("Time", report.by_precision("time_ms"), milliseconds),
    ]
    drawn: list[tuple[str, str]] = []
    for figure, values, show in figures:
        title = f"{figure} by precision"
        rows = [
            (
                name,
                [plots.Part(value, plots.css_class(name), f"{name}: {show(value)}")],
                show(value),
            )
            for name, value in values.items()
        ]
        if rows:
            drawn.append((title, svg.inline(plots.bars(title, rows, NARROW))))
    if report.time_ms:
        drawn.append(("Time by layer type", _time_by_type(report)))
    return drawn


def _time_by_type(report: LayerReport) -> str:
    by_type: dict[str, float] = {}
    for layer in report.layers:
        kind = layer.type or "?"
        by_type[kind] = by_type.get(kind, 0.0) + (layer.time_ms or 0)
    ranked = sorted(by_type.items(), key=lambda item: -item[1])[:TOP]
    rows = [
        (name, [plots.Part(value, "other", name)], milliseconds(value)) for name, value in ranked
    ]
    return svg.inline(plots.bars("Time by layer type", rows, NARROW))


def top_layers(report: LayerReport) -> str:
    """Return the plot of the layers with the most time, or else the highest floor or most bytes."""
    names = labels(report)
    ranked = sorted(
        range(len(report.layers)), key=lambda number: weight_of(report.layers[number]), reverse=True
    )
    rows: list[tuple[str, list[plots.Part], str]] = []
    for number in ranked[:TOP]:
        layer = report.layers[number]
        if layer.time_ms is not None:
            value, label = layer.time_ms, milliseconds(layer.time_ms)
        elif layer.floor_ms is not None:
            value, label = layer.floor_ms, f"{milliseconds(layer.floor_ms)} at least"
        else:
            value, label = float(layer.bytes), present.size(layer.bytes)
        title = f"{names[number]}: {layer.precision}, {label}"
        part = plots.Part(value, plots.css_class(layer.precision), title)
        bound = f", {layer.bound} bound" if layer.bound else ""
        rows.append((names[number], [part], label + bound))
    return svg.inline(plots.bars("The layers that matter most", rows))


def roofline(report: LayerReport, device: Device | None) -> str:
    """Return the roofline plot: operations per second of each layer over operations per byte.

    A layer without a measured time is drawn where it could be at best.
    """
    if device is None or device.bandwidth_gb_s is None:
        return ""
    bandwidth = device.bandwidth_gb_s
    names = labels(report)
    points: list[plots.Point] = []
    for number, layer in enumerate(report.layers):
        time = layer.time_ms or layer.floor_ms
        if layer.macs and layer.bytes and time:
            x, y = 2 * layer.macs / layer.bytes, 2 * layer.macs / time / 1e9
            title = f"{names[number]}: {layer.precision}, {x:.3g} operations a byte, {y:.3g} Tops"
            points.append(plots.Point(x, y, plots.css_class(layer.precision), title))
    peaks = [
        (label, peak, kind)
        for label, peak, kind in (
            ("INT8 peak", device.int8_tops, "int8"),
            ("FP16 peak", device.fp16_tflops, "half"),
        )
        if peak
    ]
    xs = [point.x for point in points]
    # A roof ends at twice the x of its ridge, or at the last point.
    end = max([*xs, *(2e3 * peak / bandwidth for _, peak, _ in peaks)], default=0)
    roofs: list[plots.Line] = []
    if points:
        start = min(xs)
        for label, peak, kind in peaks:
            ridge = peak * 1e3 / bandwidth
            corners = [(start, start * bandwidth / 1e3), (ridge, peak), (end, peak)]
            roofs.append((label, kind, corners))
    return svg.inline(
        plots.scatter(
            "Roofline",
            points,
            "operations a byte",
            "10^12 operations a second",
            log=True,
            lines=roofs,
        )
    )


def histograms(
    tensors: Sequence[tuple[str, Sequence[int], float, float]],
) -> list[tuple[str, str]]:
    """Return (name, SVG) for the tensors of which INT8 clips the most, in this order.

    Args:
        tensors: name, counts, limit and range of each tensor.
    """

    def kept_share(tensor: tuple[str, Sequence[int], float, float]) -> float:
        _, _, limit, amax = tensor
        return amax / limit if limit else 1.0

    return [
        (name, svg.inline(histogram(f"Magnitudes of {svg.shorten(name, 80)}", counts, limit, amax)))
        for name, counts, limit, amax in sorted(tensors, key=kept_share)[:HISTOGRAMS]
    ]


def count(value: float) -> str:
    """Return a large number in short form: 1.50 G."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.2f} {unit}"
    return f"{value:.0f}"


def milliseconds(value: float) -> str:
    """Return a time in milliseconds, or in microseconds below 0.01 ms."""
    return f"{value:.3f} ms" if value >= 0.01 else f"{1000 * value:.2f} µs"
