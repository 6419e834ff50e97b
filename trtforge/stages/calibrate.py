"""histograms -> ranges: what INT8 has to represent, tensor by tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from trtforge.cluster import Workers
from trtforge.errors import ForgeError
from trtforge.names import CACHE, TABLE
from trtforge.recipe import Method
from trtforge.stages import observe
from trtforge.store import OMIT_NONE, File, Stage

if TYPE_CHECKING:
    from trtforge.calibration.observed import Observed

SETTLED = 0.05  # a range that the last quarter of the images moved by more had not settled
MAX_UNSETTLED = 0.1  # share of the tensors
FEW_IMAGES = 16  # fewer images see little of what there is


@dataclass(frozen=True)
class CalibrateInputs:
    """Histograms of the stage ``observe``, of a whole folder."""

    histograms: File


@dataclass(frozen=True)
class CalibrateOptions:
    """Options for choosing dynamic ranges from histograms.

    Attributes:
        method, percentile: see ``trtforge.calibration.threshold``.
        methods: the method by pattern of tensor names, where it differs; the first pattern that
            matches decides.
    """

    method: Method
    percentile: float
    methods: Mapping[str, Method] = field(default_factory=dict)


@dataclass(frozen=True)
class CalibrateFacts:
    """Facts that calibration found out.

    Attributes:
        images: number of images.
        tensors: number of ranges.
        unsettled: number of ranges that the last quarter of the images still moved.
        worst: name of the tensor whose range moved most.
        moved: share by which it moved.
        dead: names of tensors that are always zero.
        plots: number of pictures that were drawn; None where none were asked for.
    """

    images: int = 0
    tensors: int = 0
    unsettled: int = 0
    worst: str = ""
    moved: float = 0.0
    dead: tuple[str, ...] = ()
    plots: int | None = field(default=None, metadata=OMIT_NONE)


def run(draft: Path, inputs: CalibrateInputs, options: CalibrateOptions) -> CalibrateFacts:
    """Write ``draft/calibration.json``.

    Raises:
        ForgeError: the histograms are those of a shard; a pattern matches no tensor.
    """
    from trtforge.calibration import observed

    path = inputs.histograms.path
    histograms = observed.load(path)
    seen = histograms.source
    if len(seen.images) + len(seen.skipped) != seen.total:
        raise ForgeError(
            f"{path}: a shard: {len(seen.images)} of {seen.total} images",
            "merge every shard with `trtforge calibrate --merge`",
        )
    return _choose(draft, histograms, options)


def _choose(draft: Path, histograms: Observed, options: CalibrateOptions) -> CalibrateFacts:
    from trtforge.calibration import ranges

    table = ranges.choose(
        histograms,
        method=options.method,
        percentile=options.percentile,
        methods=options.methods,
    )
    ranges.save(table, draft / TABLE)
    worst = max(table.moved, key=lambda name: table.moved[name])
    return CalibrateFacts(
        images=len(histograms.source.images),
        tensors=len(table.moved),
        unsettled=sum(moved > SETTLED for moved in table.moved.values()),
        worst=worst,
        moved=table.moved[worst],
        dead=tuple(name for name in table.moved if not table.amax[name]),
    )


def calibrate_images(
    draft: Path,
    model: Path,
    images: Path,
    observing: observe.ObserveOptions,
    choosing: CalibrateOptions,
    workers: Workers | None = None,
) -> CalibrateFacts:
    """Write ``draft/calibration.json`` from images, for ``trtforge calibrate``.

    Args:
        model: folded float model.
        images: folder of photographs.
        workers: the images are divided among these; None is this process.

    Raises:
        ForgeError: see ``trtforge.stages.observe``; a pattern matches no tensor.
    """
    if workers:
        histograms = observe.observe_in_shards(model, images, observing, workers)
    else:
        histograms = observe.observe(model, images, observing)
    return _choose(draft, histograms, choosing)


def calibrate_shards(
    draft: Path, shards: Sequence[Path], choosing: CalibrateOptions
) -> CalibrateFacts:
    """Write ``draft/calibration.json`` from the histograms of all shards of a folder.

    Raises:
        ForgeError: see ``trtforge.calibration.observed.merge_shards``; a pattern matches no tensor.
    """
    from trtforge.calibration import observed

    parts = [observed.load(path) for path in shards]
    histograms = observed.merge_shards(parts, [str(path) for path in shards])
    return _choose(draft, histograms, choosing)


def write_cache(draft: Path, table: Path, tensorrt: str) -> None:
    """Write ``draft/calibration.cache`` from a table of ranges, for a version of TensorRT."""
    (draft / CACHE).write_text(cache_text(table, tensorrt), encoding="utf-8")


def cache_text(table: Path, tensorrt: str) -> str:
    """Return the ranges of a table as TensorRT's calibrators read them."""
    from trtforge.calibration import cache, ranges

    found = ranges.load(table)
    return cache.render(ranges.per_tensor(found.groups, found.amax), tensorrt)


def summarize(facts: CalibrateFacts) -> str:
    """Return the facts in a line for people."""
    dead = f", {len(facts.dead)} always zero" if facts.dead else ""
    return f"{facts.tensors} ranges{dead}"


def remarks(facts: CalibrateFacts) -> list[str]:
    """Return what the user should know about the set of images; nothing if it will do."""
    if facts.unsettled > MAX_UNSETTLED * facts.tensors:
        return [
            f"calibration: ranges have not settled: the last quarter of {facts.images} images moved "
            f"{facts.unsettled} of {facts.tensors} by over {SETTLED:.0%} ({facts.worst} by "
            f"{facts.moved:.0%}); add images, or shuffle them if they are sorted by scene"
        ]
    if 0 < facts.images < FEW_IMAGES:  # 0: only planned
        return [
            f"calibration: {facts.images} images are few; take some hundreds of what the cameras see"
        ]
    return []


STAGE = Stage("calibrate", 4, ("numpy",), run, CalibrateFacts, summarize)
