"""Hold what calibration observed: a histogram of every tapped activation, and where it came from.

The parts of a stream of images merge exactly.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypedDict, cast

import numpy as np

from trtforge.calibration.histogram import Histogram
from trtforge.calibration.loops import BINS
from trtforge.documents import read_json
from trtforge.errors import ForgeError
from trtforge.graph.moves import Group

FORMAT = "trtforge-histograms-1"
EARLY = 0.75  # share of the stream; the rest shows whether the ranges have settled
MAX_CORRUPT = 0.05  # share of a folder's images
# What reading a file of another kind can raise.
INVALID = (OSError, ValueError, TypeError, AttributeError, KeyError, OverflowError, RecursionError)
MAKE = "make it with `trtforge calibrate --shard I/N`"


@dataclass(frozen=True)
class Provenance:
    """The model and the images that histograms or ranges come from.

    Attributes:
        model: sha256 of the folded model that was run.
        taps: which tensors were observed; see ``trtforge.graph.quantize.taps``.
        preprocess: the recipe's section, as JSON.
        images: sha256 of each image that was used, by relative path, sorted.
        skipped: images that could not be read, sorted.
        duplicates: number of images left out because another image has the same bytes.
        total: images in the whole folder without duplicates, also where this is only a shard.
        versions: of the tools that took part.
    """

    model: str
    taps: str
    preprocess: dict[str, object]
    images: dict[str, str]
    skipped: list[str]
    duplicates: int
    total: int
    versions: dict[str, str]


@dataclass(frozen=True)
class Observed:
    """Histograms by tensor name: of the first three quarters of the stream, and of the rest.

    Attributes:
        groups: tensors that share a scale; the sources of a group are what was observed.
    """

    source: Provenance
    groups: tuple[Group, ...]
    early: dict[str, Histogram]
    late: dict[str, Histogram]

    def combined(self) -> dict[str, Histogram]:
        """Return a histogram of each tensor over all images."""
        return {name: merge_histograms([self.early[name], self.late[name]]) for name in self.early}


class HistogramJson(TypedDict):
    """A histogram in a JSON file; ``counts`` is little-endian int64, compressed, in base64."""

    limit: float
    largest: float
    counts: str


class _ShardJson(TypedDict):
    format: str
    source: object
    groups: list[tuple[list[str], list[str]]]
    early: dict[str, HistogramJson]
    late: dict[str, HistogramJson]


def merge_histograms(parts: Sequence[Histogram]) -> Histogram:
    """Return one histogram of everything that the parts counted."""
    whole = Histogram()
    for part in parts:
        whole.merge(part)
    return whole


def merge_shards(parts: Sequence[Observed], names: Sequence[str]) -> Observed:
    """Merge the shards of one folder, as if they had been observed in one run.

    Args:
        parts: the shards, in any order.
        names: the shards' names for error messages.

    Raises:
        ForgeError: they are not shards of one calibration, two contain the same image, or one is
            missing.
    """
    first = parts[0].source
    images: dict[str, str] = {}
    skipped: list[str] = []
    for part, name in zip(parts, names, strict=True):
        difference = _difference(part, parts[0])
        if difference:
            raise ForgeError(
                f"{name}: differs from {names[0]} in {difference!r}",
                "merge shards of one calibration",
            )
        repeated = {*images, *skipped} & {*part.source.images, *part.source.skipped}
        if repeated:
            raise ForgeError(
                f"{name}: contains {min(repeated)}, which an earlier table contains too",
                "merge each shard once",
            )
        images |= part.source.images
        skipped += part.source.skipped
    if len(images) + len(skipped) != first.total:
        raise ForgeError(
            f"{len(images) + len(skipped)} of {first.total} images are in these tables",
            "merge every shard of the calibration",
        )
    if len(skipped) > MAX_CORRUPT * first.total:
        raise ForgeError(
            f"{len(skipped)} of {first.total} images can't be read, among them {min(skipped)}",
            "remove them from the folder: at most 5 % may be unreadable",
        )
    source = replace(first, images=dict(sorted(images.items())), skipped=sorted(skipped))
    early, late = (
        {name: merge_histograms([part[name] for part in sets]) for name in sets[0]}
        for sets in ([part.early for part in parts], [part.late for part in parts])
    )
    return Observed(source, parts[0].groups, early, late)


def _difference(one: Observed, other: Observed) -> str:
    """Return in which field two shards can't be of one calibration; empty if they can."""
    for field in ("model", "taps", "preprocess", "total", "duplicates", "versions"):
        if getattr(one.source, field) != getattr(other.source, field):
            return field
    return "" if one.groups == other.groups else "groups"


