"""What a person sees: progress on stderr, one short table on stdout."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

_bars = True


def hide_bars() -> None:
    """For a process whose work another one shows."""
    global _bars  # noqa: PLW0603
    _bars = False


@contextmanager
def progress(label: str, total: int | None = None) -> Iterator[Callable[[float], None]]:
    """A bar on stderr while the block runs; nothing where stderr is no terminal.

    Yields:
        A function that takes how much is done: of ``total``, or a share in 0..1 without it.
    """
    if not (_bars and sys.stderr.isatty()):
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(label, total=total or 1.0)
        yield lambda done: bars.update(task, completed=done)


def note(text: str) -> None:
    """One line on stderr."""
    print(text, file=sys.stderr)


def table(rows: Sequence[Sequence[str]], header: Sequence[str] = ()) -> str:
    """Columns as wide as their widest cell, two spaces apart."""
    lines = [list(header), *map(list, rows)] if header else [list(row) for row in rows]
    if not lines:
        return ""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    padded = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    if header:
        padded.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(padded)


def size(count: float) -> str:
    """Bytes for people: 13.6 MB (decimal, as file managers count)."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} GB"
