"""How far two tensors are apart."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass
class Difference:
    """Running sums over pairs of arrays, so that any number of images costs the memory of one.

    ``observe`` takes arrays of equal shape; the first is the reference.
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

    def observe(self, reference: np.ndarray, other: np.ndarray) -> None:
        a, b = reference.ravel().astype(np.float64), other.ravel().astype(np.float64)
        with np.errstate(invalid="ignore"):  # of two infinities: NaN, which every figure keeps
            error = np.abs(a - b)
        self.count += a.size
        self.sum_a += float(a.sum())
        self.sum_b += float(b.sum())
        self.sum_aa += float(a @ a)
        self.sum_bb += float(b @ b)
        self.sum_ab += float(a @ b)
        self.sum_error += float(error.sum())
        self.sum_squared += float(error @ error)
        self.largest = float(
            np.maximum(self.largest, error.max(initial=0.0))
        )  # NaN stays, unlike with max()

    @property
    def pearson(self) -> float:
        """Correlation of what deviates from each mean; 1.0 for two equal constants, 0.0 if only one
        is constant.
        """
        n = max(1, self.count)
        covariance = self.sum_ab - self.sum_a * self.sum_b / n
        spread = (self.sum_aa - self.sum_a**2 / n) * (self.sum_bb - self.sum_b**2 / n)
        if spread <= 0:
            return 1.0 if self.sum_squared == 0 else 0.0
        return covariance / math.sqrt(spread)

    @property
    def cosine(self) -> float:
        product = self.sum_aa * self.sum_bb
        return self.sum_ab / math.sqrt(product) if product else float(self.sum_squared == 0)

    @property
    def sqnr(self) -> float:
        """Signal to quantization noise, 10 log10(sum a^2 / sum (a - b)^2), in dB; infinite without
        noise.
        """
        if self.sum_squared == 0:
            return float("inf")
        return (
            float(10 * np.log10(self.sum_aa / self.sum_squared))
            if self.sum_aa > 0
            else float("-inf")
        )

    @property
    def noise(self) -> float:
        """Power of the difference as a share of the reference's, 1.0 at most: beyond, nothing of it
        is left.
        """
        if not np.isfinite(self.sum_squared):
            return 1.0
        return (
            min(1.0, self.sum_squared / self.sum_aa)
            if self.sum_aa > 0
            else float(self.sum_squared > 0)
        )

    @property
    def mean(self) -> float:
        return self.sum_error / max(1, self.count)

    def document(self) -> dict[str, float | None]:
        """For JSON, which knows neither infinity nor NaN."""
        figures = {
            "pearson": self.pearson,
            "cosine": self.cosine,
            "sqnr_db": self.sqnr,
            "max_error": self.largest,
            "mean_error": self.mean,
        }
        return {name: figure if np.isfinite(figure) else None for name, figure in figures.items()}
