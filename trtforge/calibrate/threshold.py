"""From a histogram of magnitudes to the largest one that INT8 represents."""

from __future__ import annotations

import numpy as np
from numba import njit

from trtforge.calibrate.histogram import BINS, Histogram

LEVELS = 128  # magnitudes that INT8 tells apart, in TensorRT's entropy calibration
COARSE = 64  # bins between the candidates of the search's first round


def threshold(histogram: Histogram, method: str, percentile: float = 99.999) -> float:
    """The magnitude that is mapped to 127; 0.0 for a tensor that was always zero.

    Args:
        method: ``entropy`` (least information lost, but no more values clipped than ``percentile`` allows),
            ``percentile`` (so many percent of values are represented), ``mse`` (least squared error) or ``minmax``
            (all values are represented).
        percentile: percent of values, above 0 and at most 100.

    Entropy alone sees no cost in clipping, however far a value lies outside: of a first layer's SiLU it may keep a
    fifth of the range. On detectors with SiLU the floor raises the correlation of INT8 scores with FP32's.
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

    A value inside is off by a uniformly distributed part of a step, of variance step^2 / 12; one beyond by its
    distance (R. Banner et al., "Post training 4-bit quantization of convolutional networks", 2019, section 3); one
    under half a step becomes zero. Values in the first bin are zero for the most part: they count as exact.

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

    For each number of bins kept, P is the histogram with everything beyond put into its last bin, and Q is what 128
    levels make of the kept bins, spread evenly over those that are not empty; the Kullback-Leibler divergence of P
    from Q is least at the answer (S. Migacz, "8-bit Inference with TensorRT", GTC 2017: TensorRT's calibrator).
    Values that are exactly zero are represented exactly whatever the scale, and after a ReLU they are most of all
    values: the first bin counts no more than the second.

    Args:
        counts: int64 of shape (bins,), not negative.

    Returns:
        A number of bins, at least 128 where so many are filled, and at most up to the last that is not empty.
    """
    counts = counts.copy()
    counts[0] = min(counts[0], counts[1])
    filled = np.flatnonzero(counts)
    last = int(filled[-1]) + 1 if filled.size else 1
    if last <= LEVELS:
        return last
    return int(_search(counts.astype(np.float64), last))


@njit(nogil=True, cache=True)
def _search(counts, last):  # type: ignore[no-untyped-def]
    # Within one level Q is constant, so KL(P, Q) needs of each level only its sums, and sums over any run of bins are
    # differences of prefix sums: 128 steps a candidate instead of one for each bin.
    mass = np.zeros(last + 1)  # sum of counts
    filled = np.zeros(last + 1)  # number of bins that are not empty
    surprise = np.zeros(last + 1)  # sum of count * log(count)
    for index in range(last):
        count = counts[index]
        mass[index + 1] = mass[index] + count
        filled[index + 1] = filled[index] + (1 if count > 0 else 0)
        surprise[index + 1] = surprise[index] + (count * np.log(count) if count > 0 else 0.0)
    total = mass[last]
    best, best_bins = np.inf, last
    # No level's part is negative (the log sum inequality), so a candidate is out as soon as its parts exceed the best
    # sum: with a good one from a coarse round at hand, after a ninth of the steps.
    for step in (COARSE, 1):
        for kept in range(LEVELS, last + 1, step):
            tail = counts[kept - 1]
            if tail == 0:
                continue  # P has the outliers where Q has nothing: infinitely far apart, or the same as one bin less
            normalised = np.log(mass[kept] / total)
            most = (best - normalised) * total
            # The last level first: its last bin holds the outliers, too, which cost most where too few bins are kept.
            outliers = total - mass[kept]
            distance = (tail + outliers) * np.log(tail + outliers) - tail * np.log(tail)
            for turn in range(LEVELS):
                level = turn - 1 if turn else LEVELS - 1
                start, end = level * kept // LEVELS, (level + 1) * kept // LEVELS
                weight = mass[end] - mass[start]
                if weight > 0:
                    in_p = weight + (0.0 if turn else outliers)
                    distance += surprise[end] - surprise[start] - in_p * np.log(weight / (filled[end] - filled[start]))
                    if distance > most:
                        break
            else:
                distance = distance / total + normalised
                if distance < best or (distance == best and kept < best_bins):
                    best, best_bins = distance, kept
    return best_bins
