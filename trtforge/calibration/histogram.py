"""The accumulator: a histogram of magnitudes whose range only ever doubles.

Because every range is a power of two, doubling it merges neighbouring bins exactly. Nothing is ever
counted twice or re-binned with rounding, so one pass is enough, and merging the histograms of two
halves of a stream equals observing the whole stream, bit for bit, in any order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from trtforge.calibration.loops import BINS, CHUNK, count

SMALLEST_LIMIT = 2.0**-100  # below, bins for each unit would not fit into float32


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
        flat = np.require(array, np.float32, ["C", "A"]).reshape(-1)
        at = 0
        while True:
            per_unit = BINS / self.limit if self.limit else 0.0
            at, largest = count(flat, at, _largest_bits_under(self.limit), per_unit, self.counts)
            self.largest = max(self.largest, float(np.uint32(largest).view(np.float32)))
            if at == flat.size:
                return
            at += self._widen(flat[at : at + CHUNK])

    def _widen(self, chunk: np.ndarray) -> int:
        """Make room for a chunk; of one with NaN or infinity count the rest, too. How many values
        are done with.
        """
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
    """The range that a histogram of that range needs for a magnitude: a power of two above it, or 0
    while all is 0.
    """
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
