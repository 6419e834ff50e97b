"""Report progress and notes to whoever listens, and lay out tables and sizes for people.

Nobody listens at first: used as a library, trtforge prints nothing. The command line installs
``trtforge.cli.terminal.Terminal``, and the Python API a caller's ``progress`` callback.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Protocol

ProgressCallback = Callable[[str, float], None]


class Listener(Protocol):
    """Receiver of progress and notes."""

    def task(self, label: str) -> AbstractContextManager[Callable[[float], None]]:
        """Begin a task; the block gets a function that takes the share which is done, 0..1."""

    def note(self, text: str) -> None:
        """Take a line that the user should know of before the result."""


class Silent:
    """Nobody listens; notes go to the log ``trtforge``."""

    def task(self, label: str) -> AbstractContextManager[Callable[[float], None]]:
        return nullcontext(_ignore)

    def note(self, text: str) -> None:
        import logging

        logging.getLogger("trtforge").info(text)


class Callback(Silent):
    """Calls a function with the label of each task and the share of it that is done."""

    def __init__(self, function: ProgressCallback) -> None:
        self.function = function

    def task(self, label: str) -> AbstractContextManager[Callable[[float], None]]:
        self.function(label, 0.0)
        return nullcontext(lambda share: self.function(label, min(share, 1.0)))


_default: list[Listener] = [Silent()]  # of this process, for all of its threads
_current: ContextVar[Listener | None] = ContextVar("listener", default=None)


def install(listener: Listener) -> None:
    """Let a listener hear all that nobody else listens to."""
    _default[0] = listener


@contextmanager
def listening(progress: ProgressCallback | None) -> Iterator[None]:
    """Call ``progress(label, share)`` while the block runs; None changes nothing."""
    if progress is None:
        yield
        return
    token = _current.set(Callback(progress))
    try:
        yield
    finally:
        _current.reset(token)


@contextmanager
def progress(label: str, total: int | None = None) -> Iterator[Callable[[float], None]]:
    """Report how far the block has come.

    Yields:
        A function that takes how much is done: of ``total``, or a share in 0..1 without it.
    """
    with _listener().task(label) as update:
        yield lambda done: update(done / (total or 1))


def note(text: str) -> None:
    """Report a line that the user should know of before the result."""
    _listener().note(text)


def table(rows: Sequence[Sequence[str]], header: Sequence[str] = ()) -> str:
    """Return columns as wide as their widest cell, two spaces apart."""
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
    """Return bytes for people: 13.6 MB (decimal, as file managers count)."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} GB"


def _listener() -> Listener:
    return _current.get() or _default[0]


def _ignore(share: float) -> None:
    """Take no notice."""
