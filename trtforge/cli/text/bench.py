"""Text for ``bench``: a row for each way to run the network."""

from __future__ import annotations

from collections.abc import Callable

from trtforge import present
from trtforge.timing.table import BenchResult, Row

LATENCIES = ("mean", "median", "p90", "p95", "p99", "min", "max")
Column = tuple[str, Callable[[Row], str], bool]


def summarize(result: BenchResult) -> str:
    """Return a line for each row, without the columns that tell nothing."""
    shown = [column for column in _columns(result.rows) if column[2]]
    rows = [[value(row) for _, value, _ in shown] for row in result.rows]
    table = present.table(rows, [name for name, _, _ in shown])
    lines = [f"{result.subject}, latency in ms", "", table, ""]
    return "\n".join([*lines, *(f"  {remark}" for remark in result.remarks)])


def _columns(rows: list[Row]) -> list[Column]:
    several = any(row.streams > 1 for row in rows)
    on_gpu = any(row.cuda_graph is not None for row in rows)
    transfers = any(row.transfers for row in rows)
    return [
        ("runtime", lambda row: row.runtime, True),
        ("batch", lambda row: str(row.batch), True),
        ("streams", lambda row: str(row.streams), several),
        ("graph", lambda row: _yes(row.cuda_graph), on_gpu),
        ("transfers", lambda row: _yes(row.transfers), transfers),
        *((name, _latency(name), True) for name in LATENCIES),
        ("images/s", lambda row: f"{row.images_per_second:.1f}", True),
        ("cameras", lambda row: str(row.cameras), True),
        ("subject is", _faster, len(rows) > 1),
    ]


def _latency(name: str) -> Callable[[Row], str]:
    def value(row: Row) -> str:
        latency: float = getattr(row.latency_ms, name)
        return f"{latency:.3f}"

    return value


def _faster(row: Row) -> str:
    return f"{row.subject_faster:.2f}x" if row.subject_faster else ""


def _yes(value: bool | None) -> str:
    if value is None:
        return "-"
    return "yes" if value else "no"
