"""How much worse the outputs of a changed network are: finer than accuracy, which a few images hardly move."""

from __future__ import annotations

from typing import Any

import numpy as np


class Harm:
    """Noise in the outputs of a network, as a share of the signal, over a stream of images.

    Of a detector, scores count by their power, and boxes by how far they move in widths and heights, weighted with
    the score that the float network gives them: thousands of boxes hold nothing. Of other networks, each output
    counts by its power.
    """

    def __init__(self) -> None:
        self._noise: dict[str, float] = {}
        self._signal: dict[str, float] = {}

    def observe(self, reference: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
        """Compare the outputs for one batch; a detector's are ``boxes`` (N, K, 4) and ``scores`` (N, K, C)."""
        if reference.keys() == {"boxes", "scores"}:
            weight = reference["scores"].max(-1)
            sides = np.maximum(_sides(reference["boxes"]), 1.0)[..., [0, 1, 0, 1]]
            moved = ((reference["boxes"] - other["boxes"]) / sides) ** 2
            self._add("boxes", float((weight * moved.mean(-1)).sum()), float(weight.sum()))
        for name in reference.keys() - {"boxes"}:
            one, two = reference[name].astype(np.float64), other[name].astype(np.float64)
            self._add(name, float(((one - two) ** 2).sum()), float((one**2).sum()))

    @property
    def value(self) -> float:
        """0.0 without any difference."""
        return sum(noise / self._signal[name] for name, noise in self._noise.items() if self._signal[name])

    def _add(self, name: str, noise: float, signal: float) -> None:
        self._noise[name] = self._noise.get(name, 0.0) + noise
        self._signal[name] = self._signal.get(name, 0.0) + signal


def _sides(corners: Any) -> Any:
    return corners[..., 2:] - corners[..., :2]
