"""Draw what ``trtforge tune`` measured: accuracy against the share of the work that is INT8."""

from __future__ import annotations

import math

from trtforge.reporting import svg
from trtforge.reporting.plots import Line, Point, pareto
from trtforge.tuning import Trial, Tuned

SEARCHED, JUDGED = "half", "int8"  # colours of the two halves of the images
KEY = [
    (SEARCHED, "on the half of the images that was searched"),
    (JUDGED, "on the half that judges"),
]


def render(tuned: Tuned, max_drop: float, model: str) -> str:
    """Return an SVG file with every measurement, the budget and the choice.

    A line joins the measurements that no other one beats.

    Args:
        max_drop: the budget in points.
        model: name of the model.

    Raises:
        ValueError: nothing was measured.
    """
    searched = [_point(trial, SEARCHED, str(trial.kept)) for trial in tuned.trials]
    judged = [
        _point(trial, JUDGED, "chosen" if trial.kept == len(tuned.keep) else "")
        for trial in tuned.judged
    ]
    (low, high), share = tuned.interval, 100 * tuned.share
    lines: list[Line] = [
        (f"budget: {max_drop:g} points", "mark", [(-math.inf, -max_drop), (math.inf, -max_drop)]),
        ("", JUDGED, [(share, -low), (share, -high)]),
    ]
    plot = pareto(
        "points lost against MACs in INT8",
        searched,
        "MACs in INT8, %",
        f"points of {tuned.metric.split()[0]}; float: 0",
        more=True,
        beside=judged,
        lines=lines,
        key=KEY,
        most=100,
    )
    if plot is None:
        raise ValueError("nothing was measured")
    return svg.document_with_heading(
        f"{model}: mixed precision",
        [
            f"{tuned.metric}, by the number of operators left float",
            f"chosen: {len(tuned.keep)} float, {tuned.share:.1%} of the MACs in INT8, {tuned.drop:.2f} points lost "
            f"(dashed: 95 % interval {low:.2f} to {high:.2f})",
        ],
        plot,
    )


def _point(trial: Trial, kind: str, label: str) -> Point:
    text = (
        f"{trial.kept} operators float, {trial.share:.1%} of the MACs in INT8: "
        f"{trial.drop:.2f} points lost"
    )
    return Point(100 * trial.share, -trial.drop, kind, text, label)
