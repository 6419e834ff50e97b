"""Say what stands out in an engine, why it is so, and which option or recipe line changes it."""

from __future__ import annotations

import json
from collections.abc import Iterable

from trtforge.reporting.model import UNREADABLE, LayerReport, Node, Remark
from trtforge.reporting.move_remarks import remarks_on_moves, remarks_on_wide_outputs
from trtforge.reporting.origin import QUANTIZED
from trtforge.reporting.remark import SHOWN, make_remark, number_of, some_names
from trtforge.traits import ONNXRUNTIME

EVERY = 0.95  # from this share on, the remark is about the whole engine
LITTLE = 0.005  # share of the MACs below which FP32 costs nothing
MUCH = 0.5  # share of the bytes that weights need before a larger batch pays


def remarks(report: LayerReport) -> list[Remark]:
    """Return what stands out: first what the user can change, then by the bytes that it moves."""
    collected = [
        *_quantized_in_float(report),
        *_not_quantized(report),
        *remarks_on_moves(report),
        *remarks_on_wide_outputs(report),
        *_computed_in_fp32(report),
        *_mostly_weights(report),
        *_gaps_of_the_report(report),
    ]
    return sorted(collected, key=lambda remark: (not remark.act, -remark.bytes))


def homes(report: LayerReport) -> dict[str, int]:
    """Return the layer that computes each learned operator.

    It is the layer with multiply-accumulates, or else the last layer that names the operator.
    """
    learned = {node.name for node in report.nodes if node.learned}
    layer_of: dict[str, int] = {}
    for number, layer in enumerate(report.layers):
        for name in learned.intersection(layer.members):
            if name not in layer_of or layer.macs or not report.layers[layer_of[name]].macs:
                layer_of[name] = number
    return layer_of


def _quantized_in_float(report: LayerReport) -> list[Remark]:
    """Return a remark on operators with Q/DQ that the builder computes in float."""
    layer_of = homes(report)
    quantized = [node for node in report.nodes if node.quantized and node.name in layer_of]
    precision_of = {node.name: report.layers[layer_of[node.name]].precision for node in quantized}
    lost = [node for node in quantized if precision_of[node.name] not in QUANTIZED]
    if not lost:
        return []
    layers = [layer_of[node.name] for node in lost]
    precisions = " and ".join(
        sorted({precision_of[node.name] or "an unknown type" for node in lost})
    )
    if len(lost) >= EVERY * len(quantized):
        builder = report.engine.backend or "The builder"
        where = f" on SM{report.engine.sm}" if report.engine.sm else ""
        return [
            make_remark(
                report,
                f"{len(lost)} of {len(quantized)} quantized operators are computed in {precisions}",
                layers,
                f"{builder} uses no INT8 kernels{where} for this graph. The engine is as accurate "
                "as INT8, but no faster than FP16.",
                "build with --fp16, or for a --device whose builder uses INT8 "
                "(see the README's table)",
            )
        ]
    names = json.dumps([node.name for node in lost[:SHOWN]])
    return [
        make_remark(
            report,
            f"{number_of(lost, 'quantized operator')} computed in {precisions}",
            layers,
            f"{some_names(node.name for node in lost)}: the builder ignores their Q/DQ and converts "
            "around them.",
            f"recipe: precision: {{keep: {names}}} removes the Q/DQ without a use",
        )
    ]


def _not_quantized(report: LayerReport) -> list[Remark]:
    """Return remarks on operators without Q/DQ in a quantized graph."""
    learned = [node for node in report.nodes if node.learned and node.place == "layer"]
    if not any(node.quantized for node in learned):
        return []
    total = sum(node.macs for node in learned) or 1
    layer_of = homes(report)
    first = [node for node in learned if not node.quantized and node.reads_input]
    kept = [node for node in learned if not node.quantized and not node.reads_input]
    collected: list[Remark] = []
    if first:
        collected.append(
            make_remark(
                report,
                f"{number_of(first, 'operator')} at the image input in float",
                [layer_of[node.name] for node in first],
                f"{some_names(node.name for node in first)}, {_share(first, total)} of the MACs. "
                "This is intended: an image has 256 levels, and symmetric INT8 has only 127 for "
                "them.",
            )
        )
    if kept:
        collected.append(
            make_remark(
                report,
                f"{number_of(kept, 'operator')} without Q/DQ",
                [layer_of[node.name] for node in kept],
                f"{some_names(node.name for node in kept)}, {_share(kept, total)} of the MACs, stay "
                "float. The engine converts between INT8 and float around them.",
                "recipe: take them out of precision.keep; if they are heads, "
                "precision: {heads: int8}",
            )
        )
    return collected


