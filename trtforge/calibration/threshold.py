"""From a histogram of magnitudes to the largest one that INT8 represents."""

from __future__ import annotations

import numpy as np

from trtforge.calibration.histogram import Histogram
from trtforge.calibration.loops import BINS, LEVELS, search


def threshold(histogram: Histogram, method: str, percentile: float = 99.999) -> float:
    """The magnitude that is mapped to 127; 0.0 for a tensor that was always zero.

    Args:
        method: ``entropy`` (least information lost, but no more values clipped than ``percentile``
            allows), ``percentile`` (so many percent of values are represented), ``mse`` (least
            squared error) or ``minmax`` (all values are represented).
        percentile: percent of values, above 0 and at most 100.

    Entropy alone sees no cost in clipping, however far a value lies outside: of a first layer's
    SiLU it may keep a fifth of the range. On detectors with SiLU the floor raises the correlation
    of INT8 scores with FP32's.
    """
    if not histogram.limit:
        return 0.0
    if method == "minmax":
        return histogram.largest
    if method == "mse":
        return min(mse_bins(histogram.counts) * histogram.limit / BINS, histogram.largest)
    below = np.cumsum(histogram.counts)
    bins = int(np.searchsorted(below, below[-1] * (percentile / 100))) + 1
    if method == "entropy":
        bins = max(bins, entropy_bins(histogram.counts))
    return min(bins * histogram.limit / BINS, histogram.largest)


def mse_bins(counts: np.ndarray) -> int:
    """How many bins to keep so that 127 levels and clipping together make the least squared error.

    A value inside is off by a uniformly distributed part of a step, of variance step^2 / 12; one
    beyond by its distance (R. Banner et al., "Post training 4-bit quantization of convolutional
    networks", 2019, section 3); one under half a step becomes zero. Values in the first bin are
    zero for the most part: they count as exact.

    Args:
        counts: int64 of shape (bins,), not negative.

    Returns:
        A number of bins between 1 and len(counts).
    """
    at = np.arange(len(counts)) + 0.5  # a bin's middle, in bins
    weights = counts.astype(np.float64)
    weights[0] = 0
    kept = np.arange(1, len(counts) + 1)
    inside = np.cumsum(weights)
    total, first, second = inside[-1], np.cumsum(weights * at), np.cumsum(weights * at**2)
    # sum of weight * (at - kept)^2 beyond, from prefix sums
    clipped = (second[-1] - second) - 2 * kept * (first[-1] - first) + kept**2 * (total - inside)
    step = kept / (LEVELS - 1)
    lost = np.searchsorted(at, step / 2)  # bins that become zero
    rounded = np.append(0, second)[lost] + (inside - np.append(0, inside)[lost]) * step**2 / 12
    return int(kept[np.argmin(clipped + rounded)])


def entropy_bins(counts: np.ndarray) -> int:
    """How many bins to keep so that 128 levels lose the least information.

    For each number of bins kept, P is the histogram with everything beyond put into its last bin,
    and Q is what 128 levels make of the kept bins, spread evenly over those that are not empty; the
    Kullback-Leibler divergence of P from Q is least at the answer (S. Migacz, "8-bit Inference with
    TensorRT", GTC 2017: TensorRT's calibrator). Values that are exactly zero are represented
    exactly whatever the scale, and after a ReLU they are most of all values: the first bin counts
    no more than the second.

    Args:
        counts: int64 of shape (bins,), not negative.

    Returns:
        A number of bins, at least 128 where so many are filled, and at most up to the last that is
        not empty.
    """
    counts = counts.copy()
    counts[0] = min(counts[0], counts[1])
    filled = np.flatnonzero(counts)
    last = int(filled[-1]) + 1 if filled.size else 1
    if last <= LEVELS:
        return last
    return int(search(counts.astype(np.float64), last))
