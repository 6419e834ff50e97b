"""What calibration has seen: a histogram of every tapped activation. Parts of a stream merge
exactly.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from trtforge.calibration.histogram import Histogram
from trtforge.calibration.loops import BINS
from trtforge.errors import ForgeError
from trtforge.graph.moves import Group

FORMAT = "trtforge-histograms-1"
EARLY = 0.75  # of the stream: what came later shows whether the ranges had settled
MOST_CORRUPT = 0.05  # share of a folder's images
# What reading a file that is something else can raise.
INVALID = (OSError, ValueError, TypeError, AttributeError, KeyError, OverflowError, RecursionError)


@dataclass(frozen=True)
class Provenance:
    """What was observed, on what.

    Attributes:
        model: sha256 of the folded model that was run.
        taps: see ``trtforge.graph.quantize.taps``.
        preprocess: the recipe's, as JSON.
        images: sha256 of each image that was used, by its path in the folder, sorted.
        skipped: images that could not be read, sorted.
        duplicates: number of images left out because another one has the same bytes.
        total: images in the whole folder, duplicates not counted: over the images of a shard.
        versions: of the tools that took part.
    """

    model: str
    taps: str
    preprocess: dict[str, Any]
    images: dict[str, str]
    skipped: list[str]
    duplicates: int
    total: int
    versions: dict[str, str]


@dataclass(frozen=True)
class Observed:
    """Histograms of the first three quarters of the stream, and of the rest, by tensor.

    Attributes:
        groups: tensors that share a scale; their sources are what was observed.
    """

    source: Provenance
    groups: tuple[Group, ...]
    early: dict[str, Histogram]
    late: dict[str, Histogram]

    def combined(self) -> dict[str, Histogram]:
        return {name: merge_histograms([self.early[name], self.late[name]]) for name in self.early}


def merge_histograms(parts: Sequence[Histogram]) -> Histogram:
    whole = Histogram()
    for part in parts:
        whole.merge(part)
    return whole


def merge_shards(parts: Sequence[Observed], names: Sequence[str]) -> Observed:
    """The shards of one folder as if they had been observed in one run.

    Args:
        parts: in any order.
        names: what to call them in errors.

    Raises:
        ForgeError: they are not shards of one calibration, two hold the same image, or one is
            missing.
    """
    first = parts[0].source
    images: dict[str, str] = {}
    skipped: list[str] = []
    for part, name in zip(parts, names, strict=True):
        fields = ("model", "taps", "preprocess", "total", "duplicates", "versions")
        differs = next(
            (each for each in fields if getattr(part.source, each) != getattr(first, each)), ""
        )
        if differs or part.groups != parts[0].groups:
            raise ForgeError(
                f"{name}: differs from {names[0]} in {differs or 'groups'!r}",
                "merge shards of one calibration",
            )
        twice = ({*images, *skipped}) & {*part.source.images, *part.source.skipped}
        if twice:
            raise ForgeError(
                f"{name}: holds {min(twice)} that an earlier table holds too",
                "merge each shard once",
            )
        images |= part.source.images
        skipped += part.source.skipped
    if len(images) + len(skipped) != first.total:
        raise ForgeError(
            f"{len(images) + len(skipped)} of {first.total} images are in these tables",
            "merge every shard of the calibration",
        )
    if len(skipped) > MOST_CORRUPT * first.total:
        raise ForgeError(
            f"{len(skipped)} of {first.total} images are not readable, {min(skipped)} among them",
            "over 5 % unreadable is refused: remove them from the folder",
        )
    source = replace(first, images=dict(sorted(images.items())), skipped=sorted(skipped))
    early = {
        name: merge_histograms([part.early[name] for part in parts]) for name in parts[0].early
    }
    late = {name: merge_histograms([part.late[name] for part in parts]) for name in parts[0].late}
    return Observed(source, parts[0].groups, early, late)


def check_corrupt(path: Path, count: int, total: int) -> None:
    """Refuse a folder of ``total`` images of which too many can't be read; ``path`` is the
    ``count``-th of those.

    Raises:
        ForgeError: it is over 5 %.
    """
    if count > MOST_CORRUPT * total:
        nth = {1: "first", 2: "second", 3: "third"}.get(count, f"{count}th")
        raise ForgeError(
            f"{path}: not a readable image, the {nth} of {total}",
            "over 5 % unreadable is refused: remove them from the folder",
        )


def save(observed: Observed, path: Path) -> None:
    content = {
        "format": FORMAT,
        "source": asdict(observed.source),
        "groups": observed.groups,
        "early": {name: pack(histogram) for name, histogram in observed.early.items()},
        "late": {name: pack(histogram) for name, histogram in observed.late.items()},
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def load(path: Path) -> Observed:
    """Read a shard.

    Raises:
        ForgeError: the file is missing, or no such table.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("format", None) != FORMAT:
            raise ForgeError(
                f"{path}: not a table of histograms of this version ({FORMAT})",
                "make it with `trtforge calibrate --shard I/N`",
            )
        early, late = (
            {name: unpack(each) for name, each in content[key].items()} for key in ("early", "late")
        )
        observed = Observed(
            read_provenance(content["source"]), read_groups(content["groups"]), early, late
        )
        if not early or not early.keys() == late.keys() == {
            name for _, sources in observed.groups for name in sources
        }:
            raise ValueError("not one histogram for each tensor")
    except FileNotFoundError as error:
        raise ForgeError(
            f"{path}: no such file", "make it with `trtforge calibrate --shard I/N`"
        ) from error
    except INVALID as error:
        raise ForgeError(
            f"{path}: not a table of histograms", "make it with `trtforge calibrate --shard I/N`"
        ) from error
    return observed


def read_provenance(content: Any) -> Provenance:
    """The source in such JSON.

    Raises:
        ValueError: it is none.
    """
    from pydantic import TypeAdapter

    return TypeAdapter(Provenance).validate_python(content)


def read_groups(content: Any) -> tuple[Group, ...]:
    return tuple(
        (tuple(map(str, members)), tuple(map(str, sources))) for members, sources in content
    )


def pack(histogram: Histogram) -> dict[str, Any]:
    """A histogram as JSON: its 4096 counts little-endian int64, compressed, in base64."""
    counts = zlib.compress(
        histogram.counts.astype("<i8").tobytes(), 4
    )  # level 6: 2 % less, in 2.5 times the time
    return {
        "limit": histogram.limit,
        "largest": histogram.largest,
        "counts": base64.b64encode(counts).decode(),
    }


def unpack(content: dict[str, Any]) -> Histogram:
    """The histogram of such JSON.

    Raises:
        ValueError: it is none.
    """
    histogram = Histogram()
    try:
        stream = zlib.decompressobj()
        counts = stream.decompress(base64.b64decode(content["counts"], validate=True), BINS * 8 + 1)
    except (zlib.error, binascii.Error) as error:
        raise ValueError(str(error)) from error
    histogram.counts = np.frombuffer(counts, "<i8").astype(np.int64)
    histogram.limit, histogram.largest = float(content["limit"]), float(content["largest"])
    power = histogram.limit == 0 or (
        0 < histogram.limit <= 2.0**128 and math.frexp(histogram.limit)[0] == 0.5
    )
    if histogram.counts.shape != (BINS,) or histogram.counts.min() < 0 or not power:
        raise ValueError("not a histogram")
    if not 0 <= histogram.largest <= histogram.limit:
        raise ValueError("its largest value lies outside")
    return histogram
