"""Measure how much the outputs of a changed network differ from the float network's.

This is finer than accuracy, which hardly changes on a few images.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

LEAST_SCORE = 0.05  # boxes below do not count: thousands of them hold no object
# Weight of a relative change of scores beside a loss of overlap: it only reorders objects.
SCORES = 0.1

Floats = NDArray[np.floating]


class Harm:
    """The change of a network's outputs over a stream of images, relative to the outputs.

    For a detector, it is the overlap that boxes lose with the float network's boxes, weighted with
    their scores, plus a tenth of the relative change of scores. The tenth was measured: on the demo
    detector, variants whose scores changed by 5 to 13 % lost as much mAP50-95 as their boxes lost
    overlap, whatever their scores did. For other networks, it is the relative change of all
    outputs.
    """

    def __init__(self) -> None:
        self._changed: dict[str, float] = {}
        self._whole: dict[str, float] = {}

    def observe(self, reference: Mapping[str, Floats], other: Mapping[str, Floats]) -> None:
        """Compare the outputs for one batch.

        Args:
            reference, other: outputs by name; a detector's are ``boxes`` (N, K, 4), as corners, and
                ``scores`` (N, K, C).
        """
        for name in reference.keys() - {"boxes"}:
            one, two = reference[name].astype(np.float64), other[name].astype(np.float64)
            counts = one > LEAST_SCORE if "boxes" in reference else np.ones(one.shape, bool)
            difference = float(np.abs(one - two)[counts].sum())
            self._add(name, difference, float(np.abs(one)[counts].sum()))
        if "boxes" in reference:
            score: Floats = reference["scores"].max(-1)
            weight = np.where(score > LEAST_SCORE, score, 0.0)
            lost = 1 - overlap(reference["boxes"], other["boxes"])
            self._add("boxes", float((weight * lost).sum()), float(weight.sum()))

    @property
    def value(self) -> float:
        """The harm; 0.0 without any difference."""
        shares = {
            name: changed / self._whole[name]
            for name, changed in self._changed.items()
            if self._whole[name]
        }
        if "boxes" in shares:
            return shares["boxes"] + SCORES * shares.get("scores", 0.0)
        return sum(shares.values())

    def _add(self, name: str, changed: float, whole: float) -> None:
        self._changed[name] = self._changed.get(name, 0.0) + changed
        self._whole[name] = self._whole.get(name, 0.0) + whole


def overlap(one: Floats, other: Floats) -> Floats:
    """Return intersection over union of each box with its counterpart.

    Args:
        one, other: corners, of shape (..., 4).

    Returns:
        An array of shape (...); 1 for two empty boxes.
    """
    low, high = np.maximum(one[..., :2], other[..., :2]), np.minimum(one[..., 2:], other[..., 2:])
    shared: Floats = np.clip(high - low, 0, None).prod(-1)
    union = _area(one) + _area(other) - shared
    share: Floats = np.divide(shared, union, out=np.ones_like(shared), where=union > 0)
    return share


def _area(boxes: Floats) -> Floats:
    area: Floats = np.clip(boxes[..., 2:] - boxes[..., :2], 0, None).prod(-1)
    return area
