"""Make remarks on layers that move data: conversions, copies, and outputs in float."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from trtforge import present
from trtforge.reporting.cost import edges
from trtforge.reporting.model import Layer, LayerReport, Remark, labels
from trtforge.reporting.origin import QUANTIZED
from trtforge.reporting.remark import SHOWN, make_remark, number_of, short_name, some_names

FLOAT = {"Float", "Half", "BFloat16"}
# Operators in a kernel that quantizes which do not explain why it is apart from the convolution
# before it.
PASSED = {"QuantizeLinear", "DequantizeLinear", "Conv", "Concat", "Slice", "Split"}
_TITLES = {
    "convert": "used only to convert the datatype",
    "copy": "used only to copy or to change the layout",
    "kept": "used to convert around operators without Q/DQ",
}


class _Neighbours:
    """The layers before and after each layer, as indices."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._before: dict[int, list[int]] = {}
        self._after: dict[int, list[int]] = {}
        for source, target in edges(layers):
            self._before.setdefault(target, []).append(source)
            self._after.setdefault(source, []).append(target)

    def before(self, number: int) -> list[int]:
        """Return the layers that write what a layer reads."""
        return self._before.get(number, [])

    def after(self, number: int) -> list[int]:
        """Return the layers that read what a layer writes."""
        return self._after.get(number, [])


def remarks_on_moves(report: LayerReport) -> list[Remark]:
    """Return remarks on layers that convert or copy and compute nothing, one for each cause."""
    neighbours = _Neighbours(report.layers)
    names = labels(report)
    total = sum(layer.bytes for layer in report.layers) or 1
    collected: list[Remark] = []
    for cause, numbers in _by_cause(report, neighbours).items():
        size = sum(report.layers[number].bytes for number in numbers)
        amount = f"{present.size(size)}, {100 * size / total:.1f} % of all bytes"
        largest = sorted(numbers, key=lambda number: -report.layers[number].bytes)[:SHOWN]
        moves = [_describe_move(report.layers, names, number, neighbours) for number in largest]
        act = ""
        if cause == "kept":
            act = (
                "recipe: take those operators out of precision.keep; if they are heads, "
                "precision: {heads: int8}"
            )
        collected.append(
            make_remark(
                report,
                f"{number_of(numbers, 'layer')} {_TITLES[cause]}: {amount}",
                numbers,
                "; ".join(moves) + ("; ..." if len(numbers) > SHOWN else "."),
                act,
            )
        )
    return collected


def _by_cause(report: LayerReport, neighbours: _Neighbours) -> dict[str, list[int]]:
    """Return the layers that move data by cause, one of ``_TITLES``.

    The cause is ``kept`` for a conversion beside a learned operator without Q/DQ.
    """
    quantized = any(node.quantized for node in report.nodes)
    in_float = {
        node.name
        for node in report.nodes
        if node.learned and not node.quantized and not node.reads_input
    }
    causes: dict[str, list[int]] = {}
    for number, layer in enumerate(report.layers):
        if layer.role not in ("convert", "copy"):
            continue
        around = [*neighbours.after(number), *neighbours.before(number)]
        beside_float = any(in_float.intersection(report.layers[other].members) for other in around)
        kept = beside_float and quantized and layer.role == "convert"
        causes.setdefault("kept" if kept else layer.role, []).append(number)
    return causes


def _describe_move(
    layers: Sequence[Layer], names: Sequence[str], number: int, neighbours: _Neighbours
) -> str:
    """Return what a layer converts or copies, and between which layers it is."""
    layer = layers[number]
    before = " + ".join(sorted({tensor.dtype for tensor in layer.inputs})) or "nothing"
    after = " + ".join(sorted({tensor.dtype for tensor in layer.outputs})) or "nothing"
    types = f"{before} to {after}" if before != after else before
    formats_differ = {tensor.format for tensor in layer.inputs} != {
        tensor.format for tensor in layer.outputs
    }
    layout = ", another layout" if before == after and formats_differ else ""
    writers = [names[other] for other in neighbours.before(number)] or ["an input"]
    readers = [names[other] for other in neighbours.after(number)] or ["an output"]
    move = f"{short_name(layer.name)} ({types}{layout}, {present.size(layer.bytes)})"
    return f"{move} between {some_names(writers, 2)} and {some_names(readers, 2)}"


def remarks_on_wide_outputs(report: LayerReport) -> list[Remark]:
    """Return a remark on INT8 layers that write float, which another kernel quantizes again."""
    neighbours = _Neighbours(report.layers)
    kinds = {node.name: node.op for node in report.nodes}
    numbers: list[int] = []
    operators = Counter[str]()
    for number, layer in enumerate(report.layers):
        quantizing = [
            report.layers[other]
            for other in neighbours.after(number)
            if any(tensor.dtype in QUANTIZED for tensor in report.layers[other].outputs)
        ]
        writes_float = all(tensor.dtype in FLOAT for tensor in layer.outputs)
        if layer.macs and layer.precision in QUANTIZED and quantizing and writes_float:
            numbers.append(number)
            members = [name for other in quantizing for name in other.members if name in kinds]
            ops = dict.fromkeys(kinds[name] for name in members)
            operators.update(op for op in ops if op not in PASSED)
    if not numbers:
        return []
    size = sum(report.layers[number].output_bytes for number in numbers)
    names = some_names(op for op, _ in operators.most_common())
    return [
        make_remark(
            report,
            f"{number_of(numbers, 'INT8 layer')} with float outputs for another layer to quantize: "
            f"{present.size(size)} written",
            numbers,
            f"The builder lists the operators after them ({names}) as kernels of their own. "
            "TensorRT on the target may still fuse both: measure there.",
        )
    ]
