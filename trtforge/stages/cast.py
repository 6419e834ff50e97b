"""clean, or Q/DQ -> typed: float becomes FP16, except in inputs, outputs and the decode."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trtforge.stages import MODEL
from trtforge.store import File, Stage


@dataclass(frozen=True)
class CastInputs:
    """A float32 model, with or without Q/DQ."""

    model: File


@dataclass(frozen=True)
class CastOptions:
    """Nodes that keep their precision.

    Attributes:
        keep: patterns of the names of nodes that stay FP32.
    """

    keep: tuple[str, ...] = ()


@dataclass(frozen=True)
class CastFacts:
    """Facts about a graph in FP16.

    Attributes:
        casts: number of Cast nodes in it.
        normalising: number of nodes of written-out normalisations, which stay FP32.
    """

    casts: int = 0
    normalising: int = 0


def run(draft: Path, inputs: CastInputs, options: CastOptions) -> CastFacts:
    """Write ``draft/model.onnx``.

    Raises:
        ForgeError: the model has control flow.
    """
    from trtforge.graph.model import graph_of, load, model_of, save
    from trtforge.graph.precision.half import to_half
    from trtforge.graph.precision.normalise import normalising
    from trtforge.graph.quantize.tensorrt import suit_tensorrt

    graph = graph_of(load(inputs.model.path))
    kept = len(normalising(graph))
    result = model_of(suit_tensorrt(to_half(graph, options.keep)))
    save(result, draft / MODEL)
    return CastFacts(sum(node.op_type == "Cast" for node in result.graph.node), kept)


def summarize(facts: CastFacts) -> str:
    """Return the facts in a line for people."""
    kept = f", {facts.normalising} nodes of normalisations stay FP32" if facts.normalising else ""
    return f"FP16, {facts.casts} casts{kept}"


STAGE = Stage("cast", 6, ("onnx", "onnx-graphsurgeon", "numpy"), run, CastFacts, summarize)
