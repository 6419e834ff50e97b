"""The table of ranges: ``calibration.json``, with where they came from."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from trtforge.calibration import cache
from trtforge.calibration.histogram import Histogram
from trtforge.calibration.observed import FORMAT as SHARD
from trtforge.calibration.observed import (
    INVALID,
    Observed,
    Provenance,
    pack,
    read_groups,
    read_provenance,
    unpack,
)
from trtforge.calibration.threshold import threshold
from trtforge.errors import ForgeError
from trtforge.graph.moves import Group

FORMAT = "trtforge-calibration-2"
LARGEST = (2 - 2**-23) * 2.0**127  # of float32


@dataclass(frozen=True)
class Ranges:
    """Largest magnitudes that INT8 represents.

    Attributes:
        amax: for each tensor of the groups, at least 0: what an observed one needs by itself, and
            for one that only holds others' values the largest of theirs. Each is 127 times a
            float32, so that a calibration cache says the same.
        groups: tensors that share a scale; their sources are what was observed.
        methods: how each observed tensor's range was chosen.
        moved: by how much the last quarter of the images changed it, as a share of it.
        histograms: what it was chosen from.
        source: the model and the images; None for a cache that TensorRT wrote.
    """

    amax: dict[str, float]
    groups: tuple[Group, ...]
    methods: dict[str, str]
    moved: dict[str, float]
    histograms: dict[str, Histogram]
    source: Provenance | None


def choose(
    observed: Observed, method: str, percentile: float, methods: Mapping[str, str]
) -> Ranges:
    """A range for every tensor of the groups.

    Args:
        method, percentile: see ``trtforge.calibration.threshold``.
        methods: tensor name pattern -> method, where it differs; the first pattern that matches
            decides.

    Raises:
        ForgeError: a pattern matches no tensor.
    """
    histograms = observed.combined()
    for pattern in methods:
        if not any(fnmatchcase(name, pattern) for name in histograms):
            raise ForgeError(
                f"calibration.methods: {pattern!r} matches no calibrated tensor",
                "`calibration.json` lists them",
            )
    chosen = {
        name: next((methods[pattern] for pattern in methods if fnmatchcase(name, pattern)), method)
        for name in histograms
    }

    def ranges(seen: Mapping[str, Histogram]) -> dict[str, float]:
        found = pool.map(lambda name: threshold(seen[name], chosen[name], percentile), seen)
        return {name: cache.round_range(value) for name, value in zip(seen, found, strict=True)}

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        own, before = ranges(histograms), ranges(observed.early)
    moved = {
        name: abs(value - before[name]) / value if value else 0.0 for name, value in own.items()
    }
    return Ranges(
        per_tensor(observed.groups, own) | own,
        observed.groups,
        chosen,
        moved,
        histograms,
        observed.source,
    )


def per_tensor(groups: Iterable[Group], amax: Mapping[str, float]) -> dict[str, float]:
    """The range of every member of a group: the largest of its sources', so that none is clipped
    for another's sake.

    Members of a group whose source has no range are left out.
    """
    return {
        name: max(amax[source] for source in sources)
        for members, sources in groups
        if all(source in amax for source in sources)
        for name in members
    }


def save(ranges: Ranges, path: Path) -> None:
    content = {
        "format": FORMAT,
        "source": ranges.source and asdict(ranges.source),
        "amax": ranges.amax,
        "groups": ranges.groups,
        "methods": ranges.methods,
        "moved": ranges.moved,
        "histograms": {name: pack(histogram) for name, histogram in ranges.histograms.items()},
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def load(path: Path) -> Ranges:
    """Read a table, or a calibration cache of TensorRT's.

    Raises:
        ForgeError: the file is missing, neither of them, or holds a range that is not a number of
            at least 0.
    """
    try:
        text = path.read_text(encoding="utf-8")
        ranges = _from_cache(text) if text.startswith(cache.MAGIC) else _from_json(text, path)
    except FileNotFoundError as error:
        raise ForgeError(f"{path}: no such file", "make it with `trtforge calibrate`") from error
    except INVALID as error:
        raise ForgeError(
            f"{path}: not a calibration table", "make it with `trtforge calibrate`"
        ) from error
    bad = next((name for name, value in ranges.amax.items() if not 0 <= value <= LARGEST), None)
    if bad is not None:
        raise ForgeError(f"{path}: the range of {bad!r} is {ranges.amax[bad]}", "calibrate again")
    return ranges


def _from_cache(text: str) -> Ranges:
    return Ranges(cache.parse(text), (), {}, {}, {}, None)


def _from_json(text: str, path: Path) -> Ranges:
    content = json.loads(text)
    if content.get("format") == SHARD:
        raise ForgeError(
            f"{path}: histograms of a shard, no ranges yet",
            "merge every shard with `trtforge calibrate --merge`",
        )
    if content.get("format") != FORMAT:
        raise ForgeError(
            f"{path}: not a calibration table of this version ({FORMAT})", "calibrate again"
        )
    return Ranges(
        amax={str(name): float(value) for name, value in content["amax"].items()},
        groups=read_groups(content["groups"]),
        methods={str(name): str(method) for name, method in content["methods"].items()},
        moved={str(name): float(value) for name, value in content["moved"].items()},
        histograms={str(name): unpack(each) for name, each in content["histograms"].items()},
        source=read_provenance(content["source"]),
    )
