"""From the command line's words to what a builder is told."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trtforge import parse
from trtforge.backends.options import BuildOptions, Shape
from trtforge.bundle.prepared import Target
from trtforge.errors import ForgeError
from trtforge.names import INT8_MODES


def weakly_typed(int8_mode: str | None, int8: bool, targets: Sequence[Target]) -> bool | None:
    """Whether the builder chooses precisions, not the graph: on request, or for devices that end at
    TensorRT 8.

    Returns:
        None where the user asked for nothing and no device decides.

    Raises:
        ForgeError: the request contradicts precision or device.
    """
    if int8_mode is not None:
        parse.one_of(int8_mode, INT8_MODES, "--int8-mode")
        if not int8:
            raise ForgeError(f"--int8-mode {int8_mode} without --int8", "add --int8")
    old = [target.device for target in targets if target.device and not target.device.typed]
    if old and int8_mode == "explicit":
        raise ForgeError(
            f"{old[0].title} ends at TensorRT {old[0].tensorrt}: trtforge serves its INT8 by calibration "
            "cache alone",
            "give --int8-mode implicit, or leave it out",
        )
    if old:
        return True
    return None if int8_mode is None else int8_mode == "implicit"


def builder(
    workspace: str | None,
    memory_pool: Sequence[str],
    profile: Sequence[str],
    tactic_sources: str | None,
    timing_cache: Path | None,
    **given: Any,
) -> BuildOptions:
    """The builder's options from the command line's; ``given`` are those that need no parsing.

    Raises:
        ForgeError: one is not what it should be.
    """
    from trtforge.backends._config import POOLS, TACTICS

    pools = []
    for text in memory_pool:
        name, _, size = text.partition("=")
        known = parse.one_of(name, tuple(POOLS), "--memory-pool")
        pools.append((known, parse.memory(size, f"--memory-pool {name}=") or 0))
    sources = None if tactic_sources is None else tuple(filter(None, tactic_sources.split(",")))
    for name in sources or ():
        parse.one_of(name, tuple(TACTICS), "--tactic-sources")
    if timing_cache and timing_cache.is_dir():
        raise ForgeError(f"{timing_cache}: is a folder", "give a file with --timing-cache")
    return BuildOptions(
        workspace=parse.memory(workspace),
        pools=tuple(pools),
        profiles=tuple(parse_profile(text) for text in profile),
        tactic_sources=sources,
        timing_cache=str(timing_cache.absolute()) if timing_cache else None,
        **given,
    )


def parse_profile(text: str) -> dict[str, tuple[Shape, Shape, Shape]]:
    """``NAME=MIN:OPT:MAX[,NAME=...]``, each a shape such as ``1x3x640x640``. Names may hold ``:``
    and ``=``.

    Raises:
        ForgeError: it is none, or not in order.
    """
    found = {}
    for part in text.split(","):
        name, _, shapes = part.rpartition("=")
        each = [
            tuple(int(side) for side in shape.split("x"))
            for shape in shapes.split(":")
            if re.fullmatch(r"\d{1,9}(x\d{1,9})*", shape)
        ]
        if not name or shapes.count(":") != 2 or len(each) != 3:
            raise ForgeError(
                f"--profile {part}: not NAME=MIN:OPT:MAX",
                "for example --profile images=1x3x640x640:4x3x640x640:8x3x640x640",
            )
        least, best, most = each
        if not (len(least) == len(best) == len(most) and all(map(_ordered, least, best, most))):
            raise ForgeError(f"--profile {part}: not in order", "each side: MIN <= OPT <= MAX")
        found[name] = (least, best, most)
    return found


def _ordered(least: int, best: int, most: int) -> bool:
    return 0 < least <= best <= most
