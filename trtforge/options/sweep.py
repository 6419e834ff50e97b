"""``sweep``: the job that all cells share, and the axes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from trtforge import parse
from trtforge.bundle.prepared import Target
from trtforge.errors import ForgeError
from trtforge.names import QUANTIZED, Precision
from trtforge.options.build import check_precision, work
from trtforge.pipeline.job import Job

if TYPE_CHECKING:
    from trtforge.sweeping import SweepRequest
    from trtforge.sweeping.rows import Pick

MOST_LEVEL = 5


def asked(
    model: Path,
    workspace: str | None,
    precision: str,
    batch: str | None,
    opt_level: str | None,
    calib: Path | None,
    size: str | None,
    recipe: str | None,
    images: Path | None,
    labels: Path | None,
    pick: str | None,
    duration: str,
    provider: str,
    target: Target,
) -> tuple[Job, SweepRequest, Pick | None]:
    """What ``trtforge sweep`` was asked for: the job that all cells share, the axes, and what to
    pick.

    Raises:
        ForgeError: an option is wrong, or they contradict each other.
    """
    from trtforge.sweeping import SweepRequest
    from trtforge.sweeping.rows import PICKS

    precisions: list[Any] = parse.names(precision, "--precision", get_args(Precision))
    quantized = set(precisions) & set(QUANTIZED)
    if calib and not quantized:
        raise ForgeError("--calib is for INT8 and FP8", "add int8 to --precision, or drop --calib")
    if (images is None) != (labels is None):
        raise ForgeError("accuracy needs both --images and --labels", "give both, or neither")
    job = work(
        model, int8=bool(quantized), calib=calib, size=size, recipe=recipe, provider=provider
    )
    if not isinstance(job, Job):
        raise ForgeError(f"{model}: a prepared folder has one precision", "sweep the ONNX file")
    for each in precisions:
        check_precision(replace(job, precision=each), [target])
    axes = SweepRequest(
        precisions=precisions,
        batches=parse.numbers(batch, "--batch", parse.MOST_BATCH) if batch else [],
        workspaces=list(
            dict.fromkeys(
                parse.memory(part.strip()) for part in (workspace or "").split(",") if workspace
            )
        )
        or [None],
        opt_levels=parse.numbers(opt_level, "--opt-level", MOST_LEVEL) if opt_level else [None],
        images=images,
        labels=labels,
        seconds=parse.seconds(duration, "--duration"),
    )
    best: Any = parse.one_of(pick, PICKS, "--pick") if pick else None
    return job, axes, best
