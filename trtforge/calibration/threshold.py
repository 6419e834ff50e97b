"""Choose the largest magnitude that INT8 represents, from a histogram of magnitudes.

A new method is one function here and one line in ``threshold``; see
``docs/add-a-calibration-method.md``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trtforge.calibration.histogram import Histogram
from trtforge.calibration.loops import BINS, LEVELS, search

Floats = NDArray[np.float64]


def threshold(histogram: Histogram, method: str, percentile: float = 99.999) -> float:
    """Return the magnitude that is mapped to 127; 0.0 for a tensor that was always zero.

    Args:
        method: ``entropy`` (loses the least information, but clips no more values than
            ``percentile`` allows), ``percentile`` (represents this percentage of the values),
            ``mse`` (makes the least squared error) or ``minmax`` (represents all values).
        percentile: percentage of values, above 0 and at most 100.

    Entropy alone sees no cost in clipping, however far away a clipped value is: for a first layer's
    SiLU it may keep a fifth of the range. On detectors with SiLU, the percentile as a lower limit
    raises the correlation of INT8 scores with FP32 scores.
    """
    if not histogram.limit:
        return 0.0
    if method == "minmax":
        return histogram.largest
    if method == "mse":
        bins = mse_bins(histogram.counts)
    else:
        bins = percentile_bins(histogram.counts, percentile)
        if method == "entropy":
            bins = max(bins, entropy_bins(histogram.counts))
    return min(bins * histogram.limit / BINS, histogram.largest)


def percentile_bins(counts: NDArray[np.int64], percentile: float) -> int:
    """Return how many bins to keep so that they hold a percentage of all values."""
    below = np.cumsum(counts)
    return int(np.searchsorted(below, below[-1] * (percentile / 100))) + 1


def mse_bins(counts: NDArray[np.int64]) -> int:
    """Return how many bins to keep so that rounding and clipping make the least squared error.

    There are 127 levels. The error of a value inside the range is uniformly distributed over one
    step, so its variance is step^2 / 12; a value outside is wrong by its distance to the range
    (R. Banner et al., "Post training 4-bit quantization of convolutional networks", 2019, section
    3); a value under half a step becomes zero. Most values in the first bin are exactly zero, so
    the first bin counts as exact.

    Args:
        counts: int64 of shape (bins,), not negative.

    Returns:
        A number of bins between 1 and len(counts).
    """
    middles = np.arange(len(counts)) + 0.5  # in units of a bin
    weights = counts.astype(np.float64)
    weights[0] = 0
    kept = np.arange(1, len(counts) + 1)
    # Moments of the values in the first bins, up to each bin.
    inside, first, second = (np.cumsum(weights * middles**power) for power in (0, 1, 2))
    # The sum of weight * (middle - kept)^2 over the clipped bins.
    clipped: Floats = (
        (second[-1] - second) - 2 * kept * (first[-1] - first) + kept**2 * (inside[-1] - inside)
    )
    step: Floats = kept / (LEVELS - 1)
    zeroed = np.searchsorted(middles, step / 2)  # number of bins whose values become zero
    zero_error: Floats = np.append(0, second)[zeroed]
    rounded: Floats = zero_error + (inside - np.append(0, inside)[zeroed]) * step**2 / 12
    return int(kept[np.argmin(clipped + rounded)])


def entropy_bins(counts: NDArray[np.int64]) -> int:
    """Return how many bins to keep so that 128 levels lose the least information.

    For each number of kept bins, P is the histogram with all clipped values moved into the last
    kept bin. Q is what 128 levels make of the kept bins: each level's count is shared evenly by its
    bins that are not empty. The result has the least Kullback-Leibler divergence of P from Q
    (S. Migacz, "8-bit Inference with TensorRT", GTC 2017: the method of TensorRT's calibrator).
    Exact zeros are represented exactly whatever the scale is, and after a ReLU most values are
    zero: so the first bin counts no more than the second.

    Args:
        counts: int64 of shape (bins,), not negative.

    Returns:
        A number of bins: at least 128 where so many are filled, and at most up to the last bin that
        is not empty.
    """
    counts = counts.copy()
    counts[0] = min(counts[0], counts[1])
    filled = np.flatnonzero(counts)
    last = int(filled[-1]) + 1 if filled.size else 1
    if last <= LEVELS:
        return last
    return search(counts.astype(np.float64), last)
