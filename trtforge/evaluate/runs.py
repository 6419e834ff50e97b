"""Inputs of networks in the JSON of Polygraphy, which `polygraphy run` reads and writes, too."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trtforge.errors import ForgeError

Arrays = Mapping[str, NDArray[Any]]
HINT = "`trtforge verify --save-inputs` and `polygraphy run --save-inputs` write such files"


def load_inputs(path: Path) -> list[dict[str, NDArray[Any]]]:
    """Return the inputs of each run, by name.

    Raises:
        ForgeError: the file is missing, or holds something else.
    """
    from polygraphy.exception import PolygraphyException
    from polygraphy.json import from_json

    if not path.is_file():
        raise ForgeError(f"{path}: no such file", HINT)
    try:
        runs = from_json(path.read_text(encoding="utf-8"))
    except (PolygraphyException, ValueError, KeyError, RecursionError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise ForgeError(f"{path}: not inputs in Polygraphy's JSON: {reason}", HINT) from error
    if not isinstance(runs, list) or not runs or not all(_is_feed(run) for run in runs):
        raise ForgeError(f"{path}: not inputs in Polygraphy's JSON: no list of named arrays", HINT)
    return [dict(run) for run in runs]


def inputs_text(runs: list[dict[str, NDArray[Any]]]) -> str:
    """Return the JSON of the inputs of each run."""
    from polygraphy.json import to_json

    return str(to_json(runs))


def _is_feed(run: object) -> bool:
    return (
        isinstance(run, dict)
        and bool(run)
        and all(isinstance(array, np.ndarray) for array in run.values())
    )
