"""model -> clean: constants folded, one opset, an NMS plugin cut away."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from trtforge.errors import ForgeError
from trtforge.stages import MODEL
from trtforge.store import Facts, Stage

if TYPE_CHECKING:
    import onnx

TOLERANCE = 1e-4  # of the largest output: folding reorders float arithmetic, and must do nothing else


def run(
    draft: Path, model: Path, *, size: list[int] | None, default_size: list[int], head: str, check: bool,
    opset: int = 19,
) -> Facts:  # fmt: skip
    """Fold ``model`` into ``draft/model.onnx``.

    Args:
        size: height and width in pixels that the model must have or take.
        default_size: height and width for dynamic ones otherwise.
        head: the recipe's word on the outputs, ``auto`` without one.
        opset: the model is raised to, if it is older.
        check: run both graphs in ONNX Runtime and compare.

    Returns:
        nodes before and after, input, size, batch (None is dynamic), outputs, typed (it holds Q/DQ or FP16 already),
        detection (None if there is none).

    Raises:
        ForgeError: the model can't be read, or does not fit the options.
    """
    from trtforge.graph.detection import existing_nms, recognise
    from trtforge.graph.fold import dims, fold, image_input
    from trtforge.graph.model import graph_of, load, model_of, save
    from trtforge.graph.strip import strip_nms

    original = load(model)
    fixed = (size and (size[0], size[1])) or None
    folded = fold(original, fixed, opset=opset, default_size=(default_size[0], default_size[1]))
    graph = graph_of(folded)
    stripped = existing_nms(graph)
    if stripped is not None and stripped.op != "NonMaxSuppression":
        strip_nms(graph)
        folded = model_of(graph)
    elif check:
        _compare(original, folded)
    image = image_input(folded)
    batch, _, height, width = dims(image)
    found = None if head == "none" else recognise(graph_of(folded), None if head == "auto" else head)
    save(folded, draft / MODEL)
    return {
        "nodes_before": len(original.graph.node),
        "nodes": len(folded.graph.node),
        "input": image.name,
        "size": [height, width],
        "batch": batch if isinstance(batch, int) else None,
        "outputs": {output.name: dims(output) for output in folded.graph.output},
        "typed": any(node.op_type == "DequantizeLinear" for node in folded.graph.node)
        or any(tensor.data_type == tensor.FLOAT16 for tensor in folded.graph.initializer),
        "stripped_nms": stripped.op if stripped is not None and stripped.op != "NonMaxSuppression" else None,
        "detection": {"form": found.form, "classes": found.classes, "boxes": found.boxes, "why": found.why}
        if found
        else None,
    }


def _compare(original: onnx.ModelProto, folded: onnx.ModelProto) -> None:
    """Outputs of both graphs on one random image, in ONNX Runtime.

    Raises:
        ForgeError: they differ, or the original does not run.
    """
    import numpy as np

    from trtforge.backends.onnxruntime import run, session
    from trtforge.graph.fold import dims, image_input

    shape = [dim if isinstance(dim, int) else 1 for dim in dims(image_input(folded))]
    images = np.random.default_rng(0).random(shape, np.float32)
    before = run(session(original.SerializeToString()), images)
    after = run(session(folded.SerializeToString()), images)
    for name, values in before.items():
        one, two = values.astype(np.float64), after[name].astype(np.float64)
        scale = float(np.abs(one[np.isfinite(one)]).max(initial=0.0)) or 1.0
        if one.shape != two.shape or not np.allclose(two, one, rtol=0, atol=TOLERANCE * scale, equal_nan=True):
            raise ForgeError(f"folding changed output {name!r}",
                             "please report the model; --no-check folds it all the same")  # fmt: skip


def say(facts: Facts) -> str:
    return f"{facts['nodes_before']} nodes, now {facts['nodes']}"


STAGE = Stage("fold", 1, ("onnx", "onnx-graphsurgeon", "onnxruntime", "numpy"), run, say)
