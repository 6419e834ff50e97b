"""The engines of a sweep: built and timed, one row for each."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from trtforge.bundle.prepared import Prepared, Target
from trtforge.cluster import Workers
from trtforge.devices import this_machine
from trtforge.errors import BuildError
from trtforge.names import Backend, Precision
from trtforge.pipeline import build_in_cell, engine_cell, needed_backend
from trtforge.pipeline.build import EngineTask
from trtforge.stages import build, measure
from trtforge.store import Artifact, Store
from trtforge.sweeping.request import SweepRequest
from trtforge.sweeping.rows import Cell, Row
from trtforge.traits import TRAITS


@dataclass(frozen=True)
class RowTask:
    """The work of one call of ``_row``.

    Attributes:
        number: number of the row.
        engine: what the engine is built from.
        seconds: time for the latency.
    """

    number: int
    cell: Cell
    engine: EngineTask
    seconds: float


def list_cells(backend: Backend, request: SweepRequest) -> tuple[list[Cell], list[str]]:
    """Return the cells, without the axes that the backend ignores, and remarks on those axes."""
    remarks: list[str] = []

    def axis(name: str, values: Sequence[int | None]) -> Sequence[int | None]:
        if name not in TRAITS[backend].ignored or list(values) == [None]:
            return values
        option = f"--{name.replace('_', '-')}"
        remarks.append(
            f"{backend} ignores {option}: the engines are the same bytes, and one stands for all"
        )
        return [None]

    workspaces = axis("workspace", request.workspaces)
    opt_levels = axis("opt_level", request.opt_levels)
    axes = itertools.product(request.precisions, request.batches, workspaces, opt_levels)
    return [Cell(*values) for values in axes], remarks


def build_rows(
    cells: Sequence[Cell],
    prepared: Mapping[tuple[Precision, int], Prepared],
    target: Target,
    store: Store,
    seconds: float,
    workers: Workers,
) -> list[Row]:
    """Build and time the engine of every cell; a builder that refuses leaves a row that says why.

    Args:
        prepared: the prepared model of every precision and batch.
        seconds: time for each latency.

    Raises:
        ForgeError: anything else goes wrong.
    """
    backend = needed_backend(target)
    timed = TRAITS[backend].builds_on_target or _runtime(target) is not None
    tasks = []
    for number, cell in enumerate(cells, 1):
        model = prepared[cell.precision, cell.batch]
        task = engine_cell(model, target, cell.options, store)
        arguments = RowTask(number, cell, task.arguments, seconds)
        tasks.append(replace(task, arguments=arguments, alone=timed))
    rows = [Row(number, cell) for number, cell in enumerate(cells, 1)]
    for done in workers.run_with_progress(_row, tasks, f"sweep over {len(cells)} engines"):
        if isinstance(done.error, BuildError):
            rows[done.number] = replace(rows[done.number], why_not=done.error.problem)
        else:
            rows[done.number] = done.result()
    return _with_twins(rows)


def _with_twins(rows: Sequence[Row]) -> list[Row]:
    """Return the rows, with the number of the first row whose engine has the same bytes."""
    firsts: dict[str, int] = {}
    marked = []
    for row in rows:
        first = firsts.setdefault(row.digest, row.number)
        twin = row.digest and first != row.number
        marked.append(replace(row, same_as=first) if twin else row)
    return marked


def _row(task: RowTask, store: Store) -> Row:
    """Build and time one engine, where this runs."""
    prepared, target, _ = task.engine
    engine = build_in_cell(task.engine, store)
    row = Row(
        task.number,
        task.cell,
        cached=engine.cached,
        build_seconds=round(engine.seconds, 2),
        engine_bytes=engine.facts.engine_bytes,
        activation_bytes=engine.facts.activation_bytes,
        scratch_bytes=engine.facts.scratch_bytes,
        digest=engine.digests[build.ENGINE],
    )
    runtime = _runtime(target)
    if runtime is None:
        return row
    timed = _time(engine, prepared, target, runtime, task, store)
    return replace(row, latency_ms=timed.latency_ms, images_per_second=timed.images_per_second)


def _time(
    engine: Artifact[build.BuildFacts],
    prepared: Prepared,
    target: Target,
    runtime: Backend,
    task: RowTask,
    store: Store,
) -> measure.LatencyFacts:
    on_gpu = target.device is not None and TRAITS[runtime].on_gpu
    options = measure.LatencyOptions(
        runtime=runtime,
        batch=task.cell.batch,
        size=prepared.facts.size,
        seconds=task.seconds,
        machine=target.device.title if target.device and on_gpu else measure.machine(),
    )
    inputs = measure.LatencyInputs(engine.file(build.ENGINE))
    return store.run(measure.LATENCY, inputs, options).facts


def _runtime(target: Target) -> Backend | None:
    """Return what times the target's engines here; None if nothing can."""
    backend = needed_backend(target)
    if not TRAITS[backend].on_gpu:
        return backend
    here = this_machine()
    fits = here is not None and target.device is not None and here.sm == target.device.sm
    return backend if fits else None
