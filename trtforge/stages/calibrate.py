"""clean + images -> ranges: what INT8 has to represent, tensor by tensor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trtforge import present
from trtforge.errors import ForgeError
from trtforge.store import Facts, Stage, digest, version_of

TABLE = "calibration.json"


def run(
    draft: Path,
    model: Path,
    images: Path,
    *,
    preprocess: dict[str, Any],
    method: str,
    percentile: float,
    keep: list[str],
    float_heads: bool,
) -> Facts:
    """Write ``draft/calibration.json`` for the tensors of ``model`` that carry Q/DQ.

    Args:
        model: folded float model.
        images: folder of photographs.
        preprocess: the recipe's section.
        method, percentile: see ``trtforge.calibrate.threshold``.
        keep: node name patterns that stay float.
        float_heads: whether the last learned operator of each branch stays float.

    Returns:
        numbers of images and tensors, and the images that were skipped.

    Raises:
        ForgeError: see ``trtforge.calibrate.collect``.
    """
    from trtforge.calibrate import images as pictures
    from trtforge.calibrate import ranges
    from trtforge.calibrate.collect import collect
    from trtforge.calibrate.histogram import Histogram
    from trtforge.calibrate.threshold import threshold
    from trtforge.graph.edit import input_size
    from trtforge.graph.model import graph_of, load
    from trtforge.graph.qdq import place
    from trtforge.recipe import Preprocess

    spec = Preprocess.model_validate(preprocess)
    graph = graph_of(load(model))
    placement = place(graph, tuple(keep), float_heads)
    size = input_size(graph)
    if size is None:
        raise ForgeError(f"{model}: its input has no fixed height and width", "run `trtforge fold --size HxW` first")
    files = pictures.list_images(images)
    with present.progress(f"calibrating on {len(files)} images", len(files)) as done:
        histograms, skipped = collect(
            graph, placement.observed, files, lambda file: pictures.prepare(file, spec, size), done
        )
    amax: dict[str, float] = {}
    for members, sources in placement.groups:
        shared = Histogram()
        for name in sources:
            shared.merge(histograms[name])
        amax |= dict.fromkeys(members, threshold(shared, method, percentile))
    used = [file for file in files if file not in set(skipped)]
    table = ranges.Ranges(
        amax=amax,
        method=method,
        model=digest(model),
        images=pictures.digest(used, images),
        skipped=[file.relative_to(images).as_posix() for file in skipped],
        preprocess=spec.model_dump(mode="json"),
        versions={tool: version_of(tool) for tool in STAGE.tools},
    )
    ranges.save(table, draft / TABLE)
    return {"images": len(used), "skipped": table.skipped, "tensors": len(amax), "scales": len(placement.groups)}


def say(facts: Facts) -> str:
    found = f"{facts['tensors']} tensors from {facts['images']} images"
    return f"{found}, {len(facts['skipped'])} unreadable skipped: {facts['skipped'][0]}" if facts["skipped"] else found


STAGE = Stage("calibrate", 1, ("onnx", "onnx-graphsurgeon", "onnxruntime", "numpy", "pillow"), run, say)
