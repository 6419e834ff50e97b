"""Gates: hold what was measured to the user's limits. A limit that is not met is exit code 4."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from trtforge.errors import ForgeError, GateError
from trtforge.options.limits import Limits

if TYPE_CHECKING:
    from trtforge.bundle.facts import EngineCheck
    from trtforge.evaluate.verification import Verification
    from trtforge.timing.table import BenchResult


@contextmanager
def carrying(result: object) -> Iterator[None]:
    """Let the errors of the block carry the result, so that it can still be shown."""
    try:
        yield
    except ForgeError as error:
        error.result = result
        raise


def check_measurable(limits: Limits, engines: int, labelled: bool, same_outputs: bool) -> None:
    """Refuse limits on what will not be measured, before the work begins.

    Args:
        engines: number of engines.
        labelled: whether accuracy will be measured.
        same_outputs: whether there are two engines with equal outputs.

    Raises:
        ForgeError: it names the option.
    """
    if limits.max_drop is not None and engines < 2:
        raise ForgeError("--max-drop compares two engines", "give a second one")
    if (limits.min_map is not None or limits.max_drop is not None) and not labelled:
        raise ForgeError("--min-map and --max-drop need labels", "give --labels")
    if limits.min_cosine is not None and not same_outputs:
        raise ForgeError(
            "--min-cosine compares outputs that two engines share",
            "give two engines with equal outputs",
        )


def check_accuracy(verification: Verification, limits: Limits) -> None:
    """Hold accuracy to the limits. A figure that is NaN meets no limit.

    Raises:
        GateError: a limit is not met; the error names the figure.
    """
    metric = verification.metric
    if limits != Limits() and verification.broken:
        raise GateError(
            verification.broken[0], "an engine whose outputs hold NaN meets no limit; rebuild it"
        )
    if limits.min_map is not None:
        for accuracy in verification.accuracy:
            if not accuracy >= limits.min_map:
                raise GateError(f"{metric} is {accuracy:.4f}, under {limits.min_map}")
    if limits.max_drop is not None:
        for drop in verification.drops:
            if not drop <= limits.max_drop:
                raise GateError(f"{metric} drops by {drop:.2f} points, over {limits.max_drop}")
    if limits.min_cosine is not None:
        for name, difference in verification.outputs.items():
            if not difference.cosine >= limits.min_cosine:
                raise GateError(
                    f"cosine of {name} is {difference.cosine:.5f}, under {limits.min_cosine}"
                )


def check_engines(checks: Mapping[Path, EngineCheck | None], limit: float | None) -> None:
    """Hold the cosine of each output of built engines, beside FP32, to a limit.

    Args:
        checks: by the folder of the engine; None where it was not run.

    Raises:
        GateError: an output is under it, or an engine could not be run.
    """
    if limit is None:
        return
    for folder, check in checks.items():
        if check is None:
            raise GateError(
                f"{folder}: the engine was not run beside FP32, so --min-cosine holds nothing",
                "build on the target's own GPU, or drop --min-cosine",
            )
        for name, output in check.outputs.items():
            if output.cosine is None or output.cosine < limit:
                figure = "not finite" if output.cosine is None else f"{output.cosine:.5f}"
                raise GateError(f"{folder}: cosine of {name} is {figure}, under {limit}")


def check_latency(result: BenchResult, limit: float | None) -> None:
    """Hold the fastest median of the engine to a limit.

    Args:
        limit: in seconds; None is no limit.

    Raises:
        GateError: a pass takes longer.
    """
    if limit is None:
        return
    runtime = result.rows[0].runtime
    median = min(row.latency_ms.median for row in result.rows if row.runtime == runtime)
    if median > 1000 * limit:
        raise GateError(
            f"{result.subject}: the median pass takes {median:.3f} ms, over {1000 * limit:g} ms"
        )
