"""Limits on accuracy: what they may be, and that a figure which is no number meets none."""

from __future__ import annotations

import math

import numpy as np
import pytest

from trtforge import gates
from trtforge.errors import ForgeError, GateError
from trtforge.evaluate.classes import rank
from trtforge.evaluate.metrics import Difference
from trtforge.evaluate.verification import Verification
from trtforge.options.limits import Limits


@pytest.mark.parametrize(
    "given",
    [
        {"min_map": math.nan},
        {"min_map": 1.5},
        {"min_map": -0.1},
        {"max_drop": math.nan},
        {"max_drop": -100},
        {"max_drop": math.inf},
        {"min_cosine": math.nan},
        {"min_cosine": 2},
        {"min_cosine": -1},
    ],
)
def test_limits_that_are_none(given: dict[str, float]) -> None:
    with pytest.raises(
        ForgeError, match=f"--{next(iter(given)).replace('_', '-')} .*: not from 0 to"
    ):
        Limits(**given)


def measured(*accuracy: float, other: float = 1.0) -> Verification:
    difference = Difference()
    difference.observe(np.ones(3), np.array([1, other, 1]))
    return Verification(
        ["a", "b"], 1, metric="top-1", accuracy=list(accuracy), outputs={"y": difference}
    )


@pytest.mark.parametrize(
    ("report", "limits"),
    [
        (measured(0.5, math.nan), Limits(min_map=0.1)),
        (measured(0.5, math.nan), Limits(max_drop=100)),
        (measured(0.5, 0.5, other=math.nan), Limits(min_cosine=0.0)),
        (measured(0.5, 0.5, other=math.inf), Limits(min_cosine=0.0)),
    ],
)
def test_what_is_no_number_meets_no_limit(report: Verification, limits: Limits) -> None:
    with pytest.raises(GateError, match="nan"):
        gates.check_accuracy(report, limits)
    gates.check_accuracy(report, Limits())


def test_an_engine_that_computes_nan_meets_no_limit() -> None:
    report = measured(0.5, 0.5)
    gates.check_accuracy(report, Limits(0.5, 0.0, 0.999))
    report.broken.append("b: output 'y' is NaN on 1.jpg")
    with pytest.raises(GateError, match="NaN on"):
        gates.check_accuracy(report, Limits(max_drop=100))


def test_nan_is_no_right_class() -> None:
    assert rank(np.array([math.nan, math.nan, math.nan]), 1) == 3
    assert rank(np.array([0.1, math.nan, 0.3]), 1) == 3


@pytest.mark.parametrize(
    ("limits", "engines", "labelled", "same", "words"),
    [
        (Limits(max_drop=1), 1, True, False, "--max-drop compares two"),
        (Limits(max_drop=1), 2, False, True, "need labels"),
        (Limits(min_map=0.5), 1, False, False, "need labels"),
        (Limits(min_cosine=0.5), 2, True, False, "--min-cosine"),
    ],
)
def test_limits_on_what_is_not_measured(
    limits: Limits, engines: int, labelled: bool, same: bool, words: str
) -> None:
    with pytest.raises(ForgeError, match=words):
        gates.check_measurable(limits, engines, labelled, same)
    gates.check_measurable(Limits(), engines, labelled, same)
