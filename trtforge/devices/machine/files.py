"""Reading a few facts out of files under a root folder, of which any may be missing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

HERE = Path("/")


@dataclass(frozen=True)
class Found:
    """Something installed: its name, its version, and the file or folder that shows it, below the
    root.

    ``cuda``: the CUDA that it was made for, such as 13 or 12.6, where that can be read.
    """

    name: str
    version: str
    where: str
    cuda: str | None = None


def read(root: Path, file: Path | str, most: int = 1 << 20) -> str:
    """The beginning of a file below the root; nothing where there is none, or it may not be read.

    A link in an unpacked image or on a mounted disk means a place below that root, and never one of
    this machine.
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
    found = re.search(pattern, text)
    return found[0] if found else None


def below(root: Path, path: Path) -> str:
    return "/" + str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
