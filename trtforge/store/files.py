"""Files that stages read, known by the digests of their contents."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

BLOCK = 1 << 20  # bytes that are read at a time


@dataclass(frozen=True)
class File:
    """A file or folder that a stage reads.

    Attributes:
        digest: sha256 of the contents; None while the file is not made yet, or where no store needs
            to know it.
        beside: files that belong to it, such as the external weights of a model. The digest covers
            them, too.
    """

    path: Path
    digest: str | None = None
    beside: tuple[Path, ...] = field(default=(), compare=False)


def source(path: Path, *beside: Path) -> File:
    """Return a file of the user's, with the digest of it and of the files that belong to it.

    Raises:
        OSError: a file can't be read.
    """
    if not beside:
        return File(path, digest(path))
    digests = "".join(digest(file) for file in (path, *beside))
    return File(path, hashlib.sha256(digests.encode()).hexdigest(), beside)


def changed(file: File) -> bool:
    """Return whether a file has other contents than its digest says.

    Folders, and files that are gone, count as unchanged.
    """
    if not all(path.is_file() for path in (file.path, *file.beside)):
        return False
    return source(file.path, *file.beside).digest != file.digest


def digest(path: Path) -> str:
    """Return the sha256 of a file, in hex.

    Raises:
        OSError: the file can't be read.
    """
    sha256 = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            sha256.update(block)
    return sha256.hexdigest()
