"""How much worse the outputs of a changed network are: finer than accuracy, which a few images
hardly move.
"""

from __future__ import annotations

import numpy as np

LEAST_SCORE = 0.05  # of a box that counts: thousands hold nothing
# what a relative change of scores counts beside a loss of overlap: it only reorders objects
SCORES = 0.1


class Harm:
    """Change of a network's outputs, as a share of them, over a stream of images.

    Of a detector it is what boxes lose in overlap with those of the float network, weighted with
    its scores, plus a tenth of the relative change of scores: on the demo detector, variants whose
    scores changed by 5 to 13 % lost mAP50-95 as their boxes did, whatever the scores. Of other
    networks it is the relative change of
    all outputs.
    """

    def __init__(self) -> None:
        self._changed: dict[str, float] = {}
        self._whole: dict[str, float] = {}

    def observe(self, reference: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
        """Compare outputs for one batch; a detector's are ``boxes`` (N, K, 4), corners, and
        ``scores`` (N, K, C).
        """
        for name in reference.keys() - {"boxes"}:
            one, two = reference[name].astype(np.float64), other[name].astype(np.float64)
            counts = one > LEAST_SCORE if "boxes" in reference else np.ones(one.shape, bool)
            self._add(
                name, float(np.abs(one - two)[counts].sum()), float(np.abs(one)[counts].sum())
            )
        if "boxes" in reference:
            score = reference["scores"].max(-1)
            weight = np.where(score > LEAST_SCORE, score, 0.0)
            lost = 1 - overlap(reference["boxes"], other["boxes"])
            self._add("boxes", float((weight * lost).sum()), float(weight.sum()))

    @property
    def value(self) -> float:
        """0.0 without any difference."""
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


def overlap(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Intersection over union of each box with its counterpart: corners (..., 4) to (...)."""
    low, high = np.maximum(one[..., :2], other[..., :2]), np.minimum(one[..., 2:], other[..., 2:])
    shared = np.clip(high - low, 0, None).prod(-1)
    union = _area(one) + _area(other) - shared
    share: np.ndarray = np.divide(shared, union, out=np.ones_like(shared), where=union > 0)
    return share


def _area(boxes: np.ndarray) -> np.ndarray:
    area: np.ndarray = np.clip(boxes[..., 2:] - boxes[..., :2], 0, None).prod(-1)
    return area
