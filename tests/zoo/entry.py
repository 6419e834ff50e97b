"""One file of the zoo: its name, and the function that exports it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.zoo.reference import Arrays, Reference


@dataclass(frozen=True)
class Entry:
    """A file to be exported.

    Attributes:
        name: ``library/family/variant``, its path below the folder of the zoo.
        make: writes the ONNX file to the given path, and returns what the library says about it.
    """

    name: str
    make: Callable[[Path], tuple[Reference, Arrays]]
