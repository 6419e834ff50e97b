"""Show progress as bars or lines, and notes as lines, on stderr."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EVERY_S = 10.0  # between two lines of progress where there is no terminal


class Terminal:
    """The listener of the command line; without a terminal, long tasks print a line now and then."""

    def __init__(self) -> None:
        self._lines: list[_Lines] = []  # of the tasks that are open, the innermost last

    @contextmanager
    def task(self, label: str) -> Iterator[Callable[[float], None]]:
        """Show a bar, or lines, while the block runs."""
        if not sys.stderr.isatty():
            with self._in_lines(label) as update:
                yield update
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
            task = bars.add_task(label, total=1.0)
            yield lambda share: bars.update(task, completed=share)

    def note(self, text: str) -> None:
        """Print one line."""
        print(text, file=sys.stderr)

    @contextmanager
    def _in_lines(self, label: str) -> Iterator[Callable[[float], None]]:
        lines = _Lines(label, lambda: self._lines[-1:] == [lines])
        self._lines.append(lines)
        lines.thread.start()
        try:
            yield lines.update
        finally:
            lines.ended.set()
            lines.thread.join()
            self._lines.remove(lines)


class _Lines:
    """Says how far a task has come, every ``EVERY_S``, also while nobody updates the share.

    Args:
        innermost: whether this task is the one to speak: others wait for it.
    """

    def __init__(self, label: str, innermost: Callable[[], bool]) -> None:
        self.label, self.innermost, self.share = label, innermost, 0.0
        self.started, self.ended = time.monotonic(), threading.Event()
        self.thread = threading.Thread(target=self._speak, daemon=True)

    def update(self, share: float) -> None:
        self.share = share

    def _speak(self) -> None:
        while not self.ended.wait(EVERY_S):
            if self.innermost():
                seconds = round(time.monotonic() - self.started)
                line = f"{self.label}: {min(self.share, 1.0):.0%}, {seconds} s"
                print(line, file=sys.stderr, flush=True)
