"""One report from its parts: layers, the ONNX graph they came from, times, and the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trtforge.devices import Device
from trtforge.reporting import inspector
from trtforge.reporting.account import account
from trtforge.reporting.cost import costed, floored
from trtforge.reporting.model import EngineInfo, Layer, LayerReport, Node
from trtforge.reporting.origin import Origin
from trtforge.reporting.remarks import remarks


def assemble(
    layers: Sequence[Layer],
    origin: Origin | None,
    engine: EngineInfo,
    figures: Mapping[str, int] | None = None,
) -> LayerReport:
    """Account for every node, and cost every layer.

    Args:
        layers: as a builder lists them.
        origin: the ONNX graph, if it is known.
        figures: the builder's, see ``LayerReport``.
    """
    found, nodes = list(layers), list[Node]()
    if origin:
        found, nodes = account(layers, origin, engine.batch)
    kinds = {node.name: node.op for node in nodes}
    found = [costed(layer, kinds, engine.batch) for layer in found]
    report = LayerReport(engine=engine, figures=dict(figures or {}), layers=found, nodes=nodes)
    return report.model_copy(update={"findings": remarks(report)})


def with_times(report: LayerReport, times: Sequence[tuple[str, float]]) -> LayerReport:
    """The report with measured times; names that are no layer's are kept apart."""
    layers, unmatched = inspector.with_times(report.layers, times)
    report = report.model_copy(update={"layers": layers, "unmatched_times": unmatched})
    return report.model_copy(update={"findings": remarks(report)})


def for_device(
    report: LayerReport, device: Device | None, **engine: str | int | None
) -> LayerReport:
    """The report of an engine for a device, with floors; ``engine`` are fields of ``EngineInfo`` to
    set.
    """
    layers = [floored(layer, device) for layer in report.layers]
    which = report.engine.model_copy(update={**engine, "device": device.name if device else None})
    report = report.model_copy(update={"layers": layers, "engine": which})
    return report.model_copy(update={"findings": remarks(report)})
