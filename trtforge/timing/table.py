"""The rows of a benchmark, also as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from trtforge.timing.clocks import Clocks
from trtforge.timing.measure import Latency


@dataclass(frozen=True)
class Row:
    """One way to run the network.

    Attributes:
        runtime: what runs it.
        batch: images in a pass.
        streams: that run at once.
        cuda_graph, transfers: how; None where there is no such thing, on a CPU.
        latency_ms: of one pass.
        images_per_second: of all streams together.
        cameras: at 30 fps, see ``measure.ASSUMPTION``.
        subject_faster: median latency of this row over that of the subject's fastest with the same
            batch, streams and transfers; None where there is none.
        clock: what was timed.
        clocks: of the GPU meanwhile.
    """

    runtime: str
    batch: int
    streams: int
    cuda_graph: bool | None
    transfers: bool | None
    latency_ms: Latency
    images_per_second: float
    cameras: int
    subject_faster: float | None
    clock: str
    clocks: Clocks


@dataclass(frozen=True)
class BenchResult:
    """All rows of one run.

    Attributes:
        subject: what was named.
        rows: the subject's first.
        remarks: what the user should know.
    """

    subject: str
    rows: list[Row]
    remarks: list[str]


def as_csv(rows: Sequence[Row]) -> str:
    """One line a row, latencies in milliseconds."""
    flat = []
    for row in rows:
        cells = asdict(row)
        clocks, latency = cells.pop("clocks"), cells.pop("latency_ms")
        cells |= {f"latency_{name}": value for name, value in latency.items()}
        low, high = clocks["sm_mhz"] or ("", "")
        flat.append(
            cells
            | {
                "sm_mhz_min": low,
                "sm_mhz_max": high,
                "celsius": clocks["celsius"],
                "throttled": "; ".join(clocks["throttled"]),
            }
        )
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(flat[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return stream.getvalue()
