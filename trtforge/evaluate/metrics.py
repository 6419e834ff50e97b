"""Measure how far two tensors are apart.

Polygraphy's comparator judges each run alone and holds the outputs of all runs: here a whole folder
of images is one signal, of which only sums stay.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypedDict


class DifferenceJson(TypedDict):
    """The figures of a ``Difference`` in a JSON document; None replaces infinity and NaN."""

    pearson: float | None
    cosine: float | None
    sqnr_db: float | None
    max_error: float | None
    mean_error: float | None


@dataclass
class Difference:
    """The difference of two tensors over many images, kept as running sums.

    ``observe`` takes a pair of arrays of equal shape. Only the sums stay in memory.
    """

    count: int = 0
    sum_a: float = 0.0
    sum_b: float = 0.0
    sum_aa: float = 0.0
    sum_bb: float = 0.0
    sum_ab: float = 0.0
    sum_error: float = 0.0
    sum_squared: float = 0.0
    largest: float = 0.0

    def observe(self, reference: NDArray[np.generic], other: NDArray[np.generic]) -> None:
        """Add a pair of arrays to the sums."""
        a, b = reference.ravel().astype(np.float64), other.ravel().astype(np.float64)
        # The difference of two infinities is NaN, which then stays in every figure.
        with np.errstate(invalid="ignore"):
            error: NDArray[np.float64] = np.abs(a - b)
        self.count += a.size
        self.sum_a += float(a.sum())
        self.sum_b += float(b.sum())
        self.sum_aa += float(a @ a)
        self.sum_bb += float(b @ b)
        self.sum_ab += float(a @ b)
        self.sum_error += float(error.sum())
        self.sum_squared += float(error @ error)
        # np.maximum keeps NaN, Python's max() would not.
        self.largest = float(np.maximum(self.largest, error.max(initial=0.0)))

    @property
    def pearson(self) -> float:
        """Pearson correlation; 1.0 for two equal constants, 0.0 if only one is constant."""
        n = max(1, self.count)
        covariance = self.sum_ab - self.sum_a * self.sum_b / n
        variances = (self.sum_aa - self.sum_a**2 / n) * (self.sum_bb - self.sum_b**2 / n)
        if variances <= 0:
            return 1.0 if self.sum_squared == 0 else 0.0
        return covariance / math.sqrt(variances)

    @property
    def cosine(self) -> float:
        """Cosine similarity; 1.0 for two zero tensors, 0.0 if only one is zero."""
        product = self.sum_aa * self.sum_bb
        return self.sum_ab / math.sqrt(product) if product else float(self.sum_squared == 0)

    @property
    def sqnr(self) -> float:
        """Signal-to-noise ratio, 10 log10(sum a^2 / sum (a - b)^2), in dB; infinite without noise."""
        if self.sum_squared == 0:
            return float("inf")
        if not self.sum_aa > 0:
            return float("-inf")
        return float(10 * np.log10(self.sum_aa / self.sum_squared))

    @property
    def noise(self) -> float:
        """Power of the difference as a share of the reference's power, at most 1.0."""
        if not np.isfinite(self.sum_squared):
            return 1.0
        if not self.sum_aa > 0:
            return float(self.sum_squared > 0)
        return min(1.0, self.sum_squared / self.sum_aa)

    @property
    def mean(self) -> float:
        """Mean absolute difference."""
        return self.sum_error / max(1, self.count)

    def document(self) -> DifferenceJson:
        """Return the figures for JSON, which has neither infinity nor NaN."""
        return {
            "pearson": _finite(self.pearson),
            "cosine": _finite(self.cosine),
            "sqnr_db": _finite(self.sqnr),
            "max_error": _finite(self.largest),
            "mean_error": _finite(self.mean),
        }


def _finite(figure: float) -> float | None:
    return figure if math.isfinite(figure) else None
