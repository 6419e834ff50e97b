"""Read facts from files under a root folder; any file may be missing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

HERE = Path("/")


@dataclass(frozen=True)
class Found:
    """An installed library, package or program.

    Attributes:
        where: path of its file or folder, below the root.
        cuda: the CUDA version that it was built for, such as 13 or 12.6, if known.
    """

    name: str
    version: str
    where: str
    cuda: str | None = None


def read(root: Path, file: Path | str, most: int = 1 << 20) -> str:
    """Return the start of a file below the root; empty if it is missing or can't be read.

    A link in an unpacked image or on a mounted disk points below that root, never into this
    machine.

    Args:
        most: largest number of bytes to read.
    """
    path = (root / file).resolve()
    if root != HERE and not path.is_relative_to(root):
        path = (root / path.relative_to(HERE)).resolve()
    try:
        if not path.is_relative_to(root) or not path.is_file():
            return ""
        with path.open("rb") as stream:
            return stream.read(most).decode("utf-8", errors="replace")
    except OSError:
        return ""


def first(pattern: str, text: str) -> str | None:
    """Return the first match of a pattern."""
    match = re.search(pattern, text)
    return match[0] if match else None


def below(root: Path, path: Path) -> str:
    """Return a path as a program on that machine would see it."""
    return "/" + str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
