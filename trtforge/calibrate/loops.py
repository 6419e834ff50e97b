"""The inner loops of histograms and of the entropy search, compiled.

Numba takes as long to import as some images take to pass through a network, and as the signatures are given, all is
compiled, or read from Numba's cache, as this module is imported: while the first images are in the network.
"""

from __future__ import annotations

import numpy as np
from numba import njit, types

from trtforge.calibrate.histogram import BINS

CHUNK = 8192  # values: they, their bins and what is filled of the tables stay in the cache
LEVELS = 128  # magnitudes that INT8 tells apart, in TensorRT's entropy calibration
COARSE = 64  # bins between the candidates of the search's first round
_VALUES = types.Array(types.float32, 1, "C", readonly=True)
_BITS = types.Array(types.uint32, 1, "C", readonly=True)


@njit(
    types.Tuple((types.int64, types.uint32))(
        _VALUES, _BITS, types.int64, types.uint32, types.float32, types.int64[::1]
    ),
    nogil=True,
    cache=True,
)
def count(flat, bits, start, most, per_unit, counts):  # type: ignore[no-untyped-def]
    """Count from ``start`` on, up to a chunk with a pattern over ``most``; where that begins, and the largest before.

    A chunk stays in the cache while it is looked through three times: for its largest magnitude, for its bins, and to
    count them. The first two are loops that the compiler turns into SIMD: without the sign bit, floats order as their
    bit patterns do. It does so only if they index from 0 on (an index that might be negative turns loads into gathers)
    and say where a number has 32 bits (Numba's integers grow to 64).
    """
    # Four tables take turns, so that an increment need not wait for the one before it on the same bin.
    one, two = np.zeros(BINS, np.uint32), np.zeros(BINS, np.uint32)
    three, four = np.zeros(BINS, np.uint32), np.zeros(BINS, np.uint32)
    bins = np.empty(CHUNK, np.uint16)
    largest = np.uint32(0)
    at = start
    while at < flat.size:
        chunk, patterns = flat[at : at + CHUNK], bits[at : at + CHUNK]
        here = np.uint32(0)
        for pattern in patterns:
            here = max(here, np.uint32(pattern & np.uint32(0x7FFFFFFF)))
        if here > most:  # NaN and infinity among them
            break
        largest = max(largest, here)
        for index in range(chunk.size):
            bins[index] = np.uint16(np.int32(abs(chunk[index]) * per_unit))
        fours = chunk.size // 4
        for index in range(fours):
            one[bins[4 * index]] += np.uint32(1)
            two[bins[4 * index + 1]] += np.uint32(1)
            three[bins[4 * index + 2]] += np.uint32(1)
            four[bins[4 * index + 3]] += np.uint32(1)
        for index in range(4 * fours, chunk.size):
            one[bins[index]] += np.uint32(1)
        at += chunk.size
    for index in range(BINS):
        counts[index] += np.int64(one[index]) + np.int64(two[index]) + np.int64(three[index]) + np.int64(four[index])
    return at, largest


@njit(types.int64(types.float64[::1], types.int64), nogil=True, cache=True)
def search(counts, last):  # type: ignore[no-untyped-def]
    """How many of the first ``last`` bins to keep: see ``trtforge.calibrate.threshold.entropy_bins``."""
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
