"""Merging equals observing, bit for bit."""

from __future__ import annotations

import math

import numpy as np
import pytest

from trtforge.calibration.histogram import Histogram
from trtforge.calibration.loops import BINS

SMALLEST = float(np.float32(1e-45))  # the smallest denormal
LARGEST = float(np.finfo(np.float32).max)


def observed(*arrays: np.ndarray) -> Histogram:
    histogram = Histogram()
    for array in arrays:
        histogram.observe(array)
    return histogram


def f32(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def same(one: Histogram, other: Histogram) -> bool:
    figures = [(h.limit, h.largest, h.bad) for h in (one, other)]
    return figures[0] == figures[1] and bool(np.array_equal(one.counts, other.counts))


def reference(*arrays: np.ndarray) -> Histogram:
    """The same in float64, all values at once."""
    values = np.concatenate([array.astype(np.float64).ravel() for array in arrays])
    finite = np.abs(values[np.isfinite(values)])
    made = Histogram()
    made.bad = values.size - finite.size
    made.largest = float(finite.max(initial=0.0))
    made.limit = 2.0 ** (math.floor(math.log2(made.largest)) + 1) if made.largest else 0.0
    bins = (
        np.floor(finite / made.limit * BINS).astype(np.int64)
        if made.limit
        else np.zeros(finite.size, np.int64)
    )
    made.counts = np.bincount(bins, minlength=BINS)
    return made


def stream(seed: int) -> list[np.ndarray]:
    """Arrays of growing, shrinking and odd-sized content, zeros among them."""
    rng = np.random.default_rng(seed)
    arrays = [
        rng.normal(0, 10 ** rng.uniform(-6, 6), rng.integers(1, 400)).astype(np.float32)
        for _ in range(7)
    ]
    arrays += [np.zeros(13, np.float32), np.maximum(arrays[0], 0), -np.abs(arrays[1])]
    rng.shuffle(arrays)  # type: ignore[arg-type]
    return arrays


def test_nothing_seen() -> None:
    empty = Histogram()
    assert (empty.limit, empty.largest, empty.bad, int(empty.counts.sum())) == (0.0, 0.0, 0, 0)
    assert empty.counts.shape == (BINS,)


@pytest.mark.parametrize("seed", range(12))
def test_counts_are_those_of_a_float64_reference(seed: int) -> None:
    arrays = stream(seed)
    assert same(observed(*arrays), reference(*arrays))


@pytest.mark.parametrize("seed", range(12))
def test_merging_any_split_equals_observing(seed: int) -> None:
    arrays = stream(seed)
    rng = np.random.default_rng(100 + seed)
    parts = [Histogram() for _ in range(int(rng.integers(1, 5)))]
    for array in arrays:
        parts[int(rng.integers(len(parts)))].observe(array)
    rng.shuffle(parts)  # type: ignore[arg-type]
    merged = Histogram()
    for part in parts:
        merged.merge(part)
    assert same(merged, observed(*arrays))


@pytest.mark.parametrize("seed", range(6))
def test_the_order_does_not_matter(seed: int) -> None:
    arrays = stream(seed)
    assert same(observed(*arrays), observed(*reversed(arrays)))


@pytest.mark.parametrize("seed", range(6))
def test_one_array_or_many_pieces(seed: int) -> None:
    arrays = stream(seed)
    assert same(observed(np.concatenate(arrays)), observed(*arrays))


def test_merging_leaves_the_other_alone() -> None:
    other = observed(f32(0.1, 0.2))
    before = other.counts.copy()
    observed(f32(100.0)).merge(other)
    assert np.array_equal(other.counts, before)
    assert other.limit == 0.25


@pytest.mark.parametrize("exponent", [-90, -30, -10, -1, 0, 1, 10, 100, 127])
def test_a_power_of_two_lies_below_the_next_limit(exponent: int) -> None:
    power = 2.0**exponent
    histogram = observed(f32(power))
    assert histogram.limit == 2 * power
    assert histogram.counts[BINS // 2] == 1


def test_values_exactly_at_the_limit_double_it() -> None:
    histogram = observed(f32(0.75), f32(1.0))
    assert histogram.limit == 2.0
    assert histogram.counts[BINS // 2] == histogram.counts[BINS * 3 // 8] == 1


def test_values_just_below_the_limit_do_not() -> None:
    below = np.nextafter(np.float32(1), np.float32(0))
    histogram = observed(f32(float(below)))
    assert (histogram.limit, histogram.counts[BINS - 1]) == (1.0, 1)


@pytest.mark.parametrize("growth", [1.5, 2.0, 3.0, 1024.0, 1e6, 1e30])
def test_growth_keeps_every_count(growth: float) -> None:
    values = np.random.default_rng(0).random(1000).astype(np.float32)
    grown = observed(values, f32(growth))
    assert grown.counts.sum() == 1001
    assert same(grown, reference(values, f32(growth)))


# --------------------------------------------------------------------------------------------------------
# zeros


def test_zeros_only() -> None:
    zeros = observed(np.zeros(10, np.float32), f32(-0.0))
    assert (zeros.limit, zeros.largest, zeros.counts[0]) == (0.0, 0.0, 11)


@pytest.mark.parametrize("first", [True, False])
def test_zeros_first_or_last(first: bool) -> None:
    zeros, values = np.zeros(5, np.float32), f32(0.3, -3.0)
    assert same(
        observed(zeros, values) if first else observed(values, zeros), reference(zeros, values)
    )


@pytest.mark.parametrize("swap", [True, False])
def test_merging_with_zeros_only(swap: bool) -> None:
    zeros, values = np.zeros(5, np.float32), f32(0.3, -3.0)
    one, other = observed(values), observed(zeros)
    if swap:
        one, other = other, one
    one.merge(other)
    assert same(one, reference(zeros, values))


def test_merging_with_nothing() -> None:
    histogram = observed(f32(1.0, 2.0))
    histogram.merge(Histogram())
    assert same(histogram, reference(f32(1.0, 2.0)))
    empty = Histogram()
    empty.merge(Histogram())
    assert same(empty, Histogram())


# --------------------------------------------------------------------------------------------------------
# limits


@pytest.mark.parametrize("value", [SMALLEST, -SMALLEST, 1e-40, 1.1754944e-38, 1e-36])
def test_the_smallest_values_are_counted(value: float) -> None:
    histogram = observed(f32(value, 0.0))
    assert histogram.limit > histogram.largest > 0
    assert histogram.counts.sum() == 2


def test_denormals_among_ordinary_values() -> None:
    values = f32(SMALLEST, 1e-40, 1.0)
    assert same(observed(values), reference(values))


def test_the_largest_float() -> None:
    histogram = observed(f32(LARGEST, -1.0))
    assert (histogram.limit, histogram.largest) == (2.0**128, LARGEST)
    assert histogram.counts[BINS - 1] == 1
    assert histogram.counts.sum() == 2


def test_from_the_smallest_to_the_largest() -> None:
    one, other = observed(f32(SMALLEST)), observed(f32(LARGEST))
    one.merge(other)
    assert same(one, observed(f32(SMALLEST, LARGEST)))


# -------------------------------------------------------------------------------------------------
# not a number


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_counted_and_in_no_bin(bad: float) -> None:
    histogram = observed(f32(1.0, bad, -2.0, bad, 0.5))
    assert (histogram.bad, histogram.largest, histogram.counts.sum()) == (2, 2.0, 3)
    assert same(histogram, reference(f32(1.0, bad, -2.0, bad, 0.5)))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nothing_but_what_is_not_finite(bad: float) -> None:
    histogram = observed(f32(bad))
    assert (histogram.bad, histogram.largest, histogram.limit, histogram.counts.sum()) == (
        1,
        0.0,
        0.0,
        0,
    )


def test_nan_with_a_sign() -> None:
    assert observed(np.array([0xFFC00000, 0x7F800001], np.uint32).view(np.float32)).bad == 2


def test_bad_values_are_merged() -> None:
    one, other = observed(f32(np.nan, 1.0)), observed(f32(np.inf))
    one.merge(other)
    assert (one.bad, one.counts.sum()) == (2, 1)


# --------------------------------------------------------------------------------------------------------
# arrays


@pytest.mark.parametrize("shape", [(60,), (3, 4, 5), (1, 60), (60, 1, 1, 1)])
def test_any_shape(shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(1).normal(size=60).astype(np.float32)
    assert same(observed(values.reshape(shape)), observed(values))


def test_arrays_that_are_not_contiguous() -> None:
    values = np.random.default_rng(1).normal(size=(8, 8, 8)).astype(np.float32)
    for view in (
        values.transpose(2, 0, 1),
        values[::2],
        values[..., ::-3],
        np.broadcast_to(values[0, 0], (4, 8)),
    ):
        assert same(observed(view), reference(view))


@pytest.mark.parametrize("shape", [(), (0,), (3, 0)])
def test_scalars_and_empty_arrays(shape: tuple[int, ...]) -> None:
    assert observed(np.ones(shape, np.float32)).counts.sum() == math.prod(shape)


def test_the_array_is_left_alone() -> None:
    values = f32(-1.0, 2.0)
    values.flags.writeable = False
    assert observed(values).counts.sum() == 2


def test_odd_and_even_lengths() -> None:
    for length in range(1, 9):
        values = np.linspace(-1, 1, length, dtype=np.float32)
        assert same(observed(values), reference(values))
