"""Compare what TensorRT-RTX's builder takes: a model as it is, and after each of our rewrites."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx

from tests.random_graphs import SIDE
from trtforge.backends import tensorrt_rtx
from trtforge.errors import BuildError, ForgeError
from trtforge.graph.fold import fold
from trtforge.graph.fold.equality import different
from trtforge.graph.model import graph_of, model_of, save
from trtforge.graph.precision.half import to_half
from trtforge.graph.quantize.qdq import place, quantize

SM = 89


@dataclass(frozen=True)
class Verdict:
    """What the builder said of a model and of its rewrites.

    Attributes:
        raw: why it refuses the model as it is; empty if it takes it.
        ours: for each rewrite, why it is refused though the model is not; empty if all are taken.
    """

    raw: str
    ours: dict[str, str]


def compare(model: onnx.ModelProto, folder: Path) -> Verdict:
    """Build a model raw, folded, in FP16, in INT8, and in INT8 with FP16 as the rest."""
    raw = refusal(model, folder)
    if raw:
        return Verdict(raw, {})
    ours: dict[str, str] = {}
    try:
        for name, rewritten in _rewrites(model):
            why = refusal(rewritten, folder)
            if why:
                ours[name] = why
    except ForgeError as error:
        ours["rewrite"] = error.problem
    return Verdict(raw, ours)


def refusal(model: onnx.ModelProto, folder: Path) -> str:
    """Return why the builder refuses a model; empty if it takes it."""
    path = folder / "model.onnx"
    save(model, path)
    try:
        tensorrt_rtx.build(
            path, sm=SM, batch=(1, 2, 4), size=(SIDE, SIDE), progress=lambda share: None
        )
    except BuildError as error:
        return error.problem
    return ""


def _rewrites(model: onnx.ModelProto) -> Iterator[tuple[str, onnx.ModelProto]]:
    yield "fold", fold(model)
    folded = fold(model, default_size=(SIDE, SIDE))
    if folded.graph.input != fold(model).graph.input:
        yield "fold to a size", folded
    changed = different(model, folded)
    if changed:
        raise ForgeError(f"folding changed {changed!r}")
    half = model_of(to_half(graph_of(folded)))
    yield "fp16", half
    yield "folding the FP16 graph", fold(half)
    try:
        placement = place(graph_of(folded))
    except ForgeError:  # nothing to quantize
        return
    amax = dict.fromkeys(placement.tensors, 4.0)
    quantized = model_of(quantize(graph_of(folded), placement, amax))
    yield "int8", quantized
    yield "folding the INT8 graph", fold(quantized)
    yield "int8 and fp16", model_of(to_half(graph_of(quantized)))
