"""typed -> ready: the outputs that the target wants."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from trtforge.stages import MODEL
from trtforge.store import Facts, Stage


def run(draft: Path, model: Path, *, form: str, impl: str, head: str, nms: dict[str, Any]) -> Facts:
    """Write ``draft/model.onnx`` with NMS in the given form, and a decode that fuses.

    Args:
        model: typed model.
        form: none, onnx, efficientnms or deepstream.
        impl: plugin or onnx, what the deepstream form is made of.
        head: the recipe's word on the outputs, ``auto`` without one.
        nms: thresholds, the recipe's section.

    Returns:
        see ``trtforge.graph.nms.apply``.

    Raises:
        ForgeError: no detector is recognised and ``form`` is not none.
    """
    from trtforge.graph.expectation import fuse_expectations
    from trtforge.graph.model import graph_of, load, model_of, save
    from trtforge.graph.nms import NmsForm, NmsImpl, NmsOptions, apply

    graph = graph_of(load(model))
    hint = None if head in ("auto", "none") else head
    facts = apply(graph, cast(NmsForm, form), NmsOptions(**nms), cast(NmsImpl, impl), hint)
    fuse_expectations(graph)
    save(model_of(graph), draft / MODEL)
    return facts


def say(facts: Facts) -> str:
    return f"NMS: {facts['form']}" + (f" ({facts['impl']})" if facts["impl"] else "")


STAGE = Stage("patch", 2, ("onnx", "onnx-graphsurgeon", "numpy"), run, say)
