"""The cells of a sweep, a row for each, and what the rows show together."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

from trtforge.backends.options import BuildOptions
from trtforge.errors import BuildError, ForgeError
from trtforge.names import QUANTIZED, Precision
from trtforge.pipeline.job import Job

Pick = Literal["latency", "throughput", "memory"]
PICKS: tuple[Pick, ...] = ("latency", "throughput", "memory")


@dataclass(frozen=True)
class Cell:
    """An engine to build.

    Attributes:
        batch: largest batch.
        workspace: bytes of scratch memory; None is the builder's default.
        opt_level: optimisation level; None is the builder's default.
    """

    precision: Precision
    batch: int
    workspace: int | None
    opt_level: int | None

    @property
    def options(self) -> BuildOptions:
        """The options of the builder."""
        return BuildOptions(workspace=self.workspace, opt_level=self.opt_level)


@dataclass(frozen=True)
class Row:
    """The result of a cell.

    Attributes:
        number: number of the row, from 1 on, in the order of the sweep.
        why_not: why the engine was not built; empty if it was.
        cached: the engine was built in an earlier run.
        build_seconds: how long the build took when it was done.
        engine_bytes, activation_bytes, scratch_bytes: what the builder tells; None if it does not.
        digest: sha256 of the engine.
        same_as: number of the first row whose engine has the same bytes; None for a first one.
        latency_ms: median, one pass at a time; None where the engine can't run here.
        images_per_second: throughput with the queue full; None where the engine can't run here.
        accuracy, lost: value of the metric, and points lost against FP32; None if not measured.
        front: no other row is better in one figure and as good in the others.
    """

    number: int
    cell: Cell
    why_not: str = ""
    cached: bool = False
    build_seconds: float = 0.0
    engine_bytes: int | None = None
    activation_bytes: int | None = None
    scratch_bytes: int | None = None
    digest: str = ""
    same_as: int | None = None
    latency_ms: float | None = None
    images_per_second: float | None = None
    accuracy: float | None = None
    lost: float | None = None
    front: bool = False

    @property
    def memory(self) -> int:
        """Bytes on the device: engine and activations, which include the scratch memory."""
        return (self.engine_bytes or 0) + max(self.activation_bytes or 0, self.scratch_bytes or 0)


@dataclass(frozen=True)
class Swept:
    """The result of a sweep: all rows, with remarks for the user.

    Attributes:
        metric: name of the accuracy; empty if it was not measured.
    """

    model: str
    backend: str
    device: str
    rows: list[Row]
    metric: str
    remarks: list[str]


def job_for(job: Job, cell: Cell) -> Job:
    """Return the job of one cell."""
    images = job.images if cell.precision in QUANTIZED else None
    return replace(job, precision=cell.precision, images=images, batch=(1, cell.batch, cell.batch))


def best(rows: Sequence[Row], pick: Pick) -> Row:
    """Return the row with the lowest latency, the highest throughput or the least memory.

    Raises:
        BuildError: nothing was built.
        ForgeError: nothing was timed.
    """
    built = [row for row in rows if not row.why_not]
    if not built:
        raise BuildError(f"none of the {len(rows)} engines was built: {rows[0].why_not}", "")
    if pick == "memory":
        return min(built, key=lambda row: row.memory)
    timed = [
        row for row in built if row.latency_ms is not None and row.images_per_second is not None
    ]
    if not timed:
        raise ForgeError(
            f"--pick {pick}: these engines can't be timed on this machine",
            "run the sweep on the target, or give --pick memory",
        )
    if pick == "latency":
        return min(timed, key=lambda row: row.latency_ms or 0.0)
    return max(timed, key=lambda row: row.images_per_second or 0.0)


def _figures(row: Row) -> tuple[float, ...]:
    """Return the figures that decide the front; less is better.

    They are memory, latency and throughput, and accuracy. Without times, the batch takes their
    place.
    """
    time = (
        [row.latency_ms, -(row.images_per_second or 0.0)]
        if row.latency_ms is not None
        else [-row.cell.batch]
    )
    return (row.memory, *time, -(row.accuracy or 0.0))


def on_front(row: Row, rows: Sequence[Row]) -> bool:
    """Return whether no other row is better in one figure and as good in the others.

    Of equal rows the first one is on the front.
    """
    if row.why_not or row.same_as:
        return False
    mine = _figures(row)
    others = [
        other for other in rows if not other.why_not and not other.same_as and other is not row
    ]
    as_good = [
        other for other in others if all(a <= b for a, b in zip(_figures(other), mine, strict=True))
    ]
    return not any(_figures(other) != mine or other.number < row.number for other in as_good)


def thresholds(rows: Sequence[Row]) -> list[str]:
    """Return, in words, between which workspaces a build begins to succeed."""
    lines = []
    kinds = [(row.cell.precision, row.cell.batch, row.cell.opt_level) for row in rows]
    for precision, batch, level in dict.fromkeys(kinds):
        limited = [
            (row.cell.workspace, row.why_not)
            for row, kind in zip(rows, kinds, strict=True)
            if row.cell.workspace and kind == (precision, batch, level)
        ]
        failed = [size for size, why in limited if why]
        built = [size for size, why in limited if not why]
        if failed and built and max(failed) < min(built):
            lines.append(
                f"{precision}, batch {batch}: a workspace of {mib(max(failed))} is too small, "
                f"{mib(min(built))} is enough"
            )
    return lines


def as_csv(rows: Sequence[Row]) -> str:
    """Return the rows as CSV, with a header."""
    flat = []
    for row in rows:
        cells = asdict(row)
        flat.append({"number": cells.pop("number"), **cells.pop("cell"), **cells})
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(flat[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return stream.getvalue()


def mib(count: int | None) -> str:
    """Return a number of bytes as users write it, such as 64MiB."""
    if count is None:
        return "default"
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count % size == 0:
            return f"{count // size}{unit}"
    return str(count)
