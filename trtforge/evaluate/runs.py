"""Inputs and outputs of networks in Polygraphy's JSON, which `polygraphy run` reads and writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trtforge.errors import ForgeError

Arrays = dict[str, NDArray[Any]]
# Polygraphy holds all of such a file in memory, and so do we.
MAX_BYTES = 2**30
HINT = "`trtforge verify --save-inputs` and `polygraphy run --save-inputs` write such files"


@dataclass
class Runs:
    """What engines took and returned in each run.

    Attributes:
        inputs: of each run, by name.
        outputs: of each run, for each engine, by name.
    """

    inputs: list[Arrays] = field(default_factory=list)
    outputs: list[list[Arrays]] = field(default_factory=list)

    def check_size(self, count: int) -> None:
        """Refuse, after the first run, what would not fit into memory after ``count`` runs.

        Raises:
            ForgeError: it is over 1 GiB.
        """
        first = [self.inputs[0], *self.outputs[0]]
        total = count * sum(array.nbytes for arrays in first for array in arrays.values())
        if total > MAX_BYTES:
            raise ForgeError(
                f"--save-inputs and --save-outputs: {total / 2**30:.1f} GiB for {count} images",
                "give a folder of fewer images: a few show a difference",
            )


def load_inputs(path: Path) -> list[Arrays]:
    """Return the inputs of each run, by name.

    Raises:
        ForgeError: the file is missing or too large, or holds something else.
    """
    from polygraphy.json import from_json

    if not path.is_file():
        raise ForgeError(f"{path}: no such file", HINT)
    if path.stat().st_size > 2 * MAX_BYTES:
        raise ForgeError(f"{path}: over 2 GiB", "save fewer inputs")
    try:
        with _silent():
            runs = from_json(path.read_text(encoding="utf-8"))
    except Exception as error:  # of any class: Polygraphy's decoders believe what is in the file
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise ForgeError(f"{path}: not inputs in Polygraphy's JSON: {reason}", HINT) from error
    if not isinstance(runs, list) or not runs or not all(_is_feed(run) for run in runs):
        raise ForgeError(f"{path}: not inputs in Polygraphy's JSON: no list of named arrays", HINT)
    return [dict(run) for run in runs]


def inputs_text(runs: Sequence[Mapping[str, NDArray[Any]]]) -> str:
    """Return the JSON of the inputs of each run."""
    from polygraphy.json import to_json

    with _silent():
        return to_json([dict(run) for run in runs])


def outputs_text(engines: Sequence[str], outputs: Sequence[Sequence[Arrays]]) -> str:
    """Return the JSON of the outputs of each run, for each engine.

    Args:
        engines: their names; of two equal ones the second gets a number.
    """
    from polygraphy.comparator import RunResults

    with _silent():
        results = RunResults()
        for number, engine in enumerate(engines):
            name = f"{engine} ({number + 1})" if engine in engines[:number] else engine
            results.add([run[number] for run in outputs], runner_name=name)
        return results.to_json()


@contextmanager
def _silent() -> Iterator[None]:
    """Keep Polygraphy's log off stdout, which carries results only."""
    from polygraphy.logger import G_LOGGER

    with G_LOGGER.verbosity(G_LOGGER.CRITICAL + 1):
        yield


def _is_feed(run: object) -> bool:
    return (
        isinstance(run, dict)
        and bool(run)
        and all(isinstance(array, np.ndarray) for array in run.values())
    )