def _computed_in_fp32(report: LayerReport) -> list[Remark]:
    """Return a remark on layers that compute in FP32."""
    if report.engine.backend == ONNXRUNTIME:  # its CPU kernels are not faster in FP16
        return []
    wide = [
        number
        for number, layer in enumerate(report.layers)
        if layer.macs and layer.precision == "Float"
    ]
    if not wide:
        return []
    macs = report.by_precision("macs")
    share = macs.get("Float", 0) / sum(macs.values())
    if share > EVERY:
        why = f"{100 * share:.0f} % of the MACs are FP32."
        act = "build with --fp16, or with --int8 --calib DIR"
        return [make_remark(report, "The engine computes in FP32", wide, why, act)]
    if share <= LITTLE:
        return []
    names = [name for number in wide for name in report.layers[number].members]
    act = ""
    if share > 1 - EVERY:
        act = "recipe: precision: {rest: fp16}, and take them out of precision.keep"
    return [
        make_remark(
            report,
            f"{number_of(wide, 'layer')} with {100 * share:.1f} % of the MACs in FP32",
            wide,
            f"{some_names(names)}: the decode and what the recipe keeps stay FP32. Other layers "
            "are FP32 if the recipe does not ask for FP16.",
            act,
        )
    ]


def _mostly_weights(report: LayerReport) -> list[Remark]:
    """Return a remark on an engine that mostly reads weights."""
    weights = sum(layer.weight_bytes for layer in report.layers)
    total = sum(layer.bytes for layer in report.layers)
    if not total or weights < MUCH * total or report.engine.batch > 1:
        return []
    layers = [
        number for number, layer in enumerate(report.layers) if layer.weight_bytes > layer.bytes / 2
    ]
    return [
        make_remark(
            report,
            f"{100 * weights / total:.0f} % of the bytes moved are weights",
            layers,
            "At batch 1, the engine reads all weights for each image. The images of a batch share "
            "them.",
            "build with --batch 4, or with the number of cameras",
        )
    ]


def _gaps_of_the_report(report: LayerReport) -> list[Remark]:
    """Return remarks on what the report itself does not know."""
    collected: list[Remark] = []
    unreadable = [number for number, layer in enumerate(report.layers) if layer.type == UNREADABLE]
    if unreadable:
        title = f"{number_of(unreadable, 'unreadable row')} in the builder's list"
        why = "They have a form that trtforge does not know, and are missing in every sum."
        collected.append(make_remark(report, title, unreadable, why))
    bare = [
        number
        for number, layer in enumerate(report.layers)
        if not (layer.type or layer.inputs or layer.outputs)
    ]
    if bare:
        title = f"{number_of(bare, 'layer')} of which only the name is known"
        why = "The engine was built without details."
        act = "build it again with trtexec --profilingVerbosity=detailed"
        collected.append(make_remark(report, title, bare, why, act))
    lost = [node for node in report.nodes if node.place == "unaccounted"]
    if lost:
        names = some_names(f"{node.name} ({node.op})" for node in lost)
        title = f"{number_of(lost, 'ONNX node')} not accounted for"
        why = f"{names}: no layer names them, and no rule explains why they need no layer."
        collected.append(make_remark(report, title, [], why))
    if report.unmatched_times:
        title = f"{number_of(report.unmatched_times, 'profiled name')} without a layer"
        why = f"{some_names(report.unmatched_times)}: the profile is of another engine or build."
        collected.append(make_remark(report, title, [], why, "profile this engine"))
    return collected


def _share(nodes: Iterable[Node], total: int) -> str:
    return f"{100 * sum(node.macs for node in nodes) / total:.1f} %"
