"""The record of the engines that a sweep builds and measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trtforge.names import Precision


@dataclass(frozen=True)
class SweepRequest:
    """The axes of a sweep, and what is measured.

    Attributes:
        precisions: precisions to build.
        batches: largest batches; empty is the model's own batch, or 1.
        workspaces: bytes of scratch memory; None is the builder's default.
        opt_levels: optimisation levels; None is the builder's default.
        images, labels: what accuracy is measured on; None measures none.
        seconds: time for each latency.
    """

    precisions: Sequence[Precision]
    batches: Sequence[int]
    workspaces: Sequence[int | None]
    opt_levels: Sequence[int | None]
    images: Path | None
    labels: Path | None
    seconds: float
