"""Gates: what was measured against what was asked for. One that is not met is exit code 4."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trtforge import parse
from trtforge.errors import ForgeError, GateError

if TYPE_CHECKING:
    from trtforge.evaluate.report import Report
    from trtforge.timing.table import Report as Timed


def measurable(least: float | None, most_lost: float | None, least_cosine: float | None, *,
               engines: int, labelled: bool, shared: bool) -> None:  # fmt: skip
    """Refuse, before any work, a limit on something that will not be measured.

    Args:
        engines: their number.
        labelled: whether accuracy is measured.
        shared: whether outputs of two engines are compared.

    Raises:
        ForgeError: it names the limit.
    """
    if (least is not None or most_lost is not None) and not labelled:
        raise ForgeError("--min-map and --max-drop need labels", "give --labels")
    if most_lost is not None and engines < 2:
        raise ForgeError("--max-drop compares two engines", "give a second one")
    if least_cosine is not None and not shared:
        raise ForgeError("--min-cosine compares outputs that two engines share", "give two engines with equal outputs")


def accuracy(report: Report, least: float | None, most_lost: float | None, least_cosine: float | None) -> None:
    """Hold what was measured to the user's limits, which are ``measurable``.

    Raises:
        GateError: one is not met; it names the figure.
    """
    if least is not None and min(report.accuracy) < least:
        raise GateError(f"{report.metric} is {min(report.accuracy):.4f}, under {least}", "")
    if most_lost is not None and max(report.drops) > most_lost:
        raise GateError(f"{report.metric} drops by {max(report.drops):.2f} points, over {most_lost}", "")
    for name, difference in report.outputs.items():
        if least_cosine is not None and difference.cosine < least_cosine:
            raise GateError(f"cosine of {name} is {difference.cosine:.5f}, under {least_cosine}", "")


def latency(report: Timed, limit: str | None) -> None:
    """Hold the subject's fastest median to the user's limit.

    Raises:
        GateError: it takes longer.
    """
    if limit is None:
        return
    most, own = 1000 * parse.seconds(limit, "--max-latency"), report.rows[0].runtime
    median = min(row.latency_ms.median for row in report.rows if row.runtime == own)
    if median > most:
        raise GateError(f"{report.subject}: the median pass takes {median:.3f} ms, over {most:g} ms", "")
