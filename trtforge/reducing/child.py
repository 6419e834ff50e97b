"""A process of its own for the checks: a builder that crashes takes nothing else with it."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures import TimeoutError as TooLate
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

from trtforge.errors import MachineError
from trtforge.reducing.checks import Check, Failure, Values, run


class Child:
    """A process that does all checks, one after the other, because the first build takes seconds.

    It is started anew after a crash.
    """

    def __init__(self, log: Path) -> None:
        self.log = log
        self.start()

    def start(self) -> None:
        """Start the process.

        Raises:
            MachineError: it does not start.
        """
        others = set(multiprocessing.active_children())
        self.pool = ProcessPoolExecutor(
            1, multiprocessing.get_context("spawn"), _begin, (self.log,)
        )
        try:
            self.pool.submit(os.getpid).result()
        except BrokenProcessPool as error:
            raise MachineError(
                "the process that checks graphs does not start",
                "a script of your own needs `if __name__ == '__main__':` around its calls",
            ) from error
        (self.process,) = set(multiprocessing.active_children()) - others

    def check(
        self, check: Check, model: Path, fed: Values, right: Values, seconds: float
    ) -> Failure | None:
        """Return what is wrong with a graph; see ``checks.run``.

        Raises:
            ForgeError: the graph can't be tried.
            TimeoutError: it took longer than ``seconds``; the process is ended.
        """
        printed = self.log.stat().st_size
        try:
            failure = self.pool.submit(run, check, model, fed, right).result(seconds)
        except TooLate as error:
            self.process.kill()
            raise TimeoutError from error
        except BrokenProcessPool:
            self.process.join()
            words = self.log.read_bytes()[printed:].decode(errors="replace")
            failure = Failure("crashed", _last_words(self.process.exitcode or 0, words))
            self.start()
            return failure
        # After some errors of CUDA, everything else in the process fails, too.
        if failure and (failure.kind == "failed" or "cuda" in failure.text.lower()):
            self.stop()
            self.start()
        return failure

    def stop(self) -> None:
        """End the process."""
        self.process.kill()
        self.pool.shutdown(cancel_futures=True)


@contextmanager
def child(log: Path) -> Iterator[Child]:
    """Start a process for the checks, and end it with the block.

    Args:
        log: file for what the builder prints.
    """
    started = Child(log)
    try:
        yield started
    finally:
        started.stop()


def _begin(log: Path) -> None:
    """Send what libraries print into a file, and leave Ctrl-C to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)


def _last_words(exit_code: int, printed: str) -> str:
    how = signal.Signals(-exit_code).name if exit_code < 0 else f"exit code {exit_code}"
    lines = printed.strip().splitlines()
    return f"{how}: {lines[-1].strip()}" if lines else how
