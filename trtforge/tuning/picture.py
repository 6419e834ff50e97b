"""What ``trtforge tune`` measured, as one SVG file: accuracy against the share of the work that is
INT8.
"""

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
    """Every assignment that was measured, those that no other one beats joined, the budget, and the
    choice.

    Args:
        max_drop: the budget in points.
        model: name of the model.
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
    assert plot is not None, "a search measures something"
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
    said = f"{trial.kept} operators float, {trial.share:.1%} of the MACs in INT8: {trial.drop:.2f} points lost"
    return Point(100 * trial.share, -trial.drop, kind, said, label)
