"""Run one function over many cells: in this process, in local processes, or on a Ray cluster.

Wherever a function runs, it writes its results to a store, and they end in the caller's store.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from trtforge import present
from trtforge.devices import Device
from trtforge.errors import BuildError, ForgeError
from trtforge.store import Artifact, Store

# How often a cell is tried again whose process or node died. More does not help: a builder that kills
# its process does so each time.
RETRIES = 2
Work = Callable[[Any, Store], Any]


@dataclass(frozen=True)
class Cell:
    """One call of the function.

    Attributes:
        arguments: the function's first argument. The files of every ``File`` in it are sent along.
        device: the device that the node must have; None means any node.
        alone: whether nothing else of trtforge may run at the same time, because times are measured.
        known: entries of the caller's store that the function may look up in its own store.
    """

    arguments: Any
    device: Device | None = None
    alone: bool = False
    known: tuple[Artifact[object], ...] = ()


@dataclass(frozen=True)
class CellResult:
    """The result of a cell.

    Attributes:
        number: number of the cell, from 0.
        value: what the function returned.
        error: what the function raised, if the user can correct it.
        made: the entries of the store that the function used, in order; all are in the caller's
            store.
    """

    number: int
    value: Any = None
    error: ForgeError | None = None
    made: list[Artifact[object]] = field(default_factory=list)

    def result(self) -> Any:
        """Return the value, or raise the error."""
        if self.error:
            raise self.error
        return self.value


@dataclass(frozen=True)
class Workers:
    """The place where cells run.

    Attributes:
        count: number of cells that run at the same time; on a cluster, the number of nodes.
        here: whether they run on this machine.
        run: runs cells, and yields their results as they are done, in any order.
    """

    count: int
    here: bool
    run: Callable[[Work, Sequence[Cell]], Iterator[CellResult]]

    def run_with_progress(
        self, work: Work, cells: Sequence[Cell], label: str
    ) -> Iterator[CellResult]:
        """Run cells with one progress bar; a single cell on this machine shows its own."""
        if self.here and len(cells) == 1:
            yield from self.run(work, cells)
            return
        with present.progress(label, len(cells)) as progress:
            for count, done in enumerate(self.run(work, cells), 1):
                progress(count)
                yield done

    def results(self, work: Work, cells: Sequence[Cell]) -> list[Any]:
        """Run cells, and return the values in the order of the cells.

        Raises:
            ForgeError: the first error that a cell raised.
        """
        return [
            done.result() for done in sorted(self.run(work, cells), key=lambda done: done.number)
        ]


def this_process(store: Store) -> Workers:
    """Return workers that run cells in this process, one after the other."""
    return Workers(1, True, partial(_in_turn, store))


@contextmanager
def open_workers(
    on: str, store: Store, devices: Sequence[Device] = (), timeout: float | None = None
) -> Iterator[Workers]:
    """Open the place that ``--on`` names, while the block runs.

    Args:
        on: ``local`` (this process), ``local:N`` (N processes), ``ray`` (a cluster started on this
            machine) or ``ray://HOST:PORT``.
        devices: devices of a cluster started on this machine.
        timeout: seconds to wait for a node with a cell's device; None means without limit.

    Raises:
        ForgeError: ``on`` is none of these, or does not fit the other options.
        MachineError: Ray is missing, or the cluster does not answer.
    """
    count = re.fullmatch(r"local(?::([1-9]\d{0,2}))?", on)
    cluster = on == "ray" or re.fullmatch(r"ray://[^/\s:]+:\d{1,5}", on)
    if not count and not cluster:
        raise ForgeError(
            f"--on {on}: not known", "choose one of: local, local:N, ray, ray://HOST:10001"
        )
    if count and timeout is not None:
        raise ForgeError(
            "--timeout has no effect without a cluster",
            "add --on ray://HOST:10001, or drop --timeout",
        )
    if cluster and store.planning:
        raise ForgeError("--dry-run can't use a cluster", "drop --on")
    if count:
        number = int(count[1] or 1)
        if number > 1:
            yield Workers(number, True, partial(_in_processes, number, store))
        else:
            yield this_process(store)
        return
    from trtforge.cluster import ray_nodes

    with ray_nodes.connect(on, devices) as nodes:
        yield Workers(nodes, False, partial(ray_nodes.run_cells, store, timeout))


def run_cell(number: int, work: Work, arguments: Any, store: Store) -> CellResult:
    """Run one cell in this process."""
    before = len(store.ran)
    try:
        value, error = work(arguments, store), None
    except ForgeError as raised:
        value, error = None, raised
    return CellResult(number, value, error, store.ran[before:])


def process_died(reason: str) -> BuildError:
    """Return the error of a cell whose process died at every try."""
    return BuildError(
        f"the process that worked on it died {RETRIES + 1} times: {reason}",
        "free memory on that machine: it may have run out",
    )


def _in_turn(store: Store, work: Work, cells: Sequence[Cell]) -> Iterator[CellResult]:
    for number, cell in enumerate(cells):
        yield run_cell(number, work, cell.arguments, store)


def _in_processes(
    count: int, store: Store, work: Work, cells: Sequence[Cell]
) -> Iterator[CellResult]:
    """Run cells in several processes.

    Each thread has its own process. If a process dies, only its cell is lost, and is tried again.
    """
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    per_thread = threading.local()  # the pool of each thread: one process
    pools: list[ProcessPoolExecutor] = []

    def run_one(number: int, cell: Cell) -> CellResult:
        reason = ""
        for _ in range(RETRIES + 1):
            if not hasattr(per_thread, "pool"):
                per_thread.pool = ProcessPoolExecutor(1, get_context("spawn"))
                pools.append(per_thread.pool)
            try:
                future: Future[CellResult] = per_thread.pool.submit(
                    run_cell, number, work, cell.arguments, replace(store, ran=[])
                )
                return future.result()
            except BrokenProcessPool as error:
                reason = str(error)
                del per_thread.pool
        return CellResult(number, error=process_died(reason))

    with ThreadPoolExecutor(1 if any(cell.alone for cell in cells) else count) as threads:
        running: list[Future[CellResult]] = [
            threads.submit(run_one, number, cell) for number, cell in enumerate(cells)
        ]
        try:
            for future in as_completed(running):
                done = future.result()
                store.ran += done.made
                yield done
        finally:
            for future in running:
                future.cancel()
            for pool in pools:
                pool.shutdown(wait=False, cancel_futures=True)
