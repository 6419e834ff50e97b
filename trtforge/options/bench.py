"""``bench``: what is timed beside what, and for how long."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtforge import parse
from trtforge.errors import ForgeError

if TYPE_CHECKING:
    from trtforge.stages.bench import Asked

MOST_STREAMS = 64


def asked(
    batch: str | None,
    streams: str,
    against: str | None,
    torch: str | None,
    weights: Path | None,
    provider: str,
    cuda_graph: bool | None,
    transfers: bool,
    warmup: str,
    duration: str,
) -> Asked:
    """What ``trtforge bench`` was asked for.

    Raises:
        ForgeError: an option is wrong, or the PyTorch model can't be loaded.
        MachineError: PyTorch is not installed.
    """
    from trtforge.stages.bench import AGAINST, TORCH, Asked

    names = parse.names(against, "--against", AGAINST) if against else []
    if torch and not set(names) & set(TORCH):
        raise ForgeError("--torch is for rows of PyTorch", "add --against torch")
    if weights and not torch:
        raise ForgeError("--weights belong to --torch", "give --torch package.module:callable")
    return Asked(
        batches=parse.numbers(batch, "--batch", parse.MOST_BATCH) if batch else [],
        streams=parse.numbers(streams, "--streams", MOST_STREAMS),
        against=names,
        provider=parse.provider(provider),
        cuda_graph=cuda_graph,
        transfers=transfers,
        warmup=parse.seconds(warmup, "--warmup"),
        duration=parse.seconds(duration, "--duration"),
        module=_torch_module(torch, weights) if torch else None,
    )


def _torch_module(name: str, weights: Path | None) -> Any:
    from trtforge.stages.export import need_torch

    need_torch("--torch", "torch")
    from trtforge.exporting import source  # type: ignore[import-not-found,unused-ignore]

    with source.importable(os.getcwd()):
        return source.load(name, {}, weights, False).module
