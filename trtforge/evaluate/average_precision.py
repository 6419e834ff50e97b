"""Compute mean average precision from COCO labels, with the matching of pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trtforge.evaluate.coco import Truth, corners_and_classes
from trtforge.evaluate.detections import Objects

if TYPE_CHECKING:
    from pycocotools.cocoeval import ImageEvaluation

RECALLS = np.linspace(0, 1, 101)  # COCO averages the precision over these levels of recall


@dataclass(frozen=True)
class _ClassMatches:
    """The detections of one class, best first.

    Attributes:
        image: (D,), index of the image of each detection.
        right: (T, D) bool for T thresholds of IoU: it matches an object that no better detection
            matches.
        wrong: (T, D) bool: it matches no object. A detection of a crowd is neither right nor wrong.
        objects: (I,), number of objects on each image.
    """

    image: NDArray[np.int64]
    right: NDArray[np.bool_]
    wrong: NDArray[np.bool_]
    objects: NDArray[np.float64]


@dataclass(frozen=True)
class Matches:
    """Detections that are matched with labels: all that mean average precision needs."""

    classes: tuple[_ClassMatches, ...]
    images: int

    def mean_average_precision(
        self, weights: NDArray[np.float64] | None = None
    ) -> tuple[float, float]:
        """Return mAP50-95 and mAP50, each 0..1.

        Args:
            weights: float64 of shape (images,), how often each image counts; None means once.
        """
        counts = np.ones(self.images) if weights is None else weights
        precisions = [
            _average_precision(matches, counts)
            for matches in self.classes
            if (matches.objects * counts).sum()
        ]
        if not precisions:
            return 0.0, 0.0
        at_50 = [precision[0] for precision in precisions]
        return float(np.mean(precisions)), float(np.mean(at_50))


def match(truth: Truth, detected: Mapping[str, Objects]) -> Matches:
    """Match detections with labels by COCO's rules, with at most 100 objects per image.

    Args:
        detected: objects by file name.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    results: list[dict[str, object]] = []
    for name, objects in detected.items():
        scores: list[float] = objects.scores.tolist()
        rows = zip(corners_and_classes(objects), scores, strict=True)
        for ((left, top, right, bottom), label), score in rows:
            results.append(
                {
                    "image_id": truth.ids[name],
                    "category_id": truth.categories[label],
                    "score": score,
                    "bbox": [left, top, right - left, bottom - top],
                }
            )
    if not results:
        return Matches((), len(truth.ids))
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        labels = COCO()
        labels.dataset = truth.dataset
        labels.createIndex()
        evaluation = COCOeval(labels, labels.loadRes(results), "bbox")
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.params.maxDets = [100]
        evaluation.evaluate()
    images, thresholds = len(evaluation.params.imgIds), len(evaluation.params.iouThrs)
    table = evaluation.evalImgs  # the images of the first class, then of the second, ...
    classes = [table[start : start + images] for start in range(0, len(table), images)]
    return Matches(tuple(_class_matches(rows, thresholds) for rows in classes), images)


def _class_matches(rows: Sequence[ImageEvaluation | None], thresholds: int) -> _ClassMatches:
    """Return the matches of one class from pycocotools' results for each image."""
    filled = [(index, row) for index, row in enumerate(rows) if row is not None]
    objects = np.zeros(len(rows))
    for index, row in filled:
        objects[index] = np.count_nonzero(np.asarray(row["gtIgnore"]) == 0)
    # The empty arrays give the right shape and type for a class without detections.
    nothing = np.zeros((thresholds, 0), bool)
    scores: NDArray[np.float64] = np.concatenate(
        [np.zeros(0), *(np.asarray(row["dtScores"], np.float64) for _, row in filled)]
    )
    image: NDArray[np.int64] = np.concatenate(
        [np.zeros(0, int), *(np.full(len(row["dtScores"]), index) for index, row in filled)]
    )
    matched: NDArray[np.bool_] = np.concatenate(
        [nothing, *(np.asarray(row["dtMatches"]) > 0 for _, row in filled)], axis=1
    )
    ignored: NDArray[np.bool_] = np.concatenate(
        [nothing, *(np.asarray(row["dtIgnore"]) > 0 for _, row in filled)], axis=1
    )
    order = np.argsort(-scores, kind="mergesort")  # the order of pycocotools for equal scores
    matched, ignored = matched[:, order], ignored[:, order]
    return _ClassMatches(image[order], matched & ~ignored, ~matched & ~ignored, objects)


def _average_precision(matches: _ClassMatches, counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the average precision at each threshold of IoU.

    It is the mean, over 101 levels of recall, of the best precision at that recall or more.
    """
    weight: NDArray[np.float64] = counts[matches.image]
    right: NDArray[np.float64] = np.cumsum(matches.right * weight, 1)
    wrong: NDArray[np.float64] = np.cumsum(matches.wrong * weight, 1)
    recall: NDArray[np.float64] = right / (matches.objects * counts).sum()
    precision: NDArray[np.float64] = right / np.maximum(right + wrong, np.spacing(1))
    best = np.maximum.accumulate(precision[:, ::-1], 1)[:, ::-1]
    padded = np.concatenate([best, np.zeros((len(best), 1))], 1)
    means: list[float] = []
    for recalls, precisions in zip(recall, padded, strict=True):
        means.append(precisions[np.searchsorted(recalls, RECALLS, side="left")].mean())
    return np.array(means)