def check_corrupt(path: Path, count: int, total: int) -> None:
    """Refuse a folder of images if too many of them can't be read.

    Args:
        path: the image that could not be read last.
        count: number of images that could not be read so far, this one included.
        total: number of images in the folder.

    Raises:
        ForgeError: it is over 5 %.
    """
    if count > MAX_CORRUPT * total:
        nth = {1: "first", 2: "second", 3: "third"}.get(count, f"{count}th")
        raise ForgeError(
            f"{path}: not a readable image, the {nth} of {total}",
            "remove them from the folder: at most 5 % may be unreadable",
        )


def save(observed: Observed, path: Path) -> None:
    """Write histograms as JSON."""
    content = {
        "format": FORMAT,
        "source": asdict(observed.source),
        "groups": observed.groups,
        "early": {name: pack(histogram) for name, histogram in observed.early.items()},
        "late": {name: pack(histogram) for name, histogram in observed.late.items()},
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def load(path: Path) -> Observed:
    """Read the histograms of a shard.

    Raises:
        ForgeError: the file is missing, or not such a table.
    """
    try:
        content = cast("_ShardJson", read_json(path, "table of histograms", MAKE))
        if content.get("format") != FORMAT:
            raise ForgeError(f"{path}: not a table of histograms of this version ({FORMAT})", MAKE)
        observed = Observed(
            read_provenance(content["source"]),
            read_groups(content["groups"]),
            {name: unpack(histogram) for name, histogram in content["early"].items()},
            {name: unpack(histogram) for name, histogram in content["late"].items()},
        )
        sources = {name for _, sources in observed.groups for name in sources}
        if not observed.early or not observed.early.keys() == observed.late.keys() == sources:
            raise ValueError("not one histogram for each tensor")
    except INVALID as error:
        raise ForgeError(f"{path}: not a table of histograms", MAKE) from error
    return observed


def read_provenance(content: object) -> Provenance:
    """Return the provenance that a JSON document describes.

    Raises:
        ValueError: the document describes none.
    """
    from pydantic import TypeAdapter

    return TypeAdapter(Provenance).validate_python(content)


def read_groups(content: Iterable[tuple[list[str], list[str]]]) -> tuple[Group, ...]:
    """Return the groups that a JSON document lists."""
    return tuple(
        (tuple(map(str, members)), tuple(map(str, sources))) for members, sources in content
    )


def pack(histogram: Histogram) -> HistogramJson:
    """Return a histogram as JSON."""
    # Level 6 would save 2 % of the size, in 2.5 times the time.
    counts = zlib.compress(histogram.counts.astype("<i8").tobytes(), 4)
    return {
        "limit": histogram.limit,
        "largest": histogram.largest,
        "counts": base64.b64encode(counts).decode(),
    }


def unpack(content: HistogramJson) -> Histogram:
    """Return the histogram that a JSON document describes.

    Raises:
        ValueError: the document describes none.
    """
    histogram = Histogram()
    # One byte more than a histogram takes: enough to see that there is too much.
    try:
        stream = zlib.decompressobj()
        counts = stream.decompress(base64.b64decode(content["counts"], validate=True), BINS * 8 + 1)
    except (zlib.error, binascii.Error) as error:
        raise ValueError(str(error)) from error
    histogram.counts = np.frombuffer(counts, "<i8").astype(np.int64)
    histogram.limit, histogram.largest = float(content["limit"]), float(content["largest"])
    # frexp() gives 0.5 for exact powers of two.
    power_of_two = 0 < histogram.limit <= 2.0**128 and math.frexp(histogram.limit)[0] == 0.5
    if histogram.limit != 0 and not power_of_two:
        raise ValueError("not a histogram")
    if histogram.counts.shape != (BINS,) or histogram.counts.min() < 0:
        raise ValueError("not a histogram")
    if not 0 <= histogram.largest <= histogram.limit:
        raise ValueError("its largest value is outside its range")
    return histogram
