"""The table of ranges: ``calibration.json``, with where it came from."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trtforge.errors import ForgeError

FORMAT = "trtforge-calibration-1"


@dataclass(frozen=True)
class Ranges:
    """Largest magnitudes that INT8 represents.

    Attributes:
        amax: for each tensor, at least 0.
        method: how they were chosen.
        model: sha256 of the folded model that was run.
        images: sha256 of each image that was used, by its path in the folder.
        skipped: images that could not be read.
        preprocess: the recipe's, as JSON.
        versions: of the tools that took part.
    """

    amax: dict[str, float]
    method: str
    model: str
    images: dict[str, str]
    skipped: list[str]
    preprocess: dict[str, Any]
    versions: dict[str, str]


def save(ranges: Ranges, path: Path) -> None:
    path.write_text(json.dumps({"format": FORMAT, **asdict(ranges)}, indent=1) + "\n", encoding="utf-8")


def load(path: Path) -> Ranges:
    """Read a table.

    Raises:
        ForgeError: the file is missing, not such a table, or holds a range that is not a number of at least 0.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("format", None) != FORMAT:
            raise ForgeError(f"{path}: not a calibration table of this version ({FORMAT})", "calibrate again")
        ranges = Ranges(**content)
        amax = {str(name): float(value) for name, value in ranges.amax.items()}
    except FileNotFoundError as error:
        raise ForgeError(f"{path}: no such file", "make it with `trtforge calibrate`") from error
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ForgeError(f"{path}: not a calibration table", "make it with `trtforge calibrate`") from error
    bad = next((name for name, value in amax.items() if not (math.isfinite(value) and value >= 0)), None)
    if bad is not None:
        raise ForgeError(f"{path}: the range of {bad!r} is {amax[bad]}", "calibrate again")
    return ranges
