"""The search for the fewest units that fail, for faults that bisection alone does not find."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from trtforge.reducing.search import smallest


@pytest.mark.parametrize(
    "fault",
    [{0}, {99}, {41}, {40, 41, 42}, {0, 99}, {13, 57, 58}, {0, 1, 98, 99}, set(range(30, 45))],
)
def test_a_fault_of_certain_units_is_found_exactly(fault: set[int]) -> None:
    tried: list[int] = []

    def fails(units: Sequence[int]) -> bool:
        tried.append(len(units))
        return fault <= set(units)

    assert smallest(range(100), fails) == sorted(fault)
    assert len(tried) < 14 * (len(fault) + 2)


@pytest.mark.parametrize("seed", range(20))
def test_no_unit_can_be_left_out(seed: int) -> None:
    """Any of some sets fails, unless a unit of another set is there without its neighbour."""
    rng = np.random.default_rng(seed)
    faults = [set(rng.choice(60, rng.integers(1, 5), replace=False).tolist()) for _ in range(3)]
    pairs = [int(number) for number in rng.choice(59, 5, replace=False)]

    def fails(units: Sequence[int]) -> bool:
        there = set(units)
        whole = all((first in there) == (first + 1 in there) for first in pairs)
        return whole and any(fault <= there for fault in faults)

    left = smallest(range(60), fails)
    assert fails(left)
    assert not any(fails([unit for unit in left if unit != gone]) for gone in left)


def test_one_unit() -> None:
    assert smallest([7], lambda units: True) == [7]
