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

SMALLEST_LIMIT = 2.0**-100  # below, bins for each unit would not fit into float32
CHUNK = 16384  # values that stay in the cache
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
        bits = flat.view(np.uint32)
        at = 0
        while True:
            per_unit = np.float32(BINS / self.limit if self.limit else 0)
            at, largest = _count(flat, bits, at, np.uint32(_largest_bits_under(self.limit)), per_unit, self.counts)
            self.largest = max(self.largest, float(np.uint32(largest).view(np.float32)))
            if at == flat.size:
                return
            at += self._widen(flat[at : at + CHUNK])

    def _widen(self, chunk: np.ndarray) -> int:
        """Make room for a chunk; of one with NaN or infinity count the rest, too. How many values are done with."""
        finite = chunk[np.isfinite(chunk)]
        self._make_room(float(np.abs(finite).max(initial=0.0)))
        if finite.size == chunk.size:
            return 0
        self.bad += chunk.size - finite.size
        self.observe(finite)
        return chunk.size

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


def _largest_bits_under(limit: float) -> int:
    """The bit pattern of the largest float32 magnitude in [0, limit), limit a power of two or 0."""
    return ((math.frexp(limit)[1] + 126) << 23) - 1 if limit else 0


@njit(nogil=True, cache=True)
def _count(flat, bits, start, most, per_unit, counts):  # type: ignore[no-untyped-def]
    """Count from ``start`` on, up to a chunk with a pattern over ``most``; where that begins, and the largest before.

    A chunk stays in the cache while it is looked through three times: for its largest magnitude, for its bins, and to
    count them. The first two are loops that the compiler turns into SIMD: without the sign bit, floats order as their
    bit patterns do.
    """
    # Four tables take turns, so that an increment need not wait for the one before it on the same bin.
    one, two = np.zeros(BINS, np.uint32), np.zeros(BINS, np.uint32)
    three, four = np.zeros(BINS, np.uint32), np.zeros(BINS, np.uint32)
    bins = np.empty(CHUNK, np.uint16)
    largest = np.uint32(0)
    at = start
    while at < flat.size:
        end = min(at + CHUNK, flat.size)
        here = np.uint32(0)
        for pattern in bits[at:end]:
            here = max(here, pattern & np.uint32(0x7FFFFFFF))
        if here > most:  # NaN and infinity among them
            break
        largest = max(largest, here)
        size = end - at
        for index in range(size):
            bins[index] = np.uint16(np.int32(abs(flat[at + index]) * per_unit))
        for index in range(0, size - 3, 4):
            one[bins[index]] += np.uint32(1)
            two[bins[index + 1]] += np.uint32(1)
            three[bins[index + 2]] += np.uint32(1)
            four[bins[index + 3]] += np.uint32(1)
        for index in range(size - size % 4, size):
            one[bins[index]] += np.uint32(1)
        at = end
    for index in range(BINS):
        counts[index] += np.int64(one[index]) + np.int64(two[index]) + np.int64(three[index]) + np.int64(four[index])
    return at, largest
