"""Choose, write and read the table of ranges, ``calibration.json``."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypedDict, cast

from trtforge.calibration import cache
from trtforge.calibration.histogram import Histogram
from trtforge.calibration.observed import FORMAT as SHARD
from trtforge.calibration.observed import (
    INVALID,
    HistogramJson,
    Observed,
    Provenance,
    pack,
    read_groups,
    read_provenance,
    unpack,
)
from trtforge.calibration.threshold import threshold
from trtforge.documents import load_json
from trtforge.errors import ForgeError
from trtforge.graph.moves import Group

FORMAT = "trtforge-calibration-2"
LARGEST_FLOAT32 = (2 - 2**-23) * 2.0**127


@dataclass(frozen=True)
class Ranges:
    """For each tensor, the largest magnitude that INT8 represents, and how it was chosen.

    Attributes:
        amax: range of each tensor of the groups, at least 0. An observed tensor has its own range;
            a tensor that only holds values of others has the largest of their ranges. Every range
            is 127 times a float32, so that a calibration cache holds the same numbers.
        groups: tensors that share a scale; the sources of a group are its observed tensors.
        methods: method by which each observed tensor's range was chosen.
        moved: change of each range by the last quarter of the images, as a share of the range.
        histograms: the histograms from which the ranges were chosen.
        source: the model and the images; None for a cache that TensorRT wrote.
    """

    amax: dict[str, float]
    groups: tuple[Group, ...]
    methods: dict[str, str]
    moved: dict[str, float]
    histograms: dict[str, Histogram]
    source: Provenance | None


class _TableJson(TypedDict):
    format: str
    source: object
    amax: dict[str, float]
    groups: list[tuple[list[str], list[str]]]
    methods: dict[str, str]
    moved: dict[str, float]
    histograms: dict[str, HistogramJson]


def choose(
    observed: Observed, method: str, percentile: float, methods: Mapping[str, str]
) -> Ranges:
    """Choose a range for every tensor of the groups.

    Args:
        method, percentile: see ``trtforge.calibration.threshold``.
        methods: other methods by tensor name pattern; the first pattern that matches a name
            decides.

    Raises:
        ForgeError: a pattern matches no tensor.
    """
    histograms = observed.combined()
    for pattern in methods:
        if not any(fnmatchcase(name, pattern) for name in histograms):
            raise ForgeError(
                f"calibration.methods: {pattern!r} matches no calibrated tensor",
                "`calibration.json` lists their names",
            )
    method_of = {name: _method(name, methods, method) for name in histograms}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        ranges = _thresholds(histograms, method_of, percentile, pool)
        early = _thresholds(observed.early, method_of, percentile, pool)
    moved = {
        name: abs(value - early[name]) / value if value else 0.0 for name, value in ranges.items()
    }
    return Ranges(
        amax=per_tensor(observed.groups, ranges) | ranges,
        groups=observed.groups,
        methods=method_of,
        moved=moved,
        histograms=histograms,
        source=observed.source,
    )


def _method(name: str, methods: Mapping[str, str], default: str) -> str:
    """Return the method of the first pattern that matches a tensor name."""
    for pattern, method in methods.items():
        if fnmatchcase(name, pattern):
            return method
    return default


def _thresholds(
    histograms: Mapping[str, Histogram],
    method_of: Mapping[str, str],
    percentile: float,
    pool: ThreadPoolExecutor,
) -> dict[str, float]:
    """Return the range of every histogram, by tensor name."""

    def range_of(name: str) -> float:
        return cache.round_range(threshold(histograms[name], method_of[name], percentile))

    return dict(zip(histograms, pool.map(range_of, histograms), strict=True))


def per_tensor(groups: Iterable[Group], amax: Mapping[str, float]) -> dict[str, float]:
    """Return the range of every member of the groups: the largest range of the group's sources.

    With the largest, no tensor is clipped because another tensor of its group has a small range.
    A group is left out if one of its sources has no range.
    """
    ranges: dict[str, float] = {}
    for members, sources in groups:
        if all(source in amax for source in sources):
            for name in members:
                ranges[name] = max(amax[source] for source in sources)
    return ranges


def save(ranges: Ranges, path: Path) -> None:
    """Write ranges as JSON."""
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
    """Read a table of ranges, or a calibration cache of TensorRT.

    Raises:
        ForgeError: the file is missing or neither of them, or contains a range that is negative,
            NaN or too large for float32.
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
    for name, value in ranges.amax.items():
        if not 0 <= value <= LARGEST_FLOAT32:
            raise ForgeError(f"{path}: the range of {name!r} is {value}", "calibrate again")
    return ranges


def _from_cache(text: str) -> Ranges:
    return Ranges(cache.parse(text), (), {}, {}, {}, None)


def _from_json(text: str, path: Path) -> Ranges:
    content = cast("_TableJson", load_json(text))
    if content.get("format") == SHARD:
        raise ForgeError(
            f"{path}: the histograms of a shard, not ranges",
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
        histograms={
            str(name): unpack(histogram) for name, histogram in content["histograms"].items()
        },
        source=read_provenance(content["source"]),
    )
