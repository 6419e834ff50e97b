"""histograms -> ranges: what INT8 has to represent, tensor by tensor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtforge.cluster import Workers
from trtforge.errors import ForgeError
from trtforge.stages import observe
from trtforge.store import Facts, Stage

if TYPE_CHECKING:
    from trtforge.calibration.observed import Observed

TABLE = "calibration.json"
CACHE = "calibration.cache"
SETTLED = 0.05  # a range that the last quarter of the images moved by more had not settled
MOST_UNSETTLED = 0.1  # share of the tensors
FEW = 16  # images: fewer see little of what there is


def run(
    draft: Path, histograms: Path, *, method: str, percentile: float, methods: dict[str, str]
) -> Facts:
    """Write ``draft/calibration.json``.

    Args:
        histograms: made by the stage ``observe``, of a whole folder.
        method, percentile: see ``trtforge.calibration.threshold``.
        methods: tensor name pattern -> method, where it differs; the first pattern that matches
            decides.

    Returns:
        numbers of images and tensors, and of ranges that had not settled.

    Raises:
        ForgeError: the histograms are a shard's; a pattern matches no tensor.
    """
    from trtforge.calibration import observed

    seen = observed.load(histograms)
    if len(seen.source.images) + len(seen.source.skipped) != seen.source.total:
        raise ForgeError(
            f"{histograms}: a shard: {len(seen.source.images)} of {seen.source.total} images",
            "merge every shard with `trtforge calibrate --merge`",
        )
    return _choose(draft, seen, method=method, percentile=percentile, methods=methods)


def _choose(draft: Path, seen: Observed, **choosing: Any) -> Facts:
    from trtforge.calibration import ranges

    table = ranges.choose(seen, **choosing)
    ranges.save(table, draft / TABLE)
    worst = max(table.moved, key=lambda name: table.moved[name])
    return {
        "images": len(seen.source.images),
        "tensors": len(table.moved),
        "unsettled": sum(moved > SETTLED for moved in table.moved.values()),
        "worst": worst,
        "moved": table.moved[worst],
        "dead": [name for name in table.moved if not table.amax[name]],
    }


def whole(
    draft: Path,
    model: Path | None,
    images: Path | None,
    shards: Sequence[Path],
    *,
    observing: dict[str, Any],
    choosing: dict[str, Any],
    workers: Workers | None = None,
) -> Facts:
    """Both stages of calibration in one go, for ``trtforge calibrate``: of images, or of the tables
    of shards.

    Args:
        workers: who observes; None is this process.

    Raises:
        ForgeError: see ``trtforge.stages.observe`` and ``trtforge.calibration.observed.merge_shards``.
    """
    from trtforge.calibration import observed

    if model and images and workers:
        seen = observe.spread(model, images, workers, **observing)
    elif model and images:
        seen = observe.observe(model, images, **observing)
    else:
        seen = observed.merge_shards(
            [observed.load(path) for path in shards], [str(path) for path in shards]
        )
    return _choose(draft, seen, **choosing)


def write_cache(draft: Path, table: Path, *, tensorrt: str) -> Facts:
    """Write ``draft/calibration.cache`` from a table of ranges, for that version of TensorRT."""
    (draft / CACHE).write_text(cache_text(table, tensorrt), encoding="utf-8")
    return {}


def cache_text(table: Path, tensorrt: str) -> str:
    """The ranges as TensorRT's calibrators read them."""
    from trtforge.calibration import cache, ranges

    found = ranges.load(table)
    return cache.render(ranges.per_tensor(found.groups, found.amax), tensorrt)


def say(facts: Facts) -> str:
    dead = f", {len(facts['dead'])} always zero" if facts["dead"] else ""
    return f"{facts['tensors']} ranges{dead}"


def remarks(facts: Facts) -> list[str]:
    """What the user should know about the set of images; nothing if it will do."""
    if not facts:  # only planned
        return []
    if facts["unsettled"] > MOST_UNSETTLED * facts["tensors"]:
        return [
            f"calibration: ranges have not settled: the last quarter of {facts['images']} images moved "
            f"{facts['unsettled']} of {facts['tensors']} by over {SETTLED:.0%} ({facts['worst']} by "
            f"{facts['moved']:.0%}); add images, or shuffle them if they are sorted by scene"
        ]
    if facts["images"] < FEW:
        return [
            f"calibration: {facts['images']} images are few; take some hundreds of what the cameras see"
        ]
    return []


STAGE = Stage("calibrate", 3, ("numpy",), run, say)
