"""model -> clean: constants folded, one opset, an NMS plugin cut away."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from trtforge.errors import ForgeError
from trtforge.stages import MODEL
from trtforge.store import Facts, Stage

if TYPE_CHECKING:
    import onnx

DEFAULT_SIZE = (640, 640)  # of detectors whose input is dynamic and whose recipe names no size
TOLERANCE = 1e-4  # of the largest output: folding reorders float arithmetic, and must do nothing else


def run(draft: Path, model: Path, *, size: list[int] | None, head: str, check: bool) -> Facts:
    """Fold ``model`` into ``draft/model.onnx``.

    Args:
        size: height and width in pixels for dynamic ones, or None for 640x640.
        head: the recipe's word on the outputs, ``auto`` without one.
        check: run both graphs in ONNX Runtime and compare.

    Returns:
        nodes before and after, input, size, batch (None is dynamic), outputs, detection (None if there is none).

    Raises:
        ForgeError: the model can't be read, or does not fit the options.
    """
    from trtforge.graph import detection as detectors
    from trtforge.graph.fold import dims, fold, image_input
    from trtforge.graph.model import graph_of, load, model_of, save

    original = load(model)
    wanted = (size[0], size[1]) if size else _default_size(dims(image_input(original)))
    folded = fold(original, wanted)
    graph = graph_of(folded)
    stripped = detectors.existing_nms(graph)
    if stripped is not None and stripped.op != "NonMaxSuppression":
        detectors.strip_nms(graph)
        folded = model_of(graph)
    elif check:
        _compare(original, folded, wanted)
    image = image_input(folded)
    batch, _, height, width = dims(image)
    if not (isinstance(height, int) and isinstance(width, int)):
        raise ForgeError(f"input {image.name!r} has no fixed height and width", "give --size HxW")
    found = None if head == "none" else detectors.recognise(graph_of(folded), None if head == "auto" else head)
    save(folded, draft / MODEL)
    return {
        "nodes_before": len(original.graph.node),
        "nodes": len(folded.graph.node),
        "input": image.name,
        "size": [height, width],
        "batch": batch if isinstance(batch, int) else None,
        "outputs": {output.name: dims(output) for output in folded.graph.output},
        "stripped_nms": stripped.op if stripped is not None and stripped.op != "NonMaxSuppression" else None,
        "detection": {"form": found.form, "classes": found.classes, "boxes": found.boxes, "why": found.why}
        if found
        else None,
    }


def _default_size(input_dims: list[int | str]) -> tuple[int, int] | None:
    return None if all(isinstance(dim, int) for dim in input_dims[2:]) else DEFAULT_SIZE


def _compare(original: onnx.ModelProto, folded: onnx.ModelProto, size: tuple[int, int] | None) -> None:
    """Outputs of both graphs on one random image, in ONNX Runtime.

    Raises:
        ForgeError: they differ, or the original does not run.
    """
    import numpy as np

    from trtforge.backends.onnxruntime import run, session
    from trtforge.graph.fold import dims, image_input
    from trtforge.graph.model import PROTOBUF_LIMIT

    if original.ByteSize() >= PROTOBUF_LIMIT:
        return
    shape = [dim if isinstance(dim, int) else 1 for dim in dims(image_input(folded))]
    images = np.random.default_rng(0).random(shape, np.float32)
    before = run(session(original.SerializeToString()), images)
    after = run(session(folded.SerializeToString()), images)
    for name, values in before.items():
        scale = float(np.abs(values.astype(np.float64)).max(initial=0.0)) or 1.0
        error = float(np.abs(values.astype(np.float64) - after[name]).max(initial=0.0)) / scale
        if error > TOLERANCE or values.shape != after[name].shape:
            raise ForgeError(f"folding changed output {name!r} by {error:.2e} of its largest value",
                             "please report the model; --no-check folds it all the same")  # fmt: skip


STAGE = Stage("fold", 1, ("onnx", "onnx-graphsurgeon", "onnxruntime", "numpy"), run)
