"""Show progress as bars, and notes as lines, on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Terminal:
    """The listener of the command line; without a terminal there are no bars."""

    @contextmanager
    def task(self, label: str) -> Iterator[Callable[[float], None]]:
        """Show a bar while the block runs."""
        if not sys.stderr.isatty():
            yield lambda share: None
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
