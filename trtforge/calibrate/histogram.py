"""The accumulator: a histogram of magnitudes whose range only ever doubles.

Because every range is a power of two, doubling it merges neighbouring bins exactly. Nothing is ever counted twice or
re-binned with rounding, so one pass is enough, and merging the histograms of two halves of a stream equals
observing the whole stream, bit for bit, in any order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numba import njit

INFINITY_BITS = 0x7F800000
SMALLEST_LIMIT = 2.0**-100  # below, bins for each unit would not fit into float32
BINS = 4096  # the largest value lies in the upper half: 2048 to 4096 bins below it, TensorRT has 2048


class Histogram:
    """Counts of |x| in 4096 equal bins over [0, limit), limit a power of two.

    Attributes:
        counts: int64 of shape (4096,).
        limit: upper end of the range; 0.0 while only zeros were seen.
        largest: largest magnitude seen.
        bad: number of NaN and infinite values seen; they are in no bin.
    """

    __slots__ = ("bad", "counts", "largest", "limit")

    def __init__(self) -> None:
        self.counts = np.zeros(BINS, np.int64)
        self.limit = 0.0
        self.largest = 0.0
        self.bad = 0

    def observe(self, array: np.ndarray) -> None:
        """Count a float32 array of any shape."""
        flat = np.ascontiguousarray(array, np.float32).reshape(-1)
        largest, bad = _largest(flat)
        self.bad += bad
        self._make_room(largest)
        if self.limit:
            _count(flat, np.float32(BINS / self.limit), self.counts)
        else:
            self.counts[0] += flat.size - bad

    def merge(self, other: Histogram) -> None:
        """Count everything that ``other`` counted."""
        self._make_room(other.largest)
        counts, limit = other.counts, other.limit
        if self.limit and not limit:
            limit = self.limit  # only zeros: they stay in bin 0
        while limit < self.limit:
            counts, limit = _doubled(counts), limit * 2
        self.counts += counts
        self.bad += other.bad

    def _make_room(self, largest: float) -> None:
        self.largest = max(self.largest, largest)
        if not largest or largest < self.limit:
            return
        wanted = limit_above(largest, self.limit)
        if not self.limit:
            self.limit = wanted
        while self.limit < wanted:
            self.counts, self.limit = _doubled(self.counts), self.limit * 2


def empty(names: Iterable[str]) -> dict[str, Histogram]:
    return {name: Histogram() for name in names}


def limit_above(largest: float, limit: float = 0.0) -> float:
    """The range that a histogram of that range needs for a magnitude: a power of two above it, or 0 while all is 0."""
    if not largest or largest < limit:
        return limit
    return max(SMALLEST_LIMIT, math.ldexp(1.0, math.frexp(largest)[1]))


def _doubled(counts: np.ndarray) -> np.ndarray:
    merged = np.zeros_like(counts)
    merged[: BINS // 2] = counts[0::2] + counts[1::2]
    return merged


def _largest(flat: np.ndarray) -> tuple[float, int]:
    """The largest finite magnitude, and how many values are not finite."""
    bits = int(_largest_bits(flat.view(np.uint32)))
    if bits < INFINITY_BITS:
        return float(np.uint32(bits).view(np.float32)), 0
    finite = flat[np.isfinite(flat)]
    return float(np.abs(finite).max(initial=0.0)), flat.size - finite.size


@njit(nogil=True, cache=True)
def _largest_bits(bits):  # type: ignore[no-untyped-def]
    # Without the sign bit, floats order as their bit patterns do; integers let the compiler use SIMD.
    largest = np.uint32(0)
    for pattern in bits:
        largest = max(largest, pattern & np.uint32(0x7FFFFFFF))
    return largest


@njit(nogil=True, cache=True)
def _count(flat, per_unit, counts):  # type: ignore[no-untyped-def]
    # Two tables take turns, so that an increment need not wait for the one before it on the same bin.
    even = np.zeros(BINS + 1, np.uint32)
    odd = np.zeros(BINS + 1, np.uint32)
    for index in range(0, flat.size - 1, 2):
        even[_bin(flat[index], per_unit)] += 1
        odd[_bin(flat[index + 1], per_unit)] += 1
    if flat.size % 2:
        even[_bin(flat[flat.size - 1], per_unit)] += 1
    for index in range(BINS):
        counts[index] += np.int64(even[index]) + np.int64(odd[index])


@njit(nogil=True, cache=True, inline="always")
def _bin(value, per_unit):  # type: ignore[no-untyped-def]
    """The bin of a value; NaN and what lies beyond the range (infinity) go to a bin that nobody reads."""
    position = abs(value) * per_unit
    return np.uint32(position) if position < BINS else np.uint32(BINS)
