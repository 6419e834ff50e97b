"""typed -> ready: the outputs that the target wants."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from trtforge.stages import MODEL
from trtforge.store import Facts, Stage

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from trtforge.recipe import Recipe


def run(
    draft: Path,
    model: Path,
    *,
    form: str,
    impl: str,
    head: str,
    nms: Mapping[str, Any],
    decode: Mapping[str, Any] | None = None,
) -> Facts:
    """Write ``draft/model.onnx`` with NMS in the given form, and a decode that fuses.

    Args:
        model: typed model.
        form: none, keep, onnx, efficientnms or deepstream.
        impl: auto, plugin or onnx, what the deepstream form is made of.
        head: the recipe's word on the outputs, ``auto`` without one.
        nms: thresholds, the recipe's section.
        decode: figures of the head, the recipe's section.

    Returns:
        see ``trtforge.graph.nms.apply``.

    Raises:
        ForgeError: no detector is recognised and ``form`` is not none.
    """
    from trtforge.graph.model import graph_of, load, model_of, save

    graph = graph_of(load(model))
    facts = _suppressed(graph, form, impl, head, nms, decode)
    save(model_of(graph), draft / MODEL)
    return facts


def edit(
    draft: Path,
    model: Path,
    *,
    form: str,
    impl: str,
    recipe: Recipe,
    front: bool,
    normalization: bool,
    color: str | None,
) -> Facts:
    """Everything that ``trtforge patch`` can do, on one file: the recipe's patches, what comes
    before the first convolution, and NMS.

    Args:
        form, impl: as for ``run``.
        recipe: patches, preprocessing, head, thresholds.
        front: put uint8 NHWC to normalised NCHW into the graph.
        normalization: fold means and deviations into the first convolution.
        color: the order of channels that the graph is to take; None leaves the recipe's.

    Returns:
        as ``run``; and ``feed``, what the graph takes now.

    Raises:
        ForgeError: see the graph functions.
    """
    import onnx

    from trtforge.graph.edit.nodes import first_image
    from trtforge.graph.edit.patches import apply_patches
    from trtforge.graph.edit.preprocess import fold_normalization, image_front, swap_channels
    from trtforge.graph.model import graph_of, load, model_of, save

    graph = graph_of(onnx.shape_inference.infer_shapes(load(model)))
    apply_patches(graph, recipe.patches)
    spec = recipe.preprocess
    if color and color != spec.color:
        spec = swap_channels(graph, spec)
    if normalization:
        spec = fold_normalization(graph, spec)
    facts = _suppressed(
        graph, form, impl, recipe.head, recipe.nms.model_dump(), recipe.decode.model_dump()
    )
    image = first_image(graph)
    feed: Facts = {
        "dtype": "float32",
        "order": "NCHW",
        **spec.model_dump(include={"scale", "offsets", "std", "color"}),
    }
    if front:
        image_front(graph, spec)
        feed = {"dtype": "uint8", "order": "NHWC", "color": "rgb"}
    facts["feed"] = {
        "name": graph.inputs[0].name if front else image.name if image else None,
        **feed,
    }
    facts["patches"] = [each.patch for each in recipe.patches]
    save(model_of(graph), draft / MODEL)
    return facts


def _suppressed(
    graph: gs.Graph,
    form: str,
    impl: str,
    head: str,
    nms: Mapping[str, Any],
    decode: Mapping[str, Any] | None,
) -> Facts:
    """NMS in its form, and a decode that fuses."""
    from trtforge.graph.fold.expectation import fuse_expectations
    from trtforge.graph.nms import NmsForm, NmsImpl, NmsOptions, apply
    from trtforge.recipe import Decode

    hint = None if head in ("auto", "none") else head
    figures = Decode.model_validate(decode or {})
    facts = apply(
        graph, cast("NmsForm", form), NmsOptions(**nms), cast("NmsImpl", impl), hint, figures
    )
    fuse_expectations(graph)
    return facts


def listed(model: Path, recipe: Recipe) -> Facts:
    """What ``trtforge patch --list`` shows: inputs, outputs, what they are taken for and why, and
    NMS that is there.

    Raises:
        ForgeError: the file is no model.
    """
    from dataclasses import asdict

    from trtforge.graph.detection import existing_nms, looks_like, recognise, without_boxes
    from trtforge.graph.model import graph_of, load

    graph = graph_of(load(model))
    node = existing_nms(graph)
    found = recognise(graph, recipe.head_hint, recipe.decode)
    likely = [] if found else looks_like(graph)
    tensors = [
        {
            "kind": kind,
            "name": tensor.name,
            "dtype": str(tensor.dtype),
            "shape": list(tensor.shape or []),
        }
        for kind, each in (("input", graph.inputs), ("output", graph.outputs))
        for tensor in each
    ]
    return {
        "tensors": tensors,
        "nodes": len(graph.nodes),
        "opset": graph.opset,
        "nms": f"{node.name} ({node.op})" if node is not None else None,
        "detection": {**asdict(found), "decode": None} if found else None,
        "likely": [{"why": each.why, "ask": each.ask} for each in likely],
        "other": None if found or likely else without_boxes(graph),
    }


def say(facts: Facts) -> str:
    return f"NMS: {facts['form']}" + (f" ({facts['impl']})" if facts["impl"] else "")


STAGE = Stage("patch", 3, ("onnx", "onnx-graphsurgeon", "onnxruntime", "numpy"), run, say)
