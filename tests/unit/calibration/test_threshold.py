"""Thresholds against a reference that follows the definition bin by bin."""

from __future__ import annotations

import numpy as np
import pytest

from trtforge.calibration.histogram import Histogram
from trtforge.calibration.loops import BINS
from trtforge.calibration.threshold import LEVELS, entropy_bins, mse_bins, threshold


def brute_force(counts: np.ndarray) -> tuple[int, dict[int, float]]:
    """The number of bins with the least divergence, and every candidate's divergence."""
    counts = counts.astype(np.float64)
    counts[0] = min(counts[0], counts[1])
    last = int(np.flatnonzero(counts)[-1]) + 1
    if last <= LEVELS:
        return last, {last: 0.0}
    found = {}
    for kept in range(LEVELS, last + 1):
        if not counts[kept - 1]:
            continue
        p = counts[:kept].copy()
        p[-1] += counts[kept:].sum()
        q = np.zeros(kept)
        for level in range(LEVELS):
            inside = slice(level * kept // LEVELS, (level + 1) * kept // LEVELS)
            filled = counts[inside][:kept] > 0
            if filled.any():
                q[inside][filled] = counts[inside].sum() / filled.sum()
        p, q = p / p.sum(), q / q.sum()
        some = p > 0
        found[kept] = float((p[some] * np.log(p[some] / q[some])).sum())
    return min(found, key=lambda kept: found[kept]), found


def histogram_of(values: np.ndarray) -> Histogram:
    histogram = Histogram()
    histogram.observe(values.astype(np.float32))
    return histogram


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


DISTRIBUTIONS = {
    "normal": rng().normal(size=20000),
    "after a ReLU": np.maximum(rng().normal(size=20000), 0),
    "after a LeakyReLU": np.where(rng().normal(size=20000) > 0, 1, 0.1) * rng().normal(size=20000),
    "uniform": rng().random(20000),
    "exponential": rng().exponential(size=20000),
    "long tail": rng().standard_cauchy(20000),
    "lognormal": rng().lognormal(0, 2, 20000),
    "one outlier": np.append(rng().normal(size=20000), 1000),
    "two humps": np.append(rng().normal(1, 0.1, 10000), rng().normal(8, 0.1, 10000)),
    "sigmoid": 1 / (1 + np.exp(-rng().normal(0, 4, 20000))),
    "pixels": rng().integers(0, 256, 20000) / 255,
    "few values": rng().normal(size=50),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_entropy_bins_equals_the_definition(name: str) -> None:
    # A shorter search keeps the reference fast.
    counts = histogram_of(DISTRIBUTIONS[name]).counts[:640]
    want, divergences = brute_force(counts)
    found = entropy_bins(counts)
    # Equal but for ties that rounding breaks.
    assert found == want or abs(divergences[found] - divergences[want]) < 1e-9


def test_entropy_leaves_the_counts_alone() -> None:
    counts = histogram_of(DISTRIBUTIONS["after a ReLU"]).counts
    before = counts.copy()
    entropy_bins(counts)
    np.testing.assert_array_equal(counts, before)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.parametrize("method", ["entropy", "percentile", "mse", "minmax"])
def test_thresholds_lie_within_what_was_seen(name: str, method: str) -> None:
    histogram = histogram_of(DISTRIBUTIONS[name])
    assert 0 < threshold(histogram, method) <= histogram.largest


def test_entropy_cuts_a_rare_outlier_off() -> None:
    histogram = histogram_of(np.append(DISTRIBUTIONS["normal"], 31))
    assert 3 < threshold(histogram, "entropy", 99.9) < 6


def test_entropy_keeps_a_uniform_distribution() -> None:
    histogram = histogram_of(DISTRIBUTIONS["uniform"])
    assert threshold(histogram, "entropy") > 0.98 * histogram.largest


def test_entropy_bins_do_not_depend_on_the_number_of_zeros() -> None:
    values = np.abs(DISTRIBUTIONS["normal"])
    more = np.append(values, np.zeros(10**5))
    assert entropy_bins(histogram_of(values).counts) == entropy_bins(histogram_of(more).counts)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.parametrize("percentile", [50.0, 99.0, 99.99, 100.0])
def test_entropy_clips_no_more_than_the_percentile_allows(name: str, percentile: float) -> None:
    histogram = histogram_of(DISTRIBUTIONS[name])
    floor = threshold(histogram, "percentile", percentile)
    free = min(entropy_bins(histogram.counts) * histogram.limit / BINS, histogram.largest)
    assert threshold(histogram, "entropy", percentile) == max(floor, free)


def test_entropy_scales_with_the_values() -> None:
    one = threshold(histogram_of(DISTRIBUTIONS["normal"]), "entropy")
    assert threshold(histogram_of(DISTRIBUTIONS["normal"] * 1024), "entropy") == 1024 * one


@pytest.mark.parametrize("filled", [1, 2, 64, LEVELS])
def test_few_bins_are_all_kept(filled: int) -> None:
    counts = np.zeros(BINS, np.int64)
    counts[:filled] = 7
    assert entropy_bins(counts) == filled


def test_no_counts_at_all() -> None:
    assert entropy_bins(np.zeros(BINS, np.int64)) == 1


def test_zeros_alone_beside_one_value() -> None:
    counts = np.zeros(BINS, np.int64)
    counts[0], counts[3000] = 10**6, 5
    assert entropy_bins(counts) == 3001


def test_the_last_bin_is_never_passed() -> None:
    counts = np.zeros(BINS, np.int64)
    counts[:200] = np.arange(200, 0, -1)
    assert LEVELS <= entropy_bins(counts) <= 200


@pytest.mark.parametrize("method", ["entropy", "percentile", "mse", "minmax"])
def test_a_tensor_that_was_always_zero(method: str) -> None:
    assert threshold(histogram_of(np.zeros(100)), method) == 0.0
    assert threshold(Histogram(), method) == 0.0


@pytest.mark.parametrize("value", [1e-40, 1e-3, 1.0, 1.5, 255.0, 3e38])
def test_mse_keeps_one_value_within_a_bin(value: float) -> None:
    assert threshold(histogram_of(np.full(9, value)), "mse") == pytest.approx(value, rel=2 / BINS)


@pytest.mark.parametrize("method", ["entropy", "percentile", "minmax"])
@pytest.mark.parametrize("value", [1e-40, 1e-3, 1.0, 1.5, 255.0, 3e38])
def test_one_value_is_kept_whole(method: str, value: float) -> None:
    assert threshold(histogram_of(np.full(9, value)), method) == float(np.float32(value))


def test_minmax_is_the_largest_magnitude() -> None:
    assert threshold(histogram_of(np.array([-7.25, 3.0])), "minmax") == 7.25


@pytest.mark.parametrize("percentile", [50.0, 90.0, 99.0, 99.9, 99.99])
@pytest.mark.parametrize("name", ["normal", "exponential", "uniform", "lognormal"])
def test_percentile_is_that_of_the_values(name: str, percentile: float) -> None:
    histogram = histogram_of(DISTRIBUTIONS[name])
    found = threshold(histogram, "percentile", percentile)
    width = histogram.limit / BINS
    inside = np.abs(DISTRIBUTIONS[name].astype(np.float32))
    assert np.mean(inside <= found) >= percentile / 100
    assert np.mean(inside <= found - width) < percentile / 100


def test_the_hundredth_percentile_is_the_largest() -> None:
    assert threshold(histogram_of(DISTRIBUTIONS["normal"]), "percentile", 100) == pytest.approx(
        float(np.abs(DISTRIBUTIONS["normal"]).max())
    )


def test_a_small_percentile_of_mostly_zeros() -> None:
    histogram = histogram_of(np.append(np.zeros(100), 1.0))
    assert 0 < threshold(histogram, "percentile", 50) <= histogram.limit / BINS


# --------------------------------------------------------------------------------------------------
# squared error


def squared_errors(counts: np.ndarray) -> np.ndarray:
    """For each number of bins kept, what INT8 really makes of the middle of every bin; the first
    bin is exact.
    """
    middles, weights = np.arange(len(counts)) + 0.5, counts.astype(np.float64)
    weights[0] = 0
    kept = np.arange(1, len(counts) + 1)[:, None]
    scale = kept / (LEVELS - 1)
    rounded = np.minimum(np.rint(middles / scale), LEVELS - 1) * scale
    errors: np.ndarray = ((rounded - middles) ** 2) @ weights
    return errors


@pytest.mark.parametrize("name", [name for name in DISTRIBUTIONS if name != "few values"])
def test_mse_is_as_good_as_rounding_every_value(name: str) -> None:
    counts = histogram_of(DISTRIBUTIONS[name]).counts
    errors = squared_errors(counts)
    assert errors[mse_bins(counts) - 1] <= 1.01 * errors.min()


def test_mse_of_fifty_values() -> None:
    """Chance decides which scale hits so few, and the search does not look for it."""
    counts = histogram_of(DISTRIBUTIONS["few values"]).counts
    errors = squared_errors(counts)
    assert errors[mse_bins(counts) - 1] <= 1.2 * errors.min()


def test_mse_leaves_the_counts_alone() -> None:
    counts = histogram_of(DISTRIBUTIONS["normal"]).counts
    before = counts.copy()
    mse_bins(counts)
    np.testing.assert_array_equal(counts, before)


def test_mse_does_not_depend_on_the_number_of_zeros() -> None:
    values = np.abs(DISTRIBUTIONS["normal"])
    more = np.append(values, np.zeros(10**6))
    assert threshold(histogram_of(values), "mse") == threshold(histogram_of(more), "mse")


def test_mse_clips_an_outlier_among_many_values() -> None:
    normal = histogram_of(DISTRIBUTIONS["normal"])
    outlier = histogram_of(np.array([16.0]))
    for _ in range(100):
        outlier.merge(normal)
    assert threshold(outlier, "mse") < 8
    assert threshold(outlier, "minmax") == 16
