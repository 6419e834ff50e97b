"""Gates: what was measured against what was asked for. One that is not met is exit code 4."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtforge import parse
from trtforge.errors import ForgeError, GateError

if TYPE_CHECKING:
    from trtforge.evaluate.verification import Verification
    from trtforge.timing.table import Report as Timed


@dataclass(frozen=True)
class Limits:
    """What accuracy is held to; None is no limit.

    Attributes:
        least: of the metric of every engine, 0..1.
        most_lost: points that any engine may lose from the first, 0..100.
        least_cosine: of any output, 0..1.
    """

    least: float | None = None
    most_lost: float | None = None
    least_cosine: float | None = None


def limits(min_map: float | None, max_drop: float | None, min_cosine: float | None) -> Limits:
    """The limits that the options say.

    Raises:
        ForgeError: one is no number of its range.
    """
    given = (
        ("--min-map", min_map, 1),
        ("--max-drop", max_drop, 100),
        ("--min-cosine", min_cosine, 1),
    )
    for option, value, most in given:
        if value is not None and not 0 <= value <= most:  # NaN is in no range
            raise ForgeError(f"{option} {value:g}: not from 0 to {most}", "")
    return Limits(min_map, max_drop, min_cosine)


def measurable(asked: Limits, engines: int, labelled: bool, same: bool) -> None:
    """Refuse limits on what will not be measured, before it is.

    Args:
        labelled: accuracy will be measured.
        same: two engines have equal outputs.

    Raises:
        ForgeError: it names the option.
    """
    if asked.most_lost is not None and engines < 2:
        raise ForgeError("--max-drop compares two engines", "give a second one")
    if (asked.least is not None or asked.most_lost is not None) and not labelled:
        raise ForgeError("--min-map and --max-drop need labels", "give --labels")
    if asked.least_cosine is not None and not same:
        raise ForgeError(
            "--min-cosine compares outputs that two engines share",
            "give two engines with equal outputs",
        )


def accuracy(report: Verification, asked: Limits) -> None:
    """Hold what was measured to the user's limits. A figure that is no number meets none.

    Raises:
        GateError: one is not met; it names the figure.
    """
    if asked != Limits() and report.broken:
        raise GateError(report.broken[0], "no limit is met by an engine that computes no numbers")
    for figure in report.accuracy:
        if asked.least is not None and not figure >= asked.least:
            raise GateError(f"{report.metric} is {figure:.4f}, under {asked.least}", "")
    for drop in report.drops:
        if asked.most_lost is not None and not drop <= asked.most_lost:
            raise GateError(
                f"{report.metric} drops by {drop:.2f} points, over {asked.most_lost}", ""
            )
    for name, difference in report.outputs.items():
        if asked.least_cosine is not None and not difference.cosine >= asked.least_cosine:
            raise GateError(
                f"cosine of {name} is {difference.cosine:.5f}, under {asked.least_cosine}", ""
            )


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
        raise GateError(
            f"{report.subject}: the median pass takes {median:.3f} ms, over {most:g} ms", ""
        )
