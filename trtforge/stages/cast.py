"""clean, or Q/DQ -> typed: what is float becomes FP16, but for inputs, outputs and the decode."""

from __future__ import annotations

from pathlib import Path

from trtforge.stages import MODEL
from trtforge.store import Facts, Stage


def run(draft: Path, model: Path, *, keep: list[str]) -> Facts:
    """Write ``draft/model.onnx``.

    Args:
        model: float32 model, with or without Q/DQ.
        keep: node name patterns that stay FP32.

    Returns:
        number of Cast nodes in the result.

    Raises:
        ForgeError: the model has control flow.
    """
    from trtforge.graph.model import graph_of, load, model_of, save
    from trtforge.graph.precision.half import to_half

    graph = to_half(graph_of(load(model)), tuple(keep))
    result = model_of(graph)
    save(result, draft / MODEL)
    return {"casts": sum(node.op_type == "Cast" for node in result.graph.node)}


def say(facts: Facts) -> str:
    return f"FP16, {facts['casts']} casts"


STAGE = Stage("cast", 2, ("onnx", "onnx-graphsurgeon", "numpy"), run, say)
