"""Count magnitudes in a histogram whose range only ever doubles.

Every range is a power of two, so doubling it merges neighbouring bins exactly. No value is counted
twice or put into another bin by rounding. So one pass over the images is enough, and merging the
histograms of two halves of a stream equals observing the whole stream, bit for bit, in any order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from trtforge.calibration.loops import BINS, CHUNK, count

SMALLEST_LIMIT = 2.0**-100  # with a smaller range, "bins per unit" would not fit into float32


class Histogram:
    """Counts of |x| in 4096 equal bins over [0, limit); the limit is a power of two.

    Attributes:
        counts: int64 of shape (4096,).
        limit: upper end of the range; 0.0 while only zeros have been counted.
        largest: largest magnitude so far.
        bad: number of NaN and infinite values so far; they are in no bin.
    """

    __slots__ = ("bad", "counts", "largest", "limit")

    def __init__(self) -> None:
        self.counts: NDArray[np.int64] = np.zeros(BINS, np.int64)
        self.limit = 0.0
        self.largest = 0.0
        self.bad = 0

    def observe(self, array: NDArray[np.float32]) -> None:
        """Count a float32 array of any shape."""
        flat = np.require(array, np.float32, ["C", "A"]).reshape(-1)
        position = 0
        while True:
            per_unit = BINS / self.limit if self.limit else 0.0
            largest_bits = _largest_bits_under(self.limit)
            position, largest = count(flat, position, largest_bits, per_unit, self.counts)
            self.largest = max(self.largest, float(np.uint32(largest).view(np.float32)))
            if position == flat.size:
                return
            position += self._widen(flat[position : position + CHUNK])

    def _widen(self, chunk: NDArray[np.float32]) -> int:
        """Make room for a chunk of values, and return how many of them are counted already.

        A chunk with NaN or infinite values is counted here; the compiled loop would stop at it.
        """
        finite = chunk[np.isfinite(chunk)]
        self._make_room(float(np.abs(finite).max(initial=0.0)))
        if finite.size == chunk.size:
            return 0
        self.bad += chunk.size - finite.size
        self.observe(finite)
        return chunk.size

    def merge(self, other: Histogram) -> None:
        """Add everything that another histogram has counted."""
        self._make_room(other.largest)
        counts, limit = other.counts, other.limit
        if self.limit and not limit:
            limit = self.limit  # the other counted only zeros: they stay in bin 0
        while limit < self.limit:
            counts, limit = _halve_bins(counts), limit * 2
        self.counts += counts
        self.bad += other.bad

    def _make_room(self, largest: float) -> None:
        self.largest = max(self.largest, largest)
        if not largest or largest < self.limit:
            return
        needed = limit_above(largest, self.limit)
        if not self.limit:
            self.limit = needed
        while self.limit < needed:
            self.counts, self.limit = _halve_bins(self.counts), self.limit * 2


def empty(names: Iterable[str]) -> dict[str, Histogram]:
    """Return an empty histogram for each name."""
    return {name: Histogram() for name in names}


def limit_above(largest: float, limit: float = 0.0) -> float:
    """Return the limit that a histogram needs for a magnitude.

    Args:
        largest: the magnitude.
        limit: the histogram's limit so far; it stays where the magnitude is below it.

    Returns:
        A power of two above the magnitude; 0.0 while all values are 0.
    """
    if not largest or largest < limit:
        return limit
    return max(SMALLEST_LIMIT, math.ldexp(1.0, math.frexp(largest)[1]))


def _halve_bins(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the counts for a range of twice the size: each bin takes the counts of two."""
    doubled = np.zeros_like(counts)
    doubled[: BINS // 2] = counts[0::2] + counts[1::2]
    return doubled


def _largest_bits_under(limit: float) -> int:
    """Return the bit pattern of the largest float32 in [0, limit); the limit is 2^k, or 0."""
    # frexp(2^k) has exponent k + 1, and float32 stores 2^k with exponent field k + 127 in bit 23.
    return ((math.frexp(limit)[1] + 126) << 23) - 1 if limit else 0
