"""Hidden folders in which things are made, beside the place that they will take: in the store, and
beside outputs.
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
OLD = ".old"  # ends a hidden folder that holds an output while its successor takes its place
STALE_S = 24 * 3600  # a draft older than this belongs to a process that died
# taking a place is two renames: an output that is away for longer was left by a process that died
RESTORE_S = 60


def draft_name() -> str:
    """Of a hidden file or folder that is in the making, or on its way out."""
    return f"{DRAFT}{uuid.uuid4().hex}"


def is_draft(name: str) -> bool:
    """Whether ``draft_name`` made it: what others call alike is theirs."""
    return re.fullmatch(re.escape(DRAFT) + "[0-9a-f]{32}", name) is not None


@contextmanager
def draft_in(root: Path) -> Iterator[Path]:
    """A new hidden folder under ``root`` that is gone afterwards, unless it was renamed.

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
    for path in root.glob(f"{DRAFT}*"):
        with suppress(OSError):  # another process was faster
            age = time.time() - path.stat().st_mtime
            if is_draft(path.name) and age > STALE_S:
                discard(path)
            elif is_draft(path.name.removesuffix(OLD)) and age > RESTORE_S:
                _restore(path, age > STALE_S)


def _restore(old: Path, stale: bool) -> None:
    """An output whose successor never came is back in its place; one that has a successor is needed
    no more.
    """
    (output,) = held if len(held := list(old.iterdir())) == 1 else [None]
    if output is None or not output.is_dir():  # not made by ``set_aside``
        return
    if not os.path.lexists(old.with_name(output.name)):
        output.rename(old.with_name(output.name))
        old.rmdir()
    elif stale:
        shutil.rmtree(old, ignore_errors=True)


def set_aside(output: Path, draft: Path) -> Path:
    """Where an output folder waits while ``draft`` takes its place: found again by its name if this
    process dies.

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
    """Delete a file or folder that nobody needs, as far as that is possible."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
