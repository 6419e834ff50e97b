"""Format the result of ``bench``: one table row for each way to run the network."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from trtforge import present
from trtforge.timing.table import BenchResult, Row

LATENCIES = ("mean", "median", "p90", "p95", "p99", "min", "max")


class Column(NamedTuple):
    """A column of the table: its title, the text of its cells, and whether to show it."""

    title: str
    cell: Callable[[Row], str]
    shown: bool = True


def summarize(result: BenchResult) -> str:
    """Return the table and the remarks, without the optional columns that apply to no row."""
    columns = [column for column in _columns(result.rows) if column.shown]
    cells = [[column.cell(row) for column in columns] for row in result.rows]
    table = present.table(cells, [column.title for column in columns])
    lines = [f"{result.subject}, latency in ms", "", table, ""]
    return "\n".join([*lines, *(f"  {remark}" for remark in result.remarks)])


def _columns(rows: list[Row]) -> list[Column]:
    several_streams = any(row.streams > 1 for row in rows)
    on_gpu = any(row.cuda_graph is not None for row in rows)
    with_transfers = any(row.transfers for row in rows)
    return [
        Column("runtime", lambda row: row.runtime),
        Column("batch", lambda row: str(row.batch)),
        Column("streams", lambda row: str(row.streams), several_streams),
        Column("graph", lambda row: _yes_or_no(row.cuda_graph), on_gpu),
        Column("transfers", lambda row: _yes_or_no(row.transfers), with_transfers),
        *(Column(name, _latency(name)) for name in LATENCIES),
        Column("images/s", lambda row: f"{row.images_per_second:.1f}"),
        Column("cameras", lambda row: str(row.cameras)),
        Column("subject is", _speedup, len(rows) > 1),
    ]


def _latency(name: str) -> Callable[[Row], str]:
    """Return the function that writes one latency of a row in ms, such as ``p99``."""

    def cell(row: Row) -> str:
        latency: float = getattr(row.latency_ms, name)
        return f"{latency:.3f}"

    return cell


def _speedup(row: Row) -> str:
    """Return how many times as fast the subject is, such as ``1.50x``."""
    return f"{row.subject_faster:.2f}x" if row.subject_faster else ""


def _yes_or_no(value: bool | None) -> str:
    if value is None:
        return "-"
    return "yes" if value else "no"
