"""Workspace x precision x batch x optimisation level: one row for each engine, failures among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from trtforge.bundle.prepared import Target
from trtforge.cluster import Workers, this_process
from trtforge.pipeline import needed_backend, prepare
from trtforge.pipeline.job import Job
from trtforge.stages import measure
from trtforge.store import Store
from trtforge.sweeping.accuracy import Accuracies, measure_accuracies
from trtforge.sweeping.engines import build_rows, list_cells
from trtforge.sweeping.output import check, deliver_best, write
from trtforge.sweeping.request import SweepRequest
from trtforge.sweeping.rows import Row, Swept, job_for, on_front, thresholds

__all__ = ["SweepRequest", "check", "deliver_best", "sweep", "write"]


def sweep(
    job: Job,
    target: Target,
    store: Store,
    request: SweepRequest,
    workers: Workers | None = None,
) -> Swept:
    """Build every cell, and measure what was built.

    An engine, a latency or an accuracy that the store has is not made again. A failed build is
    never stored: it is tried again in each sweep, since memory or a driver may have been what it
    lacked; it takes no longer than one that succeeds.

    Args:
        workers: build and measure; None is this process.

    Raises:
        ForgeError: the model, the images or the labels are wrong. What the builder refuses is a
            row.
    """
    backend = needed_backend(target)
    if not request.batches:
        plain = prepare(replace(job, precision="fp32", images=None), store, [backend])
        request = replace(request, batches=[plain.batch[2]])
    cells, ignored = list_cells(backend, request)
    prepared = {
        (cell.precision, cell.batch): prepare(job_for(job, cell), store, [backend])
        for cell in cells
    }
    # Before the engines, so that labels that don't fit are refused at once.
    accuracies = measure_accuracies(job, backend, request.batches[0], store, request)
    workers = workers or this_process(store)
    rows = build_rows(cells, prepared, target, store, request.seconds, workers)
    rows = [_with_accuracy(row, accuracies) for row in rows]
    rows = [replace(row, front=on_front(row, rows)) for row in rows]
    place = target.device.title if target.device else measure.machine()
    remarks = [*ignored, *_remarks(rows, target)]
    return Swept(job.model.name, backend, place, rows, accuracies.metric, remarks)


def _with_accuracy(row: Row, accuracies: Accuracies) -> Row:
    facts = accuracies.of.get(row.cell.precision)
    if facts is None or row.why_not:
        return row
    return replace(row, accuracy=facts.accuracy, lost=facts.lost)


def _remarks(rows: Sequence[Row], target: Target) -> list[str]:
    """Return what the user should know of the rows."""
    remarks = []
    if all(row.latency_ms is None for row in rows):
        where = target.device.title if target.device else "its GPU"
        remarks.append(f"not timed: these engines run only on {where}")
    time = "batch" if all(row.latency_ms is None for row in rows) else "latency, images/s"
    accuracy = ", accuracy" if any(row.accuracy is not None for row in rows) else ""
    remarks.append(
        f"front: no other engine is better in one of memory, {time}{accuracy} and as good in the rest"
    )
    remarks += thresholds(rows)
    return remarks
