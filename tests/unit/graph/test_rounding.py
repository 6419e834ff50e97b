"""Weights to integers by the inputs that they meet."""

from __future__ import annotations

import numpy as np
import pytest

from trtforge.graph.quantize.qdq import weight_scales
from trtforge.graph.quantize.rounding import (
    INT8_MAX,
    MAX_COLUMNS,
    Moments,
    Rounded,
    parts,
    round_weights,
)

SCALE = 0.05


def inputs(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    """Inputs that go together, as neighbouring pixels do, none of them with mean 0: (rows,
    columns).
    """
    random = np.random.default_rng(seed)
    return (
        random.normal(size=(rows, 3)) @ random.normal(size=(3, columns))
        + 0.3 * random.normal(size=(rows, columns))
        + 1
    ).astype(np.float32)


def observed(values: np.ndarray, pieces: int = 1) -> Moments:
    moments = Moments(pieces, values.shape[1] // pieces)
    for block in np.array_split(values, min(len(values), 5)):
        moments.observe((block / np.float32(SCALE)).reshape(len(block), pieces, -1))
    return moments


def nearest(weights: np.ndarray, bias: np.ndarray) -> Rounded:
    scales = weight_scales(weights.reshape(len(weights), -1))
    spread = scales.reshape(-1, *[1] * (weights.ndim - 1))
    return Rounded(np.rint(weights / spread).astype(np.int8), scales, bias)


def outputs(found: Rounded, values: np.ndarray, groups: int = 1) -> np.ndarray:
    """What the quantized convolution makes of rows (n, columns of all groups): (n, O)."""
    taken = np.clip(np.rint(values / np.float32(SCALE)), -128, 127) * SCALE
    weights = found.integers.reshape(len(found.integers), -1) * found.scales[:, None].astype(
        np.float64
    )
    by_group = zip(np.split(taken, groups, axis=1), np.split(weights, groups), strict=True)
    return np.concatenate([part @ rows.T for part, rows in by_group], axis=1) + found.bias


def error(
    found: Rounded, weights: np.ndarray, bias: np.ndarray, values: np.ndarray, groups: int = 1
) -> np.ndarray:
    by_group = zip(
        np.split(values, groups, axis=1),
        np.split(weights.reshape(len(weights), -1), groups),
        strict=True,
    )
    exact = np.concatenate([part @ rows.T for part, rows in by_group], axis=1) + bias
    return outputs(found, values, groups) - exact


@pytest.mark.parametrize(
    "groups, channels, pieces", [(1, 6, 1), (1, 6, 2), (3, 4, 1), (3, 4, 2), (6, 1, 1)]
)
def test_outputs_on_unseen_inputs_are_closer_than_with_weights_rounded_to_nearest(
    groups: int, channels: int, pieces: int
) -> None:
    random = np.random.default_rng(1)
    weights = random.normal(0, 0.2, (12, channels, 3, 3)).astype(np.float32)
    bias = random.normal(size=12).astype(np.float32)
    seen, unseen = np.split(inputs(8000, groups * channels * 9), 2)
    found = round_weights(
        weights, bias, SCALE, observed(seen, groups * pieces), groups, weight_scales
    )
    spread = found.scales.reshape(-1, 1, 1, 1)
    ideal = Rounded(weights / spread, found.scales, bias)  # only the inputs are rounded
    left = [
        (outputs(each, unseen, groups) - outputs(ideal, unseen, groups)).var(axis=0).mean()
        for each in (found, nearest(weights, bias))
    ]
    assert left[0] < 0.3 * left[1]


def test_means_of_outputs_are_kept() -> None:
    random = np.random.default_rng(2)
    weights, bias = random.normal(0, 0.2, (8, 4, 1, 1)).astype(np.float32), np.zeros(8, np.float32)
    # Half of the values are equal, as behind a SiLU, so that rounding errors do not cancel out.
    values = np.maximum(inputs(4000, 4), -0.28)
    found = round_weights(weights, bias, SCALE, observed(values), 1, weight_scales)
    kept, lost = (
        np.abs(error(each, weights, bias, values).mean(0)).max()
        for each in (found, nearest(weights, bias))
    )
    assert kept < 1e-4 < lost


def test_weights_on_the_grid_stay() -> None:
    integers = np.random.default_rng(3).integers(-127, 128, (4, 5, 1, 1)).astype(np.int8)
    integers[:, 0] = INT8_MAX
    weights = (integers * np.float32(2**-9)).astype(np.float32)
    values = np.rint(inputs(500, 5) / SCALE) * np.float32(SCALE)
    found = round_weights(
        weights, np.ones(4, np.float32), SCALE, observed(values), 1, weight_scales
    )
    assert np.array_equal(found.integers, integers) and np.all(found.scales == np.float32(2**-9))
    assert found.bias == pytest.approx(np.ones(4), abs=1e-6)


def test_the_order_of_rows_does_not_show() -> None:
    values = inputs(3000, 12) * 3  # some are clipped
    one, other = observed(values), observed(values[::-1])
    assert np.array_equal(one.covariance(), other.covariance())
    assert all(np.array_equal(*pair) for pair in zip(one.means(), other.means(), strict=True))


def test_sums_are_those_of_double_precision() -> None:
    values = inputs(4000, 8) * 4
    moments = observed(values)
    x = values / np.float32(SCALE)
    q = np.clip(np.rint(x), -128, 127).astype(np.float64)
    assert moments.covariance()[0] == pytest.approx(np.cov(q.T, bias=True), rel=1e-9)
    assert moments.means()[1][0] == pytest.approx(q.mean(0), rel=1e-12)
    assert moments.means()[0][0] == pytest.approx(x.mean(0), abs=1 / 256)


@pytest.mark.parametrize("values", [np.zeros((50, 6)), np.ones((50, 6)), np.ones((1, 6))])
def test_inputs_that_never_change(values: np.ndarray) -> None:
    weights, bias = (
        np.random.default_rng(4).normal(size=(3, 6, 1, 1)).astype(np.float32),
        np.ones(3, np.float32),
    )
    found = round_weights(
        weights, bias, SCALE, observed(values.astype(np.float32)), 1, weight_scales
    )
    assert np.array_equal(found.integers, nearest(weights, bias).integers)
    assert np.abs(error(found, weights, bias, values.astype(np.float32))).max() < 1e-5


def test_dead_output_channels() -> None:
    weights = np.zeros((2, 6, 1, 1), np.float32)
    found = round_weights(
        weights, np.ones(2, np.float32), SCALE, observed(inputs(100, 6)), 1, weight_scales
    )
    assert not found.integers.any() and np.all(found.bias == 1)


@pytest.mark.parametrize(
    "channels, kernel, pieces", [(64, 9, 1), (65, 9, 5), (512, 9, 8), (1, 900, 1), (1031, 1, 1031)]
)
def test_columns_are_cut_into_equal_pieces_of_whole_channels(
    channels: int, kernel: int, pieces: int
) -> None:
    assert parts(channels, channels * kernel) == pieces
    assert channels // pieces * kernel <= MAX_COLUMNS or channels == pieces
