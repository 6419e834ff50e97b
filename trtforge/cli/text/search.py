"""Text for ``sweep`` and ``tune``: a row for each engine, and the operators that stay float."""

from __future__ import annotations

import re
from collections.abc import Callable

from trtforge import present
from trtforge.api.results import SweepResult, TuneResult
from trtforge.sweeping.rows import Row, mib

SHOWN_OPERATORS = 12
LONGEST_REASON = 100  # letters
Column = tuple[str, Callable[[Row], str], bool]


def summarize_tuning(result: TuneResult) -> str:
    """Return the operators that matter, what was tried, and the choice."""
    tuned, lines = result.tuned, []
    if tuned.blocks:
        kept = set(tuned.keep)
        rows = [
            [
                block.name,
                f"{block.share:.2%}",
                f"{block.alone:.3g}",
                f"{block.saved:.3g}",
                "float" if block.name in kept else "",
            ]
            for block in tuned.blocks[: max(SHOWN_OPERATORS, len(kept))]
        ]
        header = ["operator", "of MACs", "harm alone", "harm saved", "chosen"]
        lines += [present.table(rows, header), ""]
    trials = sorted(tuned.trials, key=lambda trial: trial.kept)
    rows = [[str(trial.kept), f"{trial.share:.1%}", f"{trial.drop:.2f}"] for trial in trials]
    header = ["operators float", "MACs in INT8", "points lost (searched half)"]
    low, high = tuned.interval
    float_accuracy, accuracy = tuned.accuracy
    lines += [
        present.table(rows, header),
        "",
        f"{tuned.metric} on the other half: {float_accuracy:.4f} float, {accuracy:.4f} chosen: "
        f"{tuned.drop:.2f} points lost (95 % interval {low:.2f} to {high:.2f})",
        f"{result.recipe}: {len(tuned.keep)} operators float, {tuned.share:.1%} of the MACs in INT8",
        f"{result.picture}: what was measured, accuracy against MACs in INT8",
    ]
    if high - low > 2 * result.max_drop:
        lines.append(
            f"the interval is wider than the budget of {result.max_drop}: more images narrow it"
        )
    return "\n".join(lines)


def summarize_sweep(result: SweepResult) -> str:
    """Return a row for each engine, without the columns that are empty."""
    swept = result.swept
    shown = [
        column for column in (*_axes(swept.rows), *_figures(swept.rows, swept.metric)) if column[2]
    ]
    cells = [[value(row) for _, value, _ in shown] for row in swept.rows]
    lines = [
        f"{swept.model}: {swept.backend}, {swept.device}",
        "",
        present.table(cells, [name for name, _, _ in shown]),
        "",
        "  * on the front",
        *(f"  {remark}" for remark in swept.remarks),
    ]
    return "\n".join([*lines, *map(str, result.files)])


def _axes(rows: list[Row]) -> list[Column]:
    """Return the columns of what the engines were built with."""
    levels = any(row.cell.opt_level is not None for row in rows)
    workspaces = any(row.cell.workspace for row in rows)
    return [
        ("#", lambda row: f"{row.number}{' *' if row.front else ''}", True),
        ("precision", lambda row: row.cell.precision, True),
        ("batch", lambda row: str(row.cell.batch), True),
        ("level", lambda row: str(row.cell.opt_level), levels),
        ("workspace", lambda row: mib(row.cell.workspace), workspaces),
    ]


def _figures(rows: list[Row], metric: str) -> list[Column]:
    """Return the columns of what was measured."""
    built = [row for row in rows if not row.why_not]
    timed = any(row.latency_ms is not None for row in built)
    activations = any(row.activation_bytes for row in built)
    scratch = any(row.scratch_bytes for row in built)
    return [
        ("build", _build_time, True),
        ("engine", lambda row: _bytes(row.engine_bytes), bool(built)),
        ("activations", lambda row: _bytes(row.activation_bytes), activations),
        ("of it scratch", lambda row: _bytes(row.scratch_bytes), scratch),
        ("latency ms", lambda row: _number(row.latency_ms, 3), timed),
        ("images/s", lambda row: _number(row.images_per_second, 1), timed),
        (metric, lambda row: _number(row.accuracy, 4), bool(metric)),
        ("points lost", lambda row: _number(row.lost, 2), bool(metric)),
        ("", _remark, True),
    ]


def _build_time(row: Row) -> str:
    if row.why_not:
        return "not built"
    return f"{row.build_seconds:.1f} s{', stored' if row.cached else ''}"


def _remark(row: Row) -> str:
    if row.why_not:
        return _shortened(row.why_not)
    return f"same bytes as #{row.same_as}" if row.same_as else ""


def _bytes(count: int | None) -> str:
    return "" if count is None else present.size(count)


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _shortened(reason: str) -> str:
    """Return the builder's own words without the place in its sources; the JSON has them all."""
    words = reason.partition("the builder says: ")[2] or reason
    text = re.sub(r"\[\w+\.cpp:\S* ?\w*\] ?", "", words)
    return text if len(text) <= LONGEST_REASON else f"{text[: LONGEST_REASON - 1]}…"
