"""The builder's progress as a share of the whole, and Ctrl-C that stops it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


def monitor(trt: Any, progress: Callable[[float], None], cancelled: Callable[[], bool]) -> Any:
    """Return a progress monitor for a builder config."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        """Phases nest; the share done of a phase counts as part of a step of the phase around it."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.phases: dict[
                str, tuple[str | None, int, int]
            ] = {}  # name -> phase around it, steps, steps done
            self.shown = 0.0
            self.lock = threading.Lock()  # TensorRT calls from several threads

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            with self.lock:
                self.phases[phase_name] = (parent_phase, max(1, num_steps), 0)

        def step_complete(self, phase_name: str, step: int) -> bool:
            with self.lock:
                if phase_name in self.phases:
                    around, steps, _ = self.phases[phase_name]
                    self.phases[phase_name] = (around, steps, step + 1)
                    self.shown = max(self.shown, min(1.0, self._share(phase_name)))
            progress(self.shown)
            return not cancelled()

        def phase_finish(self, phase_name: str) -> None:
            with self.lock:
                self.phases.pop(phase_name, None)

        def _share(self, name: str) -> float:
            around, steps, done = self.phases[name]
            share = done / steps
            while around in self.phases:
                around, steps, done = self.phases[around]
                share = (done + min(1.0, share)) / steps
            return share

    return Monitor()


@contextmanager
def cancellable() -> Iterator[Callable[[], bool]]:
    """Let Ctrl-C set a flag while the builder runs; an exception in its callbacks ends the process."""
    pressed = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield pressed.is_set
        return
    before = signal.signal(signal.SIGINT, lambda number, frame: pressed.set())
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, before)
