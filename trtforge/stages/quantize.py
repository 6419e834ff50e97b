"""clean + ranges -> typed: INT8 or FP8 by Q/DQ nodes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trtforge.errors import ForgeError
from trtforge.names import TABLE
from trtforge.stages import MODEL, refine
from trtforge.store import File, Stage, digest

Form = Literal["int8", "fp8"]


@dataclass(frozen=True)
class QuantizeInputs:
    """The files that quantization reads.

    Attributes:
        model: folded float model.
        ranges: calibration table of the model, or a calibration cache that TensorRT wrote for it.
        weights: refined INT8 weights (see ``trtforge.stages.refine``); None rounds to nearest.
    """

    model: File
    ranges: File
    weights: File | None = None


@dataclass(frozen=True)
class QuantizeOptions:
    """Options of quantization.

    Attributes:
        keep: patterns of the names of nodes that stay float.
        only: patterns of the names of all nodes that may be quantized; empty means no limit.
        float_heads: the last learned operator of each branch stays float.
        form: ``int8`` or ``fp8``.
    """

    keep: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    float_heads: bool = False
    form: Form = "int8"


@dataclass(frozen=True)
class QuantizeFacts:
    """Facts about a quantized graph.

    Attributes:
        learned: number of learned operators.
        quantized: number of learned operators that are quantized.
        tensors: number of tensors with Q/DQ.
        form: ``int8`` or ``fp8``.
    """

    learned: int = 0
    quantized: int = 0
    tensors: int = 0
    form: Form = "int8"


def run(draft: Path, inputs: QuantizeInputs, options: QuantizeOptions) -> QuantizeFacts:
    """Write ``draft/model.onnx``: learned convolutions and matrix products with Q/DQ nodes.

    Raises:
        ForgeError: the table does not belong to the model, or is damaged.
    """
    from trtforge.calibration import ranges as tables
    from trtforge.graph.heads import learned
    from trtforge.graph.model import graph_of, load, model_of, save
    from trtforge.graph.quantize import rounding
    from trtforge.graph.quantize.qdq import FORMATS, place, quantize

    model = inputs.model.path
    table = tables.load(inputs.ranges.path)
    if table.source and table.source.model != digest(model):
        raise ForgeError(
            f"{inputs.ranges.path}: made from another model than {model.name}", "calibrate this one"
        )
    graph = graph_of(load(model))
    total = len(learned(graph))
    placement = place(graph, options.keep, options.float_heads, options.only)
    quantize(
        graph,
        placement,
        tables.per_tensor(placement.groups, table.amax),
        FORMATS[options.form],
        rounding.load(inputs.weights.path) if inputs.weights else None,
    )
    save(model_of(graph), draft / MODEL)
    return QuantizeFacts(
        learned=total,
        quantized=len(placement.operators),
        tensors=len(placement.tensors),
        form=options.form,
    )


def refine_and_quantize(
    draft: Path, inputs: refine.RefineInputs, options: QuantizeOptions
) -> QuantizeFacts:
    """Refine ranges and weights, then quantize, for ``trtforge quantize --calib``."""
    refine.run(draft, inputs)
    refined = QuantizeInputs(inputs.model, File(draft / TABLE), File(draft / refine.WEIGHTS))
    return run(draft, refined, options)


def summarize(facts: QuantizeFacts) -> str:
    """Return the facts in a line for people."""
    return f"{facts.quantized} of {facts.learned} learned operators in {facts.form.upper()}"


TOOLS = ("onnx", "onnx-graphsurgeon", "numpy")
STAGE = Stage("quantize", 4, TOOLS, run, QuantizeFacts, summarize)
