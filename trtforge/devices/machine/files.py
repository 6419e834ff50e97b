"""Read facts from files under a root folder; any file may be missing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

# The root folder of this machine, in contrast to that of a disk or an unpacked image.
THIS_MACHINE = Path("/")


@dataclass(frozen=True)
class Component:
    """An installed library, package or program.

    Attributes:
        where: path of its file or folder, as seen by a program on that machine.
        cuda: the CUDA version that it was built for, such as 13 or 12.6, if known.
    """

    name: str
    version: str
    where: str
    cuda: str | None = None


def read(root: Path, file: Path | str, max_bytes: int = 1 << 20) -> str:
    """Return the start of a file below the root; empty if it is missing or can't be read.

    A link in an unpacked image or on a mounted disk points below that root, never into this
    machine.

    Args:
        max_bytes: read no more bytes than this.
    """
    path = (root / file).resolve()
    if root != THIS_MACHINE and not path.is_relative_to(root):
        path = (root / path.relative_to(THIS_MACHINE)).resolve()
    try:
        if not path.is_relative_to(root) or not path.is_file():
            return ""
        with path.open("rb") as stream:
            return stream.read(max_bytes).decode("utf-8", errors="replace")
    except OSError:
        return ""


def first_match(pattern: str, text: str) -> str | None:
    """Return the first match of a pattern."""
    match = re.search(pattern, text)
    return match[0] if match else None


def inner_path(root: Path, path: Path) -> str:
    """Return a path under a root folder as a program on that machine would see it."""
    return "/" + str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
