"""clean + ranges -> typed: INT8 by Q/DQ nodes."""

from __future__ import annotations

from pathlib import Path

from trtforge.stages import MODEL
from trtforge.store import Facts, Stage


def run(draft: Path, model: Path, ranges: Path, *, keep: list[str]) -> Facts:
    """Write ``draft/model.onnx``: INT8 at learned convolutions and matrix products, float elsewhere.

    Args:
        model: folded float model.
        ranges: calibration table of that model.
        keep: node name patterns that stay float.

    Returns:
        numbers of learned operators, of those in INT8, and of tensors with Q/DQ.

    Raises:
        ForgeError: the table does not belong to the model, or is damaged.
    """
    from trtforge.calibrate import ranges as tables
    from trtforge.graph.heads import learned
    from trtforge.graph.model import graph_of, load, model_of, save
    from trtforge.graph.qdq import place, quantize

    graph = graph_of(load(model))
    total = len(learned(graph))
    placement = place(graph, tuple(keep))
    quantize(graph, placement, tables.load(ranges).amax)
    save(model_of(graph), draft / MODEL)
    return {"learned": total, "int8": len(placement.operators), "tensors": len(placement.tensors)}


STAGE = Stage("quantize", 1, ("onnx", "onnx-graphsurgeon", "numpy"), run)
