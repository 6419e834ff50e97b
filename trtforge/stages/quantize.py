"""clean + ranges -> typed: INT8 by Q/DQ nodes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from trtforge.errors import ForgeError
from trtforge.stages import MODEL
from trtforge.store import Facts, Stage, digest

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from trtforge.calibrate.ranges import Ranges
    from trtforge.graph.qdq import Placement
    from trtforge.graph.rounding import Rounded


def run(
    draft: Path, model: Path, ranges: Path, images: Path | None = None, *, keep: list[str], float_heads: bool
) -> Facts:
    """Write ``draft/model.onnx``: INT8 at learned convolutions and matrix products, float elsewhere.

    Args:
        model: folded float model.
        ranges: calibration table of that model.
        images: the folder that the table was made from: ranges and weights are then refined by the errors that they
            make on these images. Without it weights are rounded to nearest.
        keep: node name patterns that stay float.
        float_heads: whether the last learned operator of each branch stays float.

    Returns:
        numbers of learned operators, of those in INT8, of tensors with Q/DQ, and of convolutions with refined weights;
        and the ranges that were narrowed.

    Raises:
        ForgeError: the table does not belong to the model, or is damaged; the folder holds none of its images.
    """
    from trtforge.calibrate import ranges as tables
    from trtforge.graph.heads import learned
    from trtforge.graph.model import graph_of, load, model_of, save
    from trtforge.graph.qdq import place, quantize

    table = tables.load(ranges)
    if table.model != digest(model):
        raise ForgeError(f"{ranges}: made from another model than {model.name}", "calibrate this one")
    graph = graph_of(load(model))
    total = len(learned(graph))
    placement = place(graph, tuple(keep), float_heads)
    narrowed, weights = _refined(graph, placement, table, images) if images else ({}, {})
    quantize(graph, placement, {**table.amax, **narrowed}, weights)
    save(model_of(graph), draft / MODEL)
    return {"learned": total, "int8": len(placement.operators), "tensors": len(placement.tensors),
            "refined": len(weights), "narrowed": narrowed}  # fmt: skip


def _refined(
    graph: gs.Graph, placement: Placement, table: Ranges, images: Path
) -> tuple[dict[str, float], dict[str, Rounded]]:
    """Narrower ranges, and weights for them."""
    from threadpoolctl import threadpool_limits

    from trtforge import present
    from trtforge.calibrate import images as pictures
    from trtforge.calibrate.refine import SAMPLED, narrow, rounded
    from trtforge.graph.edit import input_size
    from trtforge.recipe import Preprocess

    spec = Preprocess.model_validate(table.preprocess)
    size = input_size(graph)
    if size is None:
        raise ForgeError("the model's input has no fixed height and width", "run `trtforge fold --size HxW` first")
    files = [file for file in pictures.list_images(images) if file.relative_to(images).as_posix() in table.images]
    if not files:
        raise ForgeError(f"{images}: none of the images that the ranges come from", "give the folder of `calibrate`")
    # One thread for products of matrices: the other cores run the network meanwhile, and threads that wait for one
    # another by spinning make it ten times slower on a busy machine.
    with threadpool_limits(1, "blas"), present.progress("refining weights", min(len(files), SAMPLED)) as done:
        narrowed = narrow(graph, placement, table.amax, files, lambda file: pictures.prepare(file, spec, size))
        weights = rounded(graph, placement, {**table.amax, **narrowed}, files,
                          lambda file: pictures.prepare(file, spec, size), done)  # fmt: skip
    return narrowed, weights


def say(facts: Facts) -> str:
    found = f"{facts['int8']} of {facts['learned']} learned operators in INT8"
    return f"{found}, {facts['refined']} refined on images" if facts["refined"] else found


STAGE = Stage("quantize", 2, ("onnx", "onnx-graphsurgeon", "onnxruntime", "numpy", "pillow", "threadpoolctl"), run, say)
