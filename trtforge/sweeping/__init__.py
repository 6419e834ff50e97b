"""Workspace x precision x batch x optimisation level: one row for each engine, failures among them."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from trtforge import present
from trtforge.backends import tensorrt_rtx
from trtforge.backends.options import BuildOptions
from trtforge.bundle.manifest import check_output
from trtforge.bundle.prepared import Prepared, Target
from trtforge.cluster import Workers, this_process
from trtforge.devices import this_machine
from trtforge.errors import BuildError, ForgeError
from trtforge.names import QUANTIZED, Precision
from trtforge.pipeline import after_adapting, forge, prepare, to_build
from trtforge.pipeline.job import Job
from trtforge.stages import build, bundle, measure
from trtforge.store import Facts, File, Store, digest, source
from trtforge.sweeping.rows import Cell, Pick, Row, Swept, as_csv, best, on_front, thresholds

# What a backend takes no notice of; ONNX Runtime's engine is the graph.
IGNORED = {
    "tensorrt": (),
    "tensorrt-rtx": tuple(tensorrt_rtx.UNSERVED),
    "onnxruntime": ("workspace", "opt_level"),
}
FILES = ("sweep.json", "sweep.csv", "sweep.svg")
ENGINE = "engine"  # folder of the picked one


@dataclass(frozen=True)
class SweepRequest:
    """The axes, and what is measured.

    Attributes:
        precisions, batches, workspaces, opt_levels: of the cells. No batches: the model's own, or
            1; None among the last two: the builder's default.
        images, labels: for accuracy; None: it is not measured.
        seconds: for each latency.
    """

    precisions: Sequence[Precision]
    batches: Sequence[int]
    workspaces: Sequence[int | None]
    opt_levels: Sequence[int | None]
    images: Path | None
    labels: Path | None
    seconds: float


def sweep(
    job: Job, target: Target, store: Store, asked: SweepRequest, workers: Workers | None = None
) -> Swept:
    """Build every cell, and measure what was built.

    Args:
        workers: who builds and measures; None is this process.

    An engine, a latency or an accuracy that the store has is not made again. A failed build is
    never stored: it is tried again in each sweep, since memory or a driver may have been what it
    lacked; it takes no longer than one that succeeds.

    Raises:
        ForgeError: the model, the images or the labels are wrong. What the builder refuses is a
            row.
    """
    assert target.backend
    batches = asked.batches or [
        prepare(replace(job, precision="fp32", images=None), store, [target.backend]).batch[2]
    ]
    cells, ignored = _cells(target.backend, replace(asked, batches=batches))
    ready = {
        (cell.precision, cell.batch): prepare(job_for(job, cell), store, [target.backend])
        for cell in cells
    }
    # Before the engines: labels that don't fit are said at once.
    metric, accuracy = (
        _accuracy(job, target.backend, batches[0], store, asked) if asked.images else ("", {})
    )
    rows = [
        row if row.why_not else replace(row, **accuracy.get(row.cell.precision, {}))
        for row in _rows(cells, ready, target, store, asked, workers or this_process(store))
    ]
    rows = [replace(row, front=on_front(row, rows)) for row in rows]
    place = target.device.title if target.device else measure.machine()
    return Swept(
        job.model.name, target.backend, place, rows, metric, [*ignored, *_remarks(rows, target)]
    )


def check(out: Path, engine: bool) -> None:
    """Refuse, before any work, a folder for ``write``, and with ``engine`` for ``deliver_best``,
    that can't be used.

    Raises:
        ForgeError: it is or lies in a file, can't be written, or holds what is not a sweep's.
    """
    there = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    if not there.is_dir():
        raise ForgeError(f"{there}: is a file", "give a folder with -o")
    if not os.access(there, os.W_OK):
        raise ForgeError(
            f"{out}: can't be written (no permission in {there})", "give another folder with -o"
        )
    for name in FILES:
        if (out / name).is_dir():
            raise ForgeError(f"{out / name}: is a folder", "give another folder with -o")
    if engine:
        check_output(out / ENGINE)


def write(found: Swept, out: Path) -> list[Path]:
    """The rows as JSON and CSV, and their picture, each file whole or not at all.

    Raises:
        ForgeError: the folder can't be written.
    """
    from trtforge import outfile
    from trtforge.sweeping import picture as sweep_picture

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ForgeError(
            f"{out}: can't be a folder ({error.strerror})", "give another folder with -o"
        ) from error
    texts = (
        json.dumps(asdict(found), indent=1) + "\n",
        as_csv(found.rows),
        sweep_picture.render(found),
    )
    for name, text in zip(FILES, texts, strict=True):
        outfile.write_text(out / name, text)
    return [out / name for name in FILES]


def deliver_best(
    found: Swept, pick: Pick, job: Job, target: Target, store: Store, out: Path
) -> Path:
    """The bundle of the best row, in ``out/engine``: with the very engine that was measured,
    whoever built it.

    Args:
        store: of the sweep.

    Raises:
        ForgeError: see ``best`` and ``trtforge.stages.bundle.write``.
    """
    assert target.backend
    row = best(found.rows, pick)
    engine = next(made for made in store.ran if made.digests.get(build.ENGINE) == row.digest)
    folder = out / ENGINE
    bundle.write(
        folder,
        prepare(job_for(job, row.cell), store, [target.backend]),
        target,
        engine,
        None,
        False,
    )
    return folder


def job_for(job: Job, cell: Cell) -> Job:
    """The job of one cell."""
    images = job.images if cell.precision in QUANTIZED else None
    return replace(job, precision=cell.precision, images=images, batch=(1, cell.batch, cell.batch))


def _cells(backend: str, asked: SweepRequest) -> tuple[list[Cell], list[str]]:
    """The cells, without the axes that the backend ignores, and what to say of those."""
    axes: dict[str, Sequence[Any]] = {"workspace": asked.workspaces, "opt_level": asked.opt_levels}
    remarks = []
    for name, values in list(axes.items()):
        if name in IGNORED[backend] and list(values) != [None]:
            option = f"--{name.replace('_', '-')}"
            remarks.append(
                f"{backend} ignores {option}: the engines are the same bytes, and one stands for all"
            )
            axes[name] = [None]
    cells = [
        Cell(precision, batch, workspace, level)
        for precision, batch, workspace, level in itertools.product(
            asked.precisions, asked.batches, axes["workspace"], axes["opt_level"]
        )
    ]
    return cells, remarks


def _rows(
    cells: Sequence[Cell],
    ready: Mapping[tuple[Precision, int], Prepared],
    target: Target,
    store: Store,
    asked: SweepRequest,
    workers: Workers,
) -> list[Row]:
    timed = target.backend != "tensorrt-rtx" or bool(_runtime(target))
    tasks = []
    for number, cell in enumerate(cells, 1):
        task = to_build(ready[cell.precision, cell.batch], target, cell.options, store)
        arguments = (number, cell, *task.arguments, asked.seconds)
        tasks.append(replace(task, arguments=arguments, alone=timed))
    rows = [Row(number, cell) for number, cell in enumerate(cells, 1)]
    for done in workers.run_with_progress(_row, tasks, f"sweep over {len(cells)} engines"):
        if isinstance(done.error, BuildError):
            rows[done.number] = replace(rows[done.number], why_not=done.error.problem)
        else:
            rows[done.number] = done.result()
    firsts: dict[str, int] = {}
    for row in rows:
        firsts.setdefault(row.digest, row.number)
    return [
        replace(row, same_as=firsts[row.digest])
        if row.digest and firsts[row.digest] != row.number
        else row
        for row in rows
    ]


def _row(arguments: tuple[int, Cell, Prepared, Target, BuildOptions, float], store: Store) -> Row:
    """One engine, built and measured where this runs."""
    number, cell, ready, target, options, seconds = arguments
    engine = forge(ready, target, store, options)
    facts = engine.facts
    row = Row(
        number,
        cell,
        cached=engine.cached,
        build_seconds=round(engine.seconds, 2),
        engine_bytes=facts["engine_bytes"],
        activation_bytes=facts.get("activation_bytes"),
        scratch_bytes=facts.get("scratch_bytes"),
        digest=engine.digests[build.ENGINE],
    )
    runtime = _runtime(target)
    if not runtime:
        return row
    timed = store.run(
        measure.LATENCY,
        {"engine": engine.file(build.ENGINE)},
        {
            "runtime": runtime,
            "batch": cell.batch,
            "size": ready.facts["size"],
            "seconds": seconds,
            "machine": target.device.title
            if target.device and runtime != "onnxruntime"
            else measure.machine(),
        },
    )
    return replace(row, **timed.facts)


def _runtime(target: Target) -> str:
    """What times the target's engines here; empty if nothing can."""
    if target.backend == "onnxruntime":
        return "onnxruntime"
    here = this_machine()
    fits = here is not None and target.device is not None and here.sm == target.device.sm
    return target.backend or "" if fits else ""


