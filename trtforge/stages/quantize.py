"""clean + ranges -> typed: INT8 or FP8 by Q/DQ nodes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trtforge.errors import ForgeError
from trtforge.stages import MODEL, refine
from trtforge.stages.calibrate import TABLE
from trtforge.store import Facts, Stage, digest


def run(
    draft: Path,
    model: Path,
    ranges: Path,
    weights: Path | None = None,
    *,
    keep: list[str],
    float_heads: bool,
    only: Sequence[str] = (),
    form: str = "int8",
) -> Facts:
    """Write ``draft/model.onnx``: INT8 or FP8 at learned convolutions and matrix products, float
    elsewhere.

    Args:
        model: folded float model.
        ranges: calibration table of that model, or a calibration cache that TensorRT made of it.
        weights: refined INT8 weights (see ``trtforge.stages.refine``); None rounds them to nearest.
        keep: node name patterns that stay float.
        float_heads: whether the last learned operator of each branch stays float.
        only: patterns of the names of all that may be quantized; none is no limit.
        form: ``int8`` or ``fp8``.

    Returns:
        numbers of learned operators, of those quantized, and of tensors with Q/DQ.

    Raises:
        ForgeError: the table does not belong to the model, or is damaged.
    """
    from trtforge.calibration import ranges as tables
    from trtforge.graph.heads import learned
    from trtforge.graph.model import graph_of, load, model_of, save
    from trtforge.graph.quantize import rounding
    from trtforge.graph.quantize.qdq import FORMATS, place, quantize

    table = tables.load(ranges)
    if table.source and table.source.model != digest(model):
        raise ForgeError(
            f"{ranges}: made from another model than {model.name}", "calibrate this one"
        )
    graph = graph_of(load(model))
    total = len(learned(graph))
    placement = place(graph, tuple(keep), float_heads, tuple(only))
    quantize(
        graph,
        placement,
        tables.per_tensor(placement.groups, table.amax),
        FORMATS[form],
        rounding.load(weights) if weights else None,
    )
    save(model_of(graph), draft / MODEL)
    return {
        "learned": total,
        "quantized": len(placement.operators),
        "tensors": len(placement.tensors),
        "form": form,
    }


def refined(draft: Path, model: Path, ranges: Path, images: Path, **options: Any) -> Facts:
    """Refine, then quantize: for ``trtforge quantize --calib``."""
    refine.run(draft, model, ranges, images)
    return run(draft, model, draft / TABLE, draft / refine.WEIGHTS, **options)


def say(facts: Facts) -> str:
    return (
        f"{facts['quantized']} of {facts['learned']} learned operators in {facts['form'].upper()}"
    )


STAGE = Stage("quantize", 2, ("onnx", "onnx-graphsurgeon", "numpy"), run, say)
