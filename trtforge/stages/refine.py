"""clean + ranges + images -> better ranges and weights for INT8, by a second look at the images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from trtforge import present
from trtforge.errors import ForgeError
from trtforge.names import TABLE
from trtforge.recipe import Preprocess
from trtforge.stages.size import fixed_size
from trtforge.store import NOTHING, File, Nothing, Stage

if TYPE_CHECKING:
    import numpy as np

    from trtforge.calibration.observed import Provenance

WEIGHTS = "weights.npz"


@dataclass(frozen=True)
class RefineInputs:
    """The files that refinement reads.

    Attributes:
        model: folded float model.
        ranges: calibration table of the model.
        images: the folder that the table was made from.
    """

    model: File
    ranges: File
    images: File


@dataclass(frozen=True)
class RefineFacts:
    """Facts that refinement found out.

    Attributes:
        refined: number of operators with refined weights.
        narrowed: number of narrowed ranges.
    """

    refined: int = 0
    narrowed: int = 0


def run(draft: Path, inputs: RefineInputs, options: Nothing = NOTHING) -> RefineFacts:
    """Write ``draft/calibration.json`` with some ranges narrowed, and ``draft/weights.npz``.

    Both are for every operator that may be INT8; which of them a recipe keeps float does not
    matter.

    Raises:
        ForgeError: the table is not one of ours, or the folder holds none of its images, or
            another image of the same name.
    """
    from threadpoolctl import threadpool_limits

    from trtforge.calibration import cache, refine
    from trtforge.calibration import images as pictures
    from trtforge.calibration import ranges as tables
    from trtforge.graph.model import graph_of, load
    from trtforge.graph.quantize import rounding
    from trtforge.graph.quantize.qdq import place

    table = tables.load(inputs.ranges.path)
    if table.source is None:
        raise ForgeError(
            f"{inputs.ranges.path}: does not say how its images were prepared",
            "refine a table of `trtforge calibrate`",
        )
    spec = Preprocess.model_validate(table.source.preprocess)
    graph = graph_of(load(inputs.model.path))
    size = fixed_size(graph, inputs.model.path)
    files = _observed_files(inputs.images.path, table.source)
    placement = place(graph)
    amax = tables.per_tensor(placement.groups, table.amax)

    def prepare(file: Path) -> np.ndarray:
        return pictures.prepare(file, spec, size)

    # One thread for products of matrices: the other cores run the network meanwhile, and threads
    # that wait for one another by spinning make it ten times slower on a busy machine.
    with (
        threadpool_limits(1, "blas"),
        present.progress("refining weights", min(len(files), refine.WEIGHT_IMAGES)) as done,
    ):
        narrowed = refine.narrow_ranges(graph, placement, amax, files, prepare)
        amax |= {name: cache.round_range(value) for name, value in narrowed.items()}
        weights = refine.refine_weights(graph, placement, amax, files, prepare, done)
    tables.save(replace(table, amax=table.amax | amax), draft / TABLE)
    rounding.save(weights, draft / WEIGHTS)
    return RefineFacts(refined=len(weights), narrowed=len(narrowed))


def _observed_files(folder: Path, source: Provenance) -> list[Path]:
    """Return the images of a folder that a table of ranges was made from.

    Raises:
        ForgeError: an image has changed since, or there is none of them.
    """
    from trtforge.calibration import images as pictures

    files = pictures.list_images(folder)
    digests = pictures.image_digests(files, folder)
    for name, digest in source.images.items():
        if digests.get(name, digest) != digest:
            raise ForgeError(
                f"{folder / name}: has changed since the ranges were made", "calibrate again"
            )
    observed = [file for file, name in zip(files, digests, strict=True) if name in source.images]
    if not observed:
        raise ForgeError(
            f"{folder}: none of the images that the ranges come from",
            "give the folder of `calibrate`",
        )
    return observed


def summarize(facts: RefineFacts) -> str:
    """Return the facts in a line for people."""
    return f"weights of {facts.refined} operators refined, {facts.narrowed} ranges narrowed"


TOOLS = ("onnx", "onnx-graphsurgeon", "onnxruntime", "numpy", "pillow", "threadpoolctl")
STAGE = Stage("refine", 3, TOOLS, run, RefineFacts, summarize)
