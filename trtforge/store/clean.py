"""Make room in the store: delete what has not been used for long.

Only what trtforge wrote is looked at: entries with their record, timing caches, and the drafts of
dead processes. An entry is renamed before it is deleted, so that no process ever finds half of one;
what is gone is made again when it is needed. The last use counts, which the store notes in the time
of the record.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from trtforge.errors import ForgeError
from trtforge.present import size, table
from trtforge.store import RECORD
from trtforge.store.drafts import STALE_S, discard, draft_name, is_draft

# Entries that were used within this many seconds may be in use now: --max-size leaves them.
IN_USE_S = 3600.0


@dataclass(frozen=True)
class Item:
    """Something in the store that can be deleted.

    Attributes:
        what: name of a stage, draft, or timing cache.
        size: bytes.
        used: when it was last used, in seconds of the epoch.
    """

    path: Path
    what: str
    size: int
    used: float


@dataclass(frozen=True)
class Cleaning:
    """Artifacts to delete, and artifacts that stay."""

    gone: tuple[Item, ...]
    kept: tuple[Item, ...]


def plan(root: Path, older_than: float | None, max_size: int | None, now: float) -> Cleaning:
    """Return which items to delete; drafts of dead processes are always among them.

    Args:
        root: folder of the store.
        older_than: delete what was not used for this many seconds; None deletes nothing by age.
        max_size: delete what was not used for longest, until the rest takes no more bytes; what was
            used in the last hour stays. None deletes nothing by size.
        now: seconds of the epoch.

    Raises:
        ForgeError: neither limit is given, or the store can't be read.
    """
    if older_than is None and max_size is None:
        raise ForgeError(
            "nothing says what to clean",
            "give --older-than, such as 30d, or --max-size, such as 20GB",
        )
    items = sorted(_items(root), key=lambda item: (item.used, item.path))
    gone = [item for item in items if item.what == "draft" and now - item.used > STALE_S]
    gone += [
        item
        for item in items
        if item.what != "draft" and older_than is not None and now - item.used > older_than
    ]
    going = set(gone)
    left = [item for item in items if item not in going]
    total = sum(item.size for item in left)
    for item in left:
        if max_size is None or total <= max_size:
            break
        if item.what != "draft" and now - item.used > IN_USE_S:
            going.add(item)
            gone.append(item)
            total -= item.size
    return Cleaning(tuple(gone), tuple(item for item in items if item not in going))


def carry_out(root: Path, cleaning: Cleaning, done: Callable[[float], None]) -> Cleaning:
    """Delete what the plan says, except what was used or deleted in the meantime.

    Args:
        done: is called with the number of items that are done.

    Returns:
        What was really deleted, and what stays.

    Raises:
        ForgeError: something can't be deleted.
    """
    gone, kept = [], list(cleaning.kept)
    for number, item in enumerate(cleaning.gone, 1):
        try:
            if _used(item) > item.used:
                kept.append(item)
                continue
            bin_ = root / draft_name()
            item.path.rename(bin_)
        except FileNotFoundError:  # another process was faster
            continue
        except OSError as error:
            raise ForgeError(
                f"{item.path}: can't be deleted ({error.strerror})",
                "run it as the user whose store it is",
            ) from error
        discard(bin_)
        gone.append(item)
        done(number)
    return Cleaning(tuple(gone), tuple(kept))


def _items(root: Path) -> Iterator[Item]:
    """Yield everything in the store that trtforge wrote.

    What vanishes while it is looked at was moved by another process, and is passed over.
    """
    try:
        for folder in _listed(root):
            if folder.is_symlink() or not folder.is_dir():
                continue
            if is_draft(folder.name):
                yield from _item(folder, "draft", folder)
                continue
            for path in _listed(folder):
                if not path.is_symlink() and (record := _record(path)).is_file():
                    yield from _item(path, folder.name if path.is_dir() else "timing cache", record)
    except OSError as error:
        raise ForgeError(
            f"{root}: can't be read ({error.strerror})", "run it as the user whose store it is"
        ) from error


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []


def _item(path: Path, what: str, used: Path) -> Iterator[Item]:
    with suppress(FileNotFoundError):
        yield Item(path, what, _size(path), used.stat().st_mtime)


def _record(path: Path) -> Path:
    """Return the file whose time is that of the last use.

    For what is not trtforge's, there is no such file.
    """
    if path.is_dir():
        return path / RECORD
    return path if path.parent.name == "timing" and path.suffix == ".cache" else path / RECORD


def _used(item: Item) -> float:
    return item.path.stat().st_mtime if item.what == "draft" else _record(item.path).stat().st_mtime


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with suppress(FileNotFoundError):
                total += os.lstat(os.path.join(folder, name)).st_size
    return total


def document(root: Path, cleaning: Cleaning, dry_run: bool) -> dict[str, object]:
    """Return the JSON document; times are in seconds of the epoch, sizes in bytes."""
    gone = [
        {"path": str(item.path), "what": item.what, "size": item.size, "used": item.used}
        for item in cleaning.gone
    ]
    return {
        "store": str(root),
        "dry_run": dry_run,
        "gone": gone,
        "freed": sum(item.size for item in cleaning.gone),
        "kept": len(cleaning.kept),
        "kept_size": sum(item.size for item in cleaning.kept),
    }


def text(root: Path, cleaning: Cleaning, dry_run: bool, now: float) -> str:
    """Return a table of what is deleted, one line for each kind, and the sum."""
    rows = []
    for what in sorted({item.what for item in cleaning.gone}):
        items = [item for item in cleaning.gone if item.what == what]
        hours = max(0.0, now - max(item.used for item in items)) / 3600
        unused = f"{hours:.1f} hours and more" if hours < 48 else f"{hours / 24:.0f} days and more"
        rows.append([what, str(len(items)), _total_size(items), unused])
    verb = "would go" if dry_run else "deleted"
    lines = [table(rows, ["what", "entries", "size", "unused for"])] if rows else []
    lines.append(
        f"{verb}: {len(cleaning.gone)} entries, {_total_size(cleaning.gone)}; "
        f"{len(cleaning.kept)} stay with {_total_size(cleaning.kept)} in {root}"
    )
    return "\n".join(lines)


def _total_size(items: Iterable[Item]) -> str:
    return size(sum(item.size for item in items))