def _accuracy(
    job: Job, backend: str, batch: int, store: Store, asked: SweepRequest
) -> tuple[str, dict[Precision, Facts]]:
    """Accuracy depends on the graph alone: it is measured once for each precision, in ONNX Runtime.

    Args:
        batch: that the model takes.

    Returns:
        the metric, and a row's accuracy and loss for each precision.
    """
    from trtforge.calibration import images as pictures

    assert asked.images and asked.labels
    form = (
        "onnxruntime" if backend == "onnxruntime" else "tensorrt-rtx"
    )  # nobody else has TensorRT's plugins
    reference = prepare(job_for(job, Cell("fp32", batch, None, None)), store, [form]).graphs[form]
    images = File(
        asked.images,
        pictures.folder_digest(
            pictures.image_digests(pictures.list_images(asked.images), asked.images)
        ),
    )
    metric, found = "", dict[Precision, Facts]()
    with present.progress("accuracy", len(asked.precisions)) as done:
        for number, precision in enumerate(asked.precisions, 1):
            graph = prepare(job_for(job, Cell(precision, batch, None, None)), store, [form]).graphs[
                form
            ]
            inputs = {
                "reference": reference,
                "model": graph,
                "images": images,
                "labels": _labels(asked.labels),
            }
            recipe = {"recipe": after_adapting(job.recipe).model_dump(mode="json")}
            facts = store.run(measure.ACCURACY, inputs, recipe).facts
            metric, found[precision] = (
                facts["metric"],
                {name: facts[name] for name in ("accuracy", "lost")},
            )
            done(number)
    return metric, found


def _labels(labels: Path) -> File:
    from trtforge.calibration import images as pictures

    if labels.is_dir():  # masks
        return File(
            labels,
            pictures.folder_digest(
                {path.name: digest(path) for path in sorted(labels.iterdir()) if path.is_file()}
            ),
        )
    if not labels.is_file():
        raise ForgeError(
            f"{labels}: no such file of labels", "give the images' labels with --labels"
        )
    return source(labels)


def _remarks(rows: Sequence[Row], target: Target) -> list[str]:
    found = []
    if all(row.latency_ms is None for row in rows):
        where = target.device.title if target.device else "its GPU"
        found.append(f"not timed: these engines run only on {where}")
    time = "batch" if all(row.latency_ms is None for row in rows) else "latency, images/s"
    accuracy = ", accuracy" if any(row.accuracy is not None for row in rows) else ""
    found.append(
        f"front: no other engine is better in one of memory, {time}{accuracy} and as good in the rest"
    )
    found += thresholds(rows)
    return found
