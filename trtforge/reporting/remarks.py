"""What stands out in an engine, why it is so, and which option or recipe line changes it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence, Sized

from trtforge import present
from trtforge.reporting.cost import edges
from trtforge.reporting.model import UNREADABLE, Layer, LayerReport, Node, Remark, labels
from trtforge.reporting.origin import QUANTIZED

SHOWN = 5  # names in a sentence
ALL = 0.95  # share from which "every" is said, with the exceptions counted
LITTLE = 0.005  # share of the MACs below which FP32 is not worth a word
MUCH = 0.5  # share of the bytes that weights may take before a larger batch pays
# What a quantizing kernel also names, though it is not what keeps it from the convolution before
# it.
PASSED = {"QuantizeLinear", "DequantizeLinear", "Conv", "Concat", "Slice", "Split"}
FLOAT = {"Float", "Half", "BFloat16"}


def remarks(report: LayerReport) -> list[Remark]:
    """Those one can act on first, then by the bytes that they move."""
    found = [
        *_float_though_quantized(report),
        *_not_quantized(report),
        *_moves(report),
        *_wide_outputs(report),
        *_wide_engine(report),
        *_weights(report),
        *_lost(report),
    ]
    return sorted(found, key=lambda each: (not each.act, -each.bytes))


def homes(report: LayerReport) -> dict[str, int]:
    """The layer that computes each learned operator: the one with multiply-accumulates, else the
    last that names it.
    """
    learned = {node.name for node in report.nodes if node.learned}
    found: dict[str, int] = {}
    for number, layer in enumerate(report.layers):
        for name in learned.intersection(layer.members):
            if name not in found or layer.macs or not report.layers[found[name]].macs:
                found[name] = number
    return found


def _float_though_quantized(report: LayerReport) -> list[Remark]:
    home = homes(report)
    quantized = [node for node in report.nodes if node.quantized and node.name in home]
    lost = [node for node in quantized if report.layers[home[node.name]].precision not in QUANTIZED]
    if not lost:
        return []
    layers = [home[node.name] for node in lost]
    precisions = " and ".join(
        sorted({report.layers[number].precision or "an unknown type" for number in layers})
    )
    if len(lost) >= ALL * len(quantized):
        where = f" on SM{report.engine.sm}" if report.engine.sm else ""
        return [
            _finding(
                report,
                f"{len(lost)} of {len(quantized)} quantized operators are computed in {precisions}",
                layers,
                f"{report.engine.backend or 'The builder'} uses no INT8 kernels{where} for this graph: the engine is as "
                "accurate as INT8, and no faster than FP16.",
                "build with --fp16, or for a --device whose builder uses INT8 (see the README's table)",
            )
        ]
    return [
        _finding(
            report,
            f"{_many(lost, 'quantized operator')} computed in {precisions}",
            layers,
            f"{_names(node.name for node in lost)}: the builder left their Q/DQ alone and converts around them.",
            f"recipe: precision: {{keep: {json.dumps([node.name for node in lost[:SHOWN]])}}} drops Q/DQ that buys nothing",
        )
    ]


def _not_quantized(report: LayerReport) -> list[Remark]:
    learned = [node for node in report.nodes if node.learned and node.place == "layer"]
    if not any(node.quantized for node in learned):
        return []
    total, home, found = sum(node.macs for node in learned) or 1, homes(report), []
    image = [node for node in learned if not node.quantized and node.reads_input]
    kept = [node for node in learned if not node.quantized and not node.reads_input]
    if image:
        found.append(
            _finding(
                report,
                f"{_many(image, 'operator')} reading the image left in float",
                [home[node.name] for node in image],
                f"{_names(node.name for node in image)}, {_share(image, total)} of the MACs: a photograph has 256 levels "
                "and symmetric INT8 has 127 for them.",
            )
        )
    if kept:
        found.append(
            _finding(
                report,
                f"{_many(kept, 'operator')} without Q/DQ",
                [home[node.name] for node in kept],
                f"{_names(node.name for node in kept)}, {_share(kept, total)} of the MACs stay float, and INT8 is broken "
                "around them.",
                "recipe: take them out of precision.keep; if they are heads, precision: {heads: int8}",
            )
        )
    return found


def _moves(report: LayerReport) -> list[Remark]:
    """Layers that convert or copy and compute nothing, each with the neighbour for which it does."""
    float_nodes = {
        node.name
        for node in report.nodes
        if node.learned and not node.quantized and not node.reads_input
    }
    quantized = any(node.quantized for node in report.nodes)
    before, behind = _neighbours(report.layers)
    names = labels(report)
    causes: dict[str, list[int]] = {}
    for number, layer in enumerate(report.layers):
        if layer.role not in ("convert", "copy"):
            continue
        around = [
            report.layers[other] for other in (*behind.get(number, []), *before.get(number, []))
        ]
        culprits = sorted(
            {name for other in around for name in float_nodes.intersection(other.members)}
        )
        cause = "kept" if culprits and quantized and layer.role == "convert" else str(layer.role)
        causes.setdefault(cause, []).append(number)
    found = []
    for cause, layers in causes.items():
        size = sum(report.layers[number].bytes for number in layers)
        share = 100 * size / (sum(layer.bytes for layer in report.layers) or 1)
        title = {
            "convert": "for nothing but another datatype",
            "copy": "for nothing but a copy or another layout",
            "kept": "converting around operators without Q/DQ",
        }
        what = f"{_many(layers, 'layer')} {title[cause]}: {present.size(size)}, {share:.1f} % of all bytes"
        largest = sorted(layers, key=lambda number: -report.layers[number].bytes)
        why = "; ".join(
            _move(report.layers, names, number, before, behind) for number in largest[:SHOWN]
        )
        act = "recipe: take those operators out of precision.keep; if they are heads, precision: {heads: int8}"
        found.append(
            _finding(
                report,
                what,
                layers,
                why + ("; ..." if len(layers) > SHOWN else "."),
                act if cause == "kept" else "",
            )
        )
    return found


def _move(
    layers: Sequence[Layer],
    names: Sequence[str],
    number: int,
    before: dict[int, list[int]],
    behind: dict[int, list[int]],
) -> str:
    layer = layers[number]
    made = " + ".join(sorted({tensor.dtype for tensor in layer.inputs})) or "nothing"
    into = " + ".join(sorted({tensor.dtype for tensor in layer.outputs})) or "nothing"
    types = f"{made} to {into}" if made != into else made
    formats = {tensor.format for tensor in layer.inputs} ^ {
        tensor.format for tensor in layer.outputs
    }
    anew = ", another layout" if made == into and formats else ""
    readers = [names[other] for other in behind.get(number, [])] or ["an output"]
    makers = [names[other] for other in before.get(number, [])] or ["an input"]
    what = f"{_cut(layer.name)} ({types}{anew}, {present.size(layer.bytes)})"
    return f"{what} between {_names(makers, 2)} and {_names(readers, 2)}"


def _wide_outputs(report: LayerReport) -> list[Remark]:
    """INT8 operators that write float for another kernel to quantize again."""
    _, behind = _neighbours(report.layers)
    kinds = {node.name: node.op for node in report.nodes}
    layers, fused_with = [], Counter[str]()
    for number, layer in enumerate(report.layers):
        again = [
            report.layers[other]
            for other in behind.get(number, [])
            if any(tensor.dtype in QUANTIZED for tensor in report.layers[other].outputs)
        ]
        if (
            layer.macs
            and layer.precision in QUANTIZED
            and again
            and all(t.dtype in FLOAT for t in layer.outputs)
        ):
            layers.append(number)
            ops = dict.fromkeys(
                kinds[name] for other in again for name in other.members if name in kinds
            )
            fused_with.update(op for op in ops if op not in PASSED)
    if not layers:
        return []
    size = sum(report.layers[number].output_bytes for number in layers)
    return [
        _finding(
            report,
            f"{_many(layers, 'INT8 layer')} writing float for another to quantize: {present.size(size)} written",
            layers,
            f"The builder lists what comes behind them ({_names(op for op, _ in fused_with.most_common())}) as "
            "kernels of their own. TensorRT on the target may still fuse both: measure there.",
        )
    ]


def _wide_engine(report: LayerReport) -> list[Remark]:
    if report.engine.backend == "onnxruntime":  # its CPU kernels gain nothing from less
        return []
    macs = report.by_precision("macs")
    wide = [
        number
        for number, layer in enumerate(report.layers)
        if layer.macs and layer.precision == "Float"
    ]
    if not wide:
        return []
    share = macs.get("Float", 0) / sum(macs.values())
    if share > ALL:
        return [
            _finding(
                report,
                "The engine computes in FP32",
                wide,
                f"{100 * share:.0f} % of the MACs are FP32.",
                "--fp16, or --int8 --calib DIR",
            )
        ]
    if share > LITTLE:
        names = [name for number in wide for name in report.layers[number].members]
        return [
            _finding(
                report,
                f"{_many(wide, 'layer')} with {100 * share:.1f} % of the MACs in FP32",
                wide,
                f"{_names(names)}: the decode and what the recipe keeps stay FP32; the rest may.",
                "recipe: precision: {rest: fp16}, and take them out of precision.keep"
                if share > 1 - ALL
                else "",
            )
        ]
    return []


def _weights(report: LayerReport) -> list[Remark]:
    size, everything = (
        sum(layer.weight_bytes for layer in report.layers),
        sum(layer.bytes for layer in report.layers),
    )
    if not everything or size < MUCH * everything or report.engine.batch > 1:
        return []
    layers = [
        number for number, layer in enumerate(report.layers) if layer.weight_bytes > layer.bytes / 2
    ]
    return [
        _finding(
            report,
            f"{100 * size / everything:.0f} % of the bytes moved are weights",
            layers,
            "At batch 1 each image reads all of them; a batch shares them.",
            "--batch 4, or as many as there are cameras",
        )
    ]


def _lost(report: LayerReport) -> list[Remark]:
    """What the report itself could not tell."""
    found = []
    unreadable = [number for number, layer in enumerate(report.layers) if layer.type == UNREADABLE]
    if unreadable:
        found.append(
            _finding(
                report,
                f"{_many(unreadable, 'row')} of the builder's list unreadable",
                unreadable,
                "They are of a form that is not known here, and miss from every sum.",
            )
        )
    bare = [
        number
        for number, layer in enumerate(report.layers)
        if not (layer.type or layer.inputs or layer.outputs)
    ]
    if bare:
        found.append(
            _finding(
                report,
                f"{_many(bare, 'layer')} of which only the name is known",
                bare,
                "Built without details.",
                "trtexec --profilingVerbosity=detailed",
            )
        )
    lost = [node for node in report.nodes if node.place == "unaccounted"]
    if lost:
        found.append(
            _finding(
                report,
                f"{_many(lost, 'ONNX node')} not accounted for",
                [],
                f"{_names(f'{node.name} ({node.op})' for node in lost)}: no layer names "
                "them, and no rule explains why they would vanish.",
            )
        )
    if report.unmatched_times:
        found.append(
            _finding(
                report,
                f"{_many(report.unmatched_times, 'profiled name')} without a layer",
                [],
                f"{_names(report.unmatched_times)}: the profile is of another engine or build.",
                "profile this very engine",
            )
        )
    return found


def _neighbours(layers: Sequence[Layer]) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
    before: dict[int, list[int]] = {}
    behind: dict[int, list[int]] = {}
    for source, target in edges(layers):
        before.setdefault(target, []).append(source)
        behind.setdefault(source, []).append(target)
    return before, behind


def _finding(
    report: LayerReport, title: str, layers: Sequence[int], why: str, act: str = ""
) -> Remark:
    ordered = sorted(set(layers))
    size = sum(report.layers[number].bytes for number in ordered)
    return Remark(title=title, why=why, act=act, layers=ordered, bytes=size)


def _many(things: Sized, name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"


def _share(nodes: Iterable[Node], total: int) -> str:
    return f"{100 * sum(node.macs for node in nodes) / total:.1f} %"


def _names(names: Iterable[str], shown: int = SHOWN) -> str:
    found = list(dict.fromkeys(names))
    more = f" and {len(found) - shown} more" if len(found) > shown else ""
    return ", ".join(map(_cut, found[:shown])) + more


def _cut(name: str) -> str:
    """Names are untrusted: long ones are cut, line ends shown."""
    flat = " ".join(name.split())
    return flat if len(flat) <= 80 else f"{flat[:60]}...{flat[-15:]}"
