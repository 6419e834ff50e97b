"""Write the files of commands: each whole, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from trtforge.errors import ForgeError
from trtforge.names import IMAGE_SUFFIXES
from trtforge.store.drafts import draft_in

Made = TypeVar("Made")


def single(
    write: Callable[[Path], Made],
    name: str,
    out: Path,
    *,
    reads: Iterable[Path | None] = (),
    beside: str = "",
) -> Made:
    """Write one file, whole or not at all.

    Args:
        write: writes files into a folder.
        name: name of the file there that becomes ``out``.
        reads: what ``write`` reads, and must not be written over.
        beside: name of a second file that may be written, for a model that is no use without it.

    Returns:
        What ``write`` returns.

    Raises:
        ForgeError: that of ``write``, or ``out`` is a folder or an input.
    """
    check(out, *reads)
    with draft_in(out.absolute().parent) as draft:
        made = write(draft)
        if beside and (draft / beside).exists():
            (draft / beside).replace(out.with_name(beside))
        (draft / name).replace(out)
    return made


def check(out: Path, *inputs: Path | None) -> None:
    """Refuse, before any work, a place where no file can be written.

    Raises:
        ForgeError: it is a folder, or its folder is missing; it is one of the inputs, or an image
            in one of them.
    """
    if out.is_dir():
        raise ForgeError(f"{out}: is a folder", "give a file")
    if not out.absolute().parent.is_dir():
        raise ForgeError(f"{out}: there is no folder {out.parent}", "make it first")
    spare([path for path in inputs if path], [out], "give another file")


def spare(
    inputs: Sequence[Path], outs: Iterable[Path], hint: str = "give another folder with -o"
) -> None:
    """Refuse, before any work, to write over a file that is read.

    Raises:
        ForgeError: one of ``outs`` is one of ``inputs``, by this name or another, or an image in
            one of them.
    """
    # A file may have several names, so that its device and inode count.
    existing = [path.stat() for path in inputs if path.exists()]
    identities = {(status.st_dev, status.st_ino) for status in existing}
    folders = [path.resolve() for path in inputs if path.is_dir()]
    for out in filter(Path.exists, outs):
        status = out.stat()
        if (status.st_dev, status.st_ino) in identities:
            raise ForgeError(f"{out}: is the input itself", hint)
        inside = any(out.resolve().is_relative_to(folder) for folder in folders)
        if out.is_file() and inside and out.suffix.lower() in IMAGE_SUFFIXES:
            raise ForgeError(f"{out}: is one of the images", hint)


def write_text(out: Path, text: str) -> None:
    """Write a file, whole or not at all.

    Raises:
        ForgeError: see ``single``.
    """

    def write(draft: Path) -> None:
        (draft / "text").write_text(text, encoding="utf-8")

    single(write, "text", out)
