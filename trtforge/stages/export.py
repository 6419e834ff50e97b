"""PyTorch -> model: exported, checked, and compared with PyTorch."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from trtforge import present
from trtforge.errors import MachineError
from trtforge.stages import MODEL

if TYPE_CHECKING:
    import onnx

    from trtforge.exporting.check import Deviation
    from trtforge.exporting.inputs import Images
    from trtforge.exporting.source import LoadedModel

OPSETS = range(9, 24)  # older ones TensorRT does not read, newer ones torch does not write
NEWEST_TENSORRT_10 = 20
DYNAMIC = ("batch", "height", "width")
# Weights over this go into a file of their own: a protobuf ends at 2 GiB.
EXTERNAL_BYTES = 2**31 - 2**24


@dataclass(frozen=True)
class ExportOptions:
    """Options of an export.

    Attributes:
        default_size: height and width in pixels where neither the user nor the model names them.
        data: name of the file beside the model that takes large weights.
        kwargs: arguments for the callable.
        weights: checkpoint for the model that the callable makes.
        trusted: files may run code.
        batch: images in the example; None leaves it to an exported program, or is 1, and 2 where
            the batch is dynamic.
        size: height and width in pixels; None leaves them to an exported program, or is
            ``default_size``.
        dynamic: names out of ``DYNAMIC``.
        outputs: names of the outputs to keep; empty keeps all.
        opset: opset of the ONNX model.
        atol, rtol: ONNX Runtime may differ from PyTorch by ``atol`` and by this share of PyTorch's
            value.
        check: compare with PyTorch in ONNX Runtime.
        external_bytes: more bytes of weights than this go into the file ``data``.
    """

    default_size: tuple[int, int]
    data: str
    kwargs: Mapping[str, object] = field(default_factory=dict)
    weights: Path | None = None
    trusted: bool = False
    batch: int | None = None
    size: tuple[int, int] | None = None
    dynamic: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    opset: int = 18
    atol: float = 1e-3
    rtol: float = 1e-3
    check: bool = True
    external_bytes: int = EXTERNAL_BYTES


@dataclass(frozen=True)
class ExportedTensor:
    """An input or output of the exported model; dynamic dimensions are names."""

    name: str
    type: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class ExportFacts:
    """Facts about an exported model.

    Attributes:
        exporter: ``dynamo`` or ``torchscript``.
        why: why it was not dynamo; empty if it was.
        baked: lines of the user's code whose outcome the trace took for constant.
        nodes: number of nodes.
        bytes: size of the model.
        external_bytes: size of the weights beside it; 0 if they are inside.
        difference: how far ONNX Runtime is from PyTorch; None if it was not checked.
        notes: what the user should know of the source.
    """

    exporter: str
    why: str
    baked: tuple[str, ...]
    opset: int
    nodes: int
    input: tuple[ExportedTensor, ...]
    outputs: tuple[ExportedTensor, ...]
    bytes: int
    external_bytes: int
    difference: Deviation | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Written:
    """An exporter's attempt that was accepted."""

    bytes: int
    external_bytes: int
    difference: Deviation | None


