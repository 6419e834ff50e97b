"""Put a report together: layers, the ONNX graph they came from, times, and the device."""

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
    """Account for every node, and compute the cost of every layer.

    Args:
        layers: as a builder lists them.
        origin: the ONNX graph, if it is known.
        figures: the builder's figures, see ``LayerReport``.
    """
    placed, nodes = list(layers), list[Node]()
    if origin:
        placed, nodes = account(layers, origin, engine.batch)
    kinds = {node.name: node.op for node in nodes}
    costs = [costed(layer, kinds, engine.batch) for layer in placed]
    return _with_remarks(
        LayerReport(engine=engine, figures=dict(figures or {}), layers=costs, nodes=nodes)
    )


def with_times(report: LayerReport, times: Sequence[tuple[str, float]]) -> LayerReport:
    """Return the report with measured times; times of names without a layer are kept apart."""
    layers, unmatched = inspector.with_times(report.layers, times)
    return _with_remarks(report.model_copy(update={"layers": layers, "unmatched_times": unmatched}))


def for_device(
    report: LayerReport, device: Device | None, **engine: str | int | None
) -> LayerReport:
    """Return the report with the floors of a device.

    Args:
        engine: fields of ``EngineInfo`` to set.
    """
    layers = [floored(layer, device) for layer in report.layers]
    info = report.engine.model_copy(update={**engine, "device": device.name if device else None})
    return _with_remarks(report.model_copy(update={"layers": layers, "engine": info}))


def _with_remarks(report: LayerReport) -> LayerReport:
    return report.model_copy(update={"findings": remarks(report)})
