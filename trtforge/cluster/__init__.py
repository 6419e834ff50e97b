"""One function over many cells: in this process, in local processes, or on the nodes of a Ray
cluster.

What a function makes goes through the store, wherever it runs, and ends in the store of the caller.
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

RETRIES = (
    2  # of a cell whose process or node died; a builder that kills its process does so each time
)
Work = Callable[[Any, Store], Any]


@dataclass(frozen=True)
class Cell:
    """What one call of the function works on.

    Attributes:
        arguments: its first argument. The files of every ``File`` in it travel along.
        device: that the node must have; None is any node.
        alone: it is timed, or times kernels: nothing else of ours runs beside it.
        known: entries of the caller's store that it may ask its own store for.
    """

    arguments: Any
    device: Device | None = None
    alone: bool = False
    known: tuple[Artifact[object], ...] = ()


@dataclass(frozen=True)
class CellResult:
    """What became of a cell.

    Attributes:
        number: of the cell, from 0 on.
        value: what the function returned.
        error: what it raised, if the user can put it right.
        made: what it had of the store, in order; all of it lies in the caller's store.
    """

    number: int
    value: Any = None
    error: ForgeError | None = None
    made: list[Artifact[object]] = field(default_factory=list)

    def result(self) -> Any:
        """The value, or the error raised."""
        if self.error:
            raise self.error
        return self.value


@dataclass(frozen=True)
class Workers:
    """Where the work is done.

    Attributes:
        count: how many cells are worked on at a time; on a cluster, its nodes.
        here: whether the machine is this one.
        run: gives the cells back as they are done, in any order.
    """

    count: int
    here: bool
    run: Callable[[Work, Sequence[Cell]], Iterator[CellResult]]

    def run_with_progress(
        self, work: Work, cells: Sequence[Cell], label: str
    ) -> Iterator[CellResult]:
        """``run``, with one progress bar; a single cell here has its own."""
        if self.here and len(cells) == 1:
            yield from self.run(work, cells)
            return
        with present.progress(label, len(cells)) as progress:
            for count, done in enumerate(self.run(work, cells), 1):
                progress(count)
                yield done

    def results(self, work: Work, cells: Sequence[Cell]) -> list[Any]:
        """The values in the order of the cells.

        Raises:
            ForgeError: the first that a cell raised.
        """
        return [
            done.result() for done in sorted(self.run(work, cells), key=lambda done: done.number)
        ]


def this_process(store: Store) -> Workers:
    """This process."""
    return Workers(1, True, partial(_in_turn, store))


@contextmanager
def open_workers(
    on: str, store: Store, devices: Sequence[Device] = (), timeout: float | None = None
) -> Iterator[Workers]:
    """The place that ``--on`` names, while the block runs.

    Args:
        on: ``local`` (this process), ``local:N`` (so many processes), ``ray`` (a cluster started
            here) or ``ray://HOST:PORT``.
        devices: that a cluster started here has.
        timeout: seconds to wait for a node with a cell's device; None is for ever.

    Raises:
        ForgeError: it is none of these.
        MachineError: Ray is missing, or does not answer.
    """
    count = re.fullmatch(r"local(?::([1-9]\d{0,2}))?", on)
    cluster = on == "ray" or re.fullmatch(r"ray://[^/\s:]+:\d{1,5}", on)
    if not count and not cluster:
        raise ForgeError(f"--on {on}: not known", "one of: local, local:N, ray, ray://HOST:10001")
    if count and timeout is not None:
        raise ForgeError(
            "--timeout is for nodes of a cluster", "add --on ray://HOST:10001, or drop it"
        )
    if cluster and store.planning:
        raise ForgeError("--dry-run asks no cluster", "drop --on")
    if count:
        number = int(count[1] or 1)
        yield (
            Workers(number, True, partial(_in_processes, number, store))
            if number > 1
            else this_process(store)
        )
        return
    from trtforge.cluster import ray_nodes

    with ray_nodes.connect(on, devices) as nodes:
        yield Workers(nodes, False, partial(ray_nodes.run_cells, store, timeout))


def run_cell(number: int, work: Work, arguments: Any, store: Store) -> CellResult:
    """One cell, here."""
    before = len(store.ran)
    try:
        value, error = work(arguments, store), None
    except ForgeError as raised:
        value, error = None, raised
    return CellResult(number, value, error, store.ran[before:])


def process_died(reason: str) -> BuildError:
    return BuildError(
        f"the process that worked on it died {RETRIES + 1} times: {reason}",
        "memory may be what it lacked",
    )


def _in_turn(store: Store, work: Work, cells: Sequence[Cell]) -> Iterator[CellResult]:
    for number, cell in enumerate(cells):
        yield run_cell(number, work, cell.arguments, store)


def _in_processes(
    count: int, store: Store, work: Work, cells: Sequence[Cell]
) -> Iterator[CellResult]:
    """Each thread has a process of its own: one that dies takes nothing with it but its cell, which
    is tried again.
    """
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    mine = threading.local()
    pools: list[ProcessPoolExecutor] = []

    def one(number: int, cell: Cell) -> CellResult:
        for _ in range(RETRIES + 1):
            if not hasattr(mine, "pool"):
                mine.pool = ProcessPoolExecutor(1, get_context("spawn"), present.hide_bars)
                pools.append(mine.pool)
            try:
                future: Future[CellResult] = mine.pool.submit(
                    run_cell, number, work, cell.arguments, replace(store, ran=[])
                )
                return future.result()
            except BrokenProcessPool as error:
                reason = str(error)
                del mine.pool
        return CellResult(number, error=process_died(reason))

    with ThreadPoolExecutor(1 if any(cell.alone for cell in cells) else count) as threads:
        running: list[Future[CellResult]] = [
            threads.submit(one, number, cell) for number, cell in enumerate(cells)
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
