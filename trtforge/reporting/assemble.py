"""One report from its parts: layers, the ONNX graph they came from, times, and the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trtforge.devices import Device
from trtforge.reporting import inspector
from trtforge.reporting.account import account
from trtforge.reporting.cost import costed, floored
from trtforge.reporting.findings import find
from trtforge.reporting.model import Engine, Layer, Node, Report
from trtforge.reporting.origin import Origin


def assemble(
    layers: Sequence[Layer],
    origin: Origin | None,
    engine: Engine,
    figures: Mapping[str, int] | None = None,
) -> Report:
    """Account for every node, and cost every layer.

    Args:
        layers: as a builder lists them.
        origin: the ONNX graph, if it is known.
        figures: the builder's, see ``Report``.
    """
    found, nodes = list(layers), list[Node]()
    if origin:
        found, nodes = account(layers, origin, engine.batch)
    kinds = {node.name: node.op for node in nodes}
    found = [costed(layer, kinds, engine.batch) for layer in found]
    report = Report(engine=engine, figures=dict(figures or {}), layers=found, nodes=nodes)
    return report.model_copy(update={"findings": find(report)})


def timed(report: Report, times: Sequence[tuple[str, float]]) -> Report:
    """The report with measured times; names that are no layer's are kept apart."""
    layers, unmatched = inspector.timed(report.layers, times)
    report = report.model_copy(update={"layers": layers, "unmatched_times": unmatched})
    return report.model_copy(update={"findings": find(report)})


def on(report: Report, device: Device | None, **engine: str | int | None) -> Report:
    """The report of an engine for a device, with floors; ``engine`` are fields of ``Engine`` to
    set.
    """
    layers = [floored(layer, device) for layer in report.layers]
    which = report.engine.model_copy(update={**engine, "device": device.name if device else None})
    report = report.model_copy(update={"layers": layers, "engine": which})
    return report.model_copy(update={"findings": find(report)})
