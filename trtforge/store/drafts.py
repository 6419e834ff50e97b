"""Draft folders: hidden folders in which results are made, beside their later place.

The store makes its entries in them, and commands their outputs.
"""

from __future__ import annotations

import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from trtforge.errors import ForgeError

DRAFT = ".trtforge-"
OLD = (
    ".old"  # ends the name of a hidden folder that holds an output while a new one takes its place
)
STALE_S = 24 * 3600  # an older draft belongs to a process that died
# A new output takes its place by two renames. An old one that is away for longer than this was left
# by a process that died between them.
RESTORE_S = 60


def draft_name() -> str:
    """Return a new name for a hidden file or folder."""
    return f"{DRAFT}{uuid.uuid4().hex}"


def is_draft(name: str) -> bool:
    """Return whether ``draft_name`` made a name: similar names belong to other programs."""
    return re.fullmatch(re.escape(DRAFT) + "[0-9a-f]{32}", name) is not None


@contextmanager
def draft_in(root: Path) -> Iterator[Path]:
    """Make a hidden folder under ``root``, and delete it afterwards, unless it was renamed.

    Raises:
        ForgeError: the folder can't be written.
    """
    draft = root / draft_name()
    try:
        draft.mkdir(parents=True)
    except OSError as error:
        raise ForgeError(
            f"{root}: can't be written ({error.strerror})", "give a folder that you may write"
        ) from error
    try:
        _sweep(root)
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _sweep(root: Path) -> None:
    """Delete drafts of processes that died, and put outputs back that they had moved away."""
    for path in root.glob(f"{DRAFT}*"):
        with suppress(OSError):  # another process was faster
            age = time.time() - path.stat().st_mtime
            if is_draft(path.name) and age > STALE_S:
                discard(path)
            elif is_draft(path.name.removesuffix(OLD)) and age > RESTORE_S:
                _restore(path, age > STALE_S)


def _restore(old: Path, stale: bool) -> None:
    """Put an output back in its place if no new one has taken it, or else delete it once stale."""
    held = list(old.iterdir())
    if len(held) != 1 or not held[0].is_dir():  # not made by ``set_aside``
        return
    output = held[0]
    if not os.path.lexists(old.with_name(output.name)):
        output.rename(old.with_name(output.name))
        old.rmdir()
    elif stale:
        shutil.rmtree(old, ignore_errors=True)


def set_aside(output: Path, draft: Path) -> Path:
    """Move an output folder away, so that ``draft`` can take its place.

    If this process dies, the folder is found again by its name.

    Returns:
        Where the output is.

    Raises:
        OSError: it can't be moved; it stays where it is.
    """
    old = draft.with_name(draft.name + OLD)
    old.mkdir()
    try:
        return output.rename(old / output.name)
    except OSError:
        old.rmdir()
        raise


def discard(path: Path) -> None:
    """Delete a file or folder as far as possible; what can't be deleted stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
