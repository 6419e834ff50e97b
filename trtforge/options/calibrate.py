"""``calibrate``: a model and images, or the tables of shards, and what to write beside the ranges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from trtforge import outfile, parse
from trtforge.errors import ForgeError
from trtforge.recipe import Method, Recipe

if TYPE_CHECKING:
    from trtforge.stages.calibrate import CalibrateOptions
    from trtforge.stages.observe import ObserveOptions

METHODS: tuple[Method, ...] = get_args(Method)


@dataclass(frozen=True)
class Calibration:
    """What ``trtforge calibrate`` was asked for: a model and images, or the tables of shards."""

    model: Path | None
    images: Path | None
    shards: list[Path]
    shard: tuple[int, int] | None
    observing: ObserveOptions
    choosing: CalibrateOptions


def asked(
    files: list[Path],
    calib: Path | None,
    merge: bool,
    shard: str | None,
    recipe: Recipe,
    method: str | None,
    taps: str,
    provider: str,
) -> Calibration:
    """Check the options of ``trtforge calibrate``.

    Raises:
        ForgeError: they contradict each other, or one is not known.
    """
    from trtforge.backends.onnxruntime import calibration_provider
    from trtforge.graph.quantize.taps import TAPS
    from trtforge.stages.calibrate import CalibrateOptions
    from trtforge.stages.observe import ObserveOptions

    spec = recipe.calibration
    if method:
        parse.one_of(method, METHODS, "--method")
    choosing = CalibrateOptions(
        method=next((known for known in METHODS if known == method), spec.method),
        percentile=spec.percentile,
        methods=spec.methods,
    )
    parse.one_of(taps, TAPS, "--taps")
    observing = ObserveOptions(
        preprocess=recipe.preprocess,
        taps=next(known for known in TAPS if known == taps),
        provider=parse.provider(provider),
    )
    if merge:
        if calib or shard is not None:
            raise ForgeError("--merge takes tables, neither --calib nor --shard", "drop them")
        return Calibration(None, None, files, None, observing, choosing)
    images = calib or recipe.calibration.images
    if len(files) != 1:
        raise ForgeError(
            f"calibrate takes one model, not {len(files)} files", "tables of shards need --merge"
        )
    if images is None:
        raise ForgeError("calibration needs photographs", "give --calib FOLDER")
    observing = replace(observing, provider=calibration_provider(provider))
    part = parse.shard(shard) if shard is not None else None
    return Calibration(files[0], images, [], part, observing, choosing)


def check_cache(
    cache: Path, out: Path, shard: str | None, tensorrt: str, inputs: Sequence[Path | None]
) -> None:
    """Refuse ``--cache`` before any work.

    Raises:
        ForgeError: there are no ranges yet, ``tensorrt`` is no version, or the cache can't be
            written there, or would take an input's place.
    """
    from trtforge.calibration.cache import version_number

    if shard is not None:
        raise ForgeError("--cache needs ranges, a shard has none yet", "give it with --merge")
    version_number(tensorrt)
    if cache.absolute() == out.absolute():
        raise ForgeError(f"{cache}: is the table itself", "give another file with --cache")
    outfile.check(cache, *inputs)


def check_plots(
    plots: Path, shard: str | None, images: Path | None, others: Sequence[Path | None]
) -> None:
    """Refuse ``--plots`` before any work.

    Args:
        others: what else is to be written.

    Raises:
        ForgeError: there are no ranges yet, or the folder can't be one of plots alone.
    """
    from trtforge.stages.plots import check

    if shard is not None:
        raise ForgeError("--plots needs ranges, a shard has none yet", "give it with --merge")
    check(plots)
    within = [
        other for other in others if other and other.resolve().is_relative_to(plots.resolve())
    ]
    if within:
        raise ForgeError(
            f"{within[0]}: lies in {plots}, which holds plots alone",
            "give another folder with --plots",
        )
    if images and plots.resolve().is_relative_to(images.resolve()):
        raise ForgeError(f"{plots}: lies among the images", "give another folder with --plots")