def run(draft: Path, source: str | Path, options: ExportOptions) -> ExportFacts:
    """Export ``source`` to ``draft/model.onnx``.

    Args:
        source: ``package.module:callable``, or a file: TorchScript archive or ``.pt2``.

    Raises:
        MachineError: torch is missing.
        ForgeError: see ``trtforge.exporting``.
        GateError: ONNX Runtime's outputs are too far from PyTorch's.
    """
    need_torch("export", "torch", "onnxscript")
    from trtforge.exporting import exporters, inputs, outputs, tidy
    from trtforge.exporting.check import compare
    from trtforge.exporting.source import importable, load

    # The user's own code lies in the current folder, and prints where it likes.
    with (
        present.progress("exporting") as done,
        redirect_stdout(sys.stderr),
        importable(os.getcwd()),
    ):
        found = load(source, options.kwargs, options.weights, options.trusted)
        images = _example(found, options)
        done(0.2)
        result = outputs.run(found.module, inputs.random_images(images.shape, 0))
        module = outputs.with_flat_outputs(found.module, result)
        names = list(outputs.flatten(result))
        kept = outputs.select_outputs(result, options.outputs)
        if images.dynamic:
            # PyTorch has to take other sizes itself before the exported model can.
            outputs.run(found.module, inputs.random_images(images.other, 0))
        done(0.4)

        def accept(model: onnx.ModelProto) -> _Written:
            tidy.tidy(model, images.axes)
            tidy.cut(model.graph, kept)
            for key, text in found.stated.items():
                model.metadata_props.add(key=key, value=text)
            path = draft / MODEL
            written = tidy.write(model, path, options.data, options.external_bytes)
            done(0.8)
            difference = None
            if options.check:
                infer = partial(outputs.infer, found.module, kept)
                difference = compare(path, infer, images.checked, options.atol, options.rtol)
            return _Written(written["bytes"], written["external_bytes"], difference)

        exported = exporters.export(found.program, module, images, names, options.opset, accept)
    graph = exported.model.graph
    return ExportFacts(
        exporter=exported.exporter,
        why=exported.why,
        baked=tuple(exported.baked),
        opset=options.opset,
        nodes=len(graph.node),
        input=_tensors(graph.input),
        outputs=_tensors(graph.output),
        bytes=exported.report.bytes,
        external_bytes=exported.report.external_bytes,
        difference=exported.report.difference,
        notes=tuple(found.notes),
    )


def _example(found: LoadedModel, options: ExportOptions) -> Images:
    """Return which images the model is traced and checked with."""
    from trtforge.exporting import inputs

    if found.program:
        return inputs.from_program(found.program, options.batch, options.size, options.dynamic)
    size = options.size or options.default_size
    return inputs.from_options(options.batch, size, options.dynamic)


def remarks(facts: ExportFacts) -> list[str]:
    """Return what the user should know of a result that has passed the check."""
    lines = list(facts.notes)
    if facts.why:
        lines.append(f"exported with the TorchScript exporter; dynamo: {facts.why}")
    lines += [
        f"warning: the trace took the outcome of this line for constant: {line}"
        for line in facts.baked
    ]
    if facts.opset > NEWEST_TENSORRT_10:
        lines.append(
            f"opset {facts.opset}: TensorRT 10 reads no newer one than {NEWEST_TENSORRT_10}"
        )
    return lines


def summarize(facts: ExportFacts) -> str:
    """Return the facts in a few lines for people."""
    size = present.size(facts.bytes)
    if facts.external_bytes:
        size += f", and {present.size(facts.external_bytes)} of weights beside it"
    rows = [
        ["size", f"{size}; {facts.nodes} nodes, opset {facts.opset}"],
        ["exporter", facts.exporter],
        *(["input", _describe(tensor)] for tensor in facts.input),
        *(["output", _describe(tensor)] for tensor in facts.outputs),
        ["check", _describe_difference(facts.difference)],
    ]
    return present.table(rows)


def _describe(tensor: ExportedTensor) -> str:
    return f"{tensor.name} {tensor.type} ({', '.join(map(str, tensor.shape))})"


def _describe_difference(difference: Deviation | None) -> str:
    if difference is None:
        return "not compared with PyTorch"
    shapes = " and ".join("x".join(map(str, shape)) for shape in difference.shapes)
    return (
        f"largest difference from PyTorch {difference.largest:.1e} "
        f"(relative {difference.relative:.1e}) on {difference.inputs} random inputs of {shapes}"
    )


def need_torch(task: str, *packages: str) -> None:
    """Refuse a task whose packages this Python lacks.

    Raises:
        MachineError: a package is missing; the message names it.
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise MachineError(
            f"{task} needs {' and '.join(missing)}, which this Python lacks",
            "pip install 'trtforge[torch]'; the CPU build is enough: "
            "--extra-index-url https://download.pytorch.org/whl/cpu",
        )


def _tensors(values: Sequence[onnx.ValueInfoProto]) -> tuple[ExportedTensor, ...]:
    import onnx

    found = []
    for value in values:
        tensor = value.type.tensor_type
        shape = tuple(dim.dim_param or dim.dim_value for dim in tensor.shape.dim)
        kind = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
        found.append(ExportedTensor(value.name, kind, shape))
    return tuple(found)
