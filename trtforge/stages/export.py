"""PyTorch -> model: exported, checked, and compared with PyTorch."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtforge import present
from trtforge.errors import MachineError
from trtforge.stages import MODEL
from trtforge.store import Facts

if TYPE_CHECKING:
    import onnx

OPSETS = range(9, 24)  # older ones TensorRT does not read, newer ones torch does not write
NEWEST_TENSORRT_10 = 20
DYNAMIC = ("batch", "height", "width")
EXTERNAL_BYTES = (
    2**31 - 2**24
)  # weights over this go into a file of their own: a protobuf ends at 2 GiB


def run(
    draft: Path,
    source: str | Path,
    *,
    kwargs: Mapping[str, Any],
    weights: Path | None,
    trusted: bool,
    batch: int | None,
    size: tuple[int, int] | None,
    default_size: tuple[int, int],
    dynamic: Sequence[str],
    wanted: Sequence[str],
    opset: int,
    atol: float,
    rtol: float,
    check: bool,
    data: str,
    external_bytes: int = EXTERNAL_BYTES,
) -> Facts:
    """Export ``source`` to ``draft/model.onnx``.

    Args:
        source: ``package.module:callable``, or a file: TorchScript archive or ``.pt2``.
        kwargs: arguments for the callable.
        weights: checkpoint for the model that the callable makes.
        trusted: files may run code.
        batch: images in the example; None leaves it to an exported program, or is 1, and 2 where it
            is dynamic.
        size: height and width in pixels; None leaves them to an exported program, or is
            ``default_size``.
        dynamic: of ``DYNAMIC``.
        wanted: names of the outputs to keep; all without any.
        opset: of the ONNX model.
        atol: how far ONNX Runtime may be from PyTorch, plus
        rtol: this share of PyTorch's value.
        check: compare with PyTorch in ONNX Runtime.
        data: file beside the model for weights of more than ``external_bytes``.

    Returns:
        exporter, why (it was not dynamo), baked (lines whose outcome the trace took for constant),
        opset, nodes, bytes, external_bytes, input, outputs, difference (None unchecked), notes.

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
        found = load(source, kwargs, weights, trusted)
        images = (
            inputs.from_program(found.program, batch, size, tuple(dynamic))
            if found.program
            else inputs.from_options(batch, size or default_size, tuple(dynamic))
        )
        done(0.2)
        result = outputs.run(found.module, inputs.random_images(images.shape, 0))
        module, names = (
            outputs.with_flat_outputs(found.module, result),
            list(outputs.flatten(result)),
        )
        kept = outputs.select_outputs(result, wanted)
        if images.dynamic:
            outputs.run(
                found.module, inputs.random_images(images.other, 0)
            )  # PyTorch's own word on what may change
        done(0.4)

        def accept(model: onnx.ModelProto) -> Facts:
            tidy.tidy(model, images.axes)
            tidy.cut(model.graph, kept)
            facts = tidy.write(model, draft / MODEL, data, external_bytes)
            done(0.8)
            infer = partial(outputs.infer, found.module, kept)
            apart = compare(draft / MODEL, infer, images.checked, atol, rtol) if check else None
            return {**facts, "difference": apart and apart.facts}

        exported = exporters.export(found.program, module, images, names, opset, accept)
    return {
        "exporter": exported.exporter,
        "why": exported.why,
        "baked": exported.baked,
        "opset": opset,
        "nodes": len(exported.model.graph.node),
        "input": _tensors(exported.model.graph.input),
        "outputs": _tensors(exported.model.graph.output),
        **exported.report,
        "notes": found.notes,
    }


def remarks(facts: Facts) -> list[str]:
    """What the user should know of a result that is right by the check."""
    found = list(facts["notes"])
    if facts["why"]:
        found.append(f"exported with the TorchScript exporter; dynamo: {facts['why']}")
    found += [
        f"warning: the trace took the outcome of this line for constant: {line}"
        for line in facts["baked"]
    ]
    if facts["opset"] > NEWEST_TENSORRT_10:
        found.append(
            f"opset {facts['opset']}: TensorRT 10 reads no newer one than {NEWEST_TENSORRT_10}"
        )
    return found


def say(facts: Facts) -> str:
    """A few lines for people."""
    weights = (
        f", and {present.size(facts['external_bytes'])} of weights beside it"
        if facts["external_bytes"]
        else ""
    )
    rows = [
        [
            "size",
            f"{present.size(facts['bytes'])}{weights}; {facts['nodes']} nodes, opset {facts['opset']}",
        ],
        ["exporter", facts["exporter"]],
        *(
            [kind, f"{each['name']} {each['type']} ({', '.join(map(str, each['shape']))})"]
            for kind, tensors in (("input", facts["input"]), ("output", facts["outputs"]))
            for each in tensors
        ),
        ["check", _say_difference(facts)],
    ]
    return present.table(rows)


def _say_difference(facts: Facts) -> str:
    found = facts["difference"]
    if not found:
        return "not compared with PyTorch"
    shapes = " and ".join("x".join(map(str, shape)) for shape in found["shapes"])
    return (
        f"largest difference from PyTorch {found['largest']:.1e} (relative {found['relative']:.1e}) "
        f"on {found['inputs']} random inputs of {shapes}"
    )


def need_torch(task: str, *packages: str) -> None:
    """Refuse what ``packages`` are needed for, and this Python lacks.

    Raises:
        MachineError: it names them.
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise MachineError(
            f"{task} needs {' and '.join(missing)}, which this Python lacks",
            "pip install 'trtforge[torch]'; the CPU build is enough: "
            "--extra-index-url https://download.pytorch.org/whl/cpu",
        )


def _tensors(values: Sequence[onnx.ValueInfoProto]) -> list[Facts]:
    import onnx

    found = []
    for value in values:
        tensor = value.type.tensor_type
        found.append(
            {
                "name": value.name,
                "type": onnx.TensorProto.DataType.Name(tensor.elem_type).lower(),
                "shape": [dim.dim_param or dim.dim_value for dim in tensor.shape.dim],
            }
        )
    return found
