"""model -> clean: constants folded, one opset, an NMS plugin cut away."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtforge.errors import ForgeError
from trtforge.stages import MODEL
from trtforge.store import Facts, Stage

if TYPE_CHECKING:
    import onnx


def run(
    draft: Path,
    model: Path,
    *,
    size: list[int] | None,
    default_size: list[int],
    head: str,
    check: bool,
    decode: dict[str, Any] | None = None,
    batch: int | None = None,
    image: bool = True,
    opset: int | None = None,
) -> Facts:
    """Fold ``model`` into ``draft/model.onnx``.

    Args:
        size: height and width in pixels that the model must have or take.
        default_size: height and width for dynamic ones otherwise.
        head: the recipe's word on the outputs, ``auto`` without one.
        opset: the model is raised to, if it is older; None is the one that Q/DQ and casts need.
        check: run both graphs in ONNX Runtime and compare.
        decode: figures of the head, the recipe's section.
        batch: the batch that the model must have or take; None leaves it.
        image: refuse a model whose input is not one batch of colour images.

    Returns:
        nodes before and after, input and its size (None without one image input), batch (None is
        dynamic), outputs, typed (it holds Q/DQ or FP16 already), detection (None if there is none),
        names of nodes that are constant and too large to be folded, likely (what the outputs may
        be, and what decides).

    Raises:
        ForgeError: the model can't be read, has NaN among its weights, or does not fit the options.
    """
    from trtforge.graph.detection import existing_nms, looks_like, recognise
    from trtforge.graph.fold import OPSET, fold
    from trtforge.graph.fold.constants import left_alone, nan_weight
    from trtforge.graph.fold.equality import different
    from trtforge.graph.inputs import dims, image_input
    from trtforge.graph.model import graph_of, load, model_of, save
    from trtforge.graph.nms.strip import strip_nms
    from trtforge.graph.shapes import Shapes
    from trtforge.recipe import Decode

    original = load(model)
    if image:
        image_input(original)
    height_width = (default_size[0], default_size[1])
    folded = fold(
        original,
        (size and (size[0], size[1])) or None,
        default_size=height_width,
        batch=batch,
        opset=opset or OPSET,
    )
    broken = nan_weight(folded)
    if broken:
        raise ForgeError(
            f"node {broken[0]!r} has NaN among its weights ({broken[1]!r}), so the model computes nothing",
            "export it from a checkpoint whose training did not diverge",
        )
    changed = different(original, folded) if check else None
    if changed:
        raise ForgeError(
            f"folding changed {changed!r}",
            "please report the model; --no-check folds it all the same",
        )
    graph = graph_of(folded)
    large = left_alone(graph, Shapes(graph))
    stripped = existing_nms(graph)
    if stripped is not None and stripped.op != "NonMaxSuppression":
        strip_nms(graph)
        folded = model_of(graph)
    figures = Decode.model_validate(decode or {})
    found = (
        None
        if head == "none"
        else recognise(graph_of(folded), None if head == "auto" else head, figures)
    )
    likely = [] if found or head == "none" else looks_like(graph_of(folded))
    save(folded, draft / MODEL)
    return {
        "nodes_before": len(original.graph.node),
        "nodes": len(folded.graph.node),
        **_image(folded),
        "outputs": {output.name: dims(output) for output in folded.graph.output},
        "typed": any(node.op_type == "DequantizeLinear" for node in folded.graph.node)
        or any(tensor.data_type == tensor.FLOAT16 for tensor in folded.graph.initializer),
        "stripped_nms": stripped.op
        if stripped is not None and stripped.op != "NonMaxSuppression"
        else None,
        "detection": {
            "form": found.form,
            "classes": found.classes,
            "boxes": found.boxes,
            "why": found.why,
        }
        if found
        else None,
        "likely": f"{likely[0].why}: {likely[0].ask}" if likely else "",
        "too_large": large,
    }


def _image(model: onnx.ModelProto) -> Facts:
    from trtforge.graph.inputs import dims, images, inputs

    if len(inputs(model)) != 1 or not images(model):
        return {"input": None, "size": None, "batch": None}
    batch, _, height, width = dims(images(model)[0])
    return {
        "input": images(model)[0].name,
        "size": [height, width],
        "batch": batch if isinstance(batch, int) else None,
    }


def say(facts: Facts) -> str:
    said = f"{facts['nodes_before']} nodes, now {facts['nodes']}"
    large = facts["too_large"]
    return (
        f"{said}; {len(large)} constant results stay unfolded for their size: {large[0]}"
        if large
        else said
    )


STAGE = Stage("fold", 7, ("onnx", "onnx-graphsurgeon", "onnxruntime", "numpy"), run, say)
