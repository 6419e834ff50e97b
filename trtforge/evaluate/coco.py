"""COCO labels, and mean average precision by pycocotools."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trtforge.documents import DocumentError, load_json
from trtforge.errors import ForgeError
from trtforge.evaluate.detections import Objects

RECALLS = np.linspace(0, 1, 101)
LARGEST = 2 << 30  # bytes of a label file: COCO's own are 0.5 GB


@dataclass(frozen=True)
class Truth:
    """Labels of the images at hand.

    Attributes:
        dataset: COCO's form, cut down to those images, annotations numbered from 1.
        ids: image id of each file name.
        categories: ids in ascending order: the model's class k is the k-th.
    """

    dataset: dict[str, Any]
    ids: Mapping[str, int]
    categories: Sequence[int]

    @property
    def names(self) -> list[str]:
        named = {
            entry["id"]: str(entry.get("name", entry["id"])) for entry in self.dataset["categories"]
        }
        return [named[category] for category in self.categories]


def read(path: Path, images: Sequence[str]) -> Truth:
    """Labels for the images of these names.

    Raises:
        ForgeError: the file is no COCO JSON, an annotation can't be right, an image has no labels,
            or no labelled image or object is among them.
    """
    content = _load(path)
    try:
        ids = {
            Path(str(entry["file_name"])).name: _whole(entry["id"]) for entry in content["images"]
        }
        listed = [{**entry, "id": _whole(entry["id"])} for entry in content["categories"]]
        entries = list(content["annotations"])
    except (KeyError, TypeError, ValueError) as error:
        raise ForgeError(
            f"{path}: not COCO labels ({error!r})",
            "it needs images, annotations with bbox, and categories",
        ) from error
    categories = sorted(entry["id"] for entry in listed)
    annotations = [
        _annotation(entry, set(categories), f"{path}: annotations[{index}]")
        for index, entry in enumerate(entries)
    ]
    missing = [name for name in images if name not in ids]
    if len(missing) == len(images):
        raise ForgeError(
            f"{path}: labels of other images (it has none of {images[0]} ...)",
            "give their own labels",
        )
    if missing:
        raise ForgeError(
            f"{path}: no labels for {missing[0]}"
            + (f" and {len(missing) - 1} more" * (len(missing) > 1)),
            "an image without objects is listed under images, too",
        )
    kept = {name: ids[name] for name in images}
    wanted = set(kept.values())
    annotations = [entry for entry in annotations if entry["image_id"] in wanted]
    if not annotations:
        raise ForgeError(
            f"{path}: no object on any of the images, so nothing to measure",
            "give labels with objects",
        )
    if all(max(entry["bbox"]) <= 1 for entry in annotations):
        raise ForgeError(
            f"{path}: every box lies within 0..1", "COCO's bbox is x, y, width, height in pixels"
        )
    # pycocotools takes annotation 0 for "not matched".
    annotations = [{**entry, "id": number} for number, entry in enumerate(annotations, 1)]
    dataset = {
        "images": [{"id": value} for value in kept.values()],
        "annotations": annotations,
        "categories": listed,
    }
    return Truth(dataset, kept, categories)


def _whole(value: Any) -> int:
    """An id; some tools write them as strings."""
    if isinstance(value, str) or (isinstance(value, (int, float)) and value == value // 1):
        return int(value)
    raise ValueError(f"{value!r} is no whole number")


def _annotation(entry: Any, categories: Set[int], place: str) -> dict[str, Any]:
    """What pycocotools needs of an annotation.

    Raises:
        ForgeError: it lacks something, or can't be right; ``place`` says which one it is.
    """
    try:
        image, category, crowd = (
            _whole(entry["image_id"]),
            _whole(entry["category_id"]),
            int(entry.get("iscrowd") or 0),
        )
        box = [float(value) for value in entry["bbox"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ForgeError(
            f"{place}: not COCO's ({error!r})",
            "it needs image_id, category_id and bbox of x, y, width, height",
        ) from error
    if len(box) != 4 or not all(map(math.isfinite, box)) or min(box[2:]) < 0:
        raise ForgeError(f"{place}: bbox {box} is no box", "it is x, y, width, height in pixels")
    if category not in categories:
        raise ForgeError(
            f"{place}: category {category}, which is not listed", "list it under categories"
        )
    return {
        "image_id": image,
        "category_id": category,
        "iscrowd": crowd,
        "bbox": box,
        "area": box[2] * box[3],
    }


def subset(truth: Truth, images: Sequence[str]) -> Truth:
    """The labels of some of the images."""
    ids = {name: truth.ids[name] for name in images}
    wanted = set(ids.values())
    annotations = [entry for entry in truth.dataset["annotations"] if entry["image_id"] in wanted]
    dataset = {
        **truth.dataset,
        "images": [{"id": value} for value in ids.values()],
        "annotations": [{**entry, "id": number} for number, entry in enumerate(annotations, 1)],
    }
    return Truth(dataset, ids, truth.categories)


def from_objects(found: Mapping[str, Objects], classes: int) -> Truth:
    """What one network finds, as the labels that another one is held to; class k of ``classes`` has
    id k.
    """
    ids = {name: number for number, name in enumerate(found)}
    boxes = [
        (ids[name], int(label), box)
        for name, objects in found.items()
        for box, label in zip(objects.boxes.tolist(), objects.classes, strict=True)
    ]
    annotations = [
        {
            "id": number,
            "image_id": image,
            "category_id": label,
            "iscrowd": 0,
            "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
            "area": (box[2] - box[0]) * (box[3] - box[1]),
        }
        for number, (image, label, box) in enumerate(boxes, 1)
    ]
    dataset = {
        "images": [{"id": value} for value in ids.values()],
        "annotations": annotations,
        "categories": [{"id": label} for label in range(classes)],
    }
    return Truth(dataset, ids, range(classes))


@dataclass(frozen=True)
class _Class:
    """Every detection of a class, best first; T thresholds of IoU, D detections, I images."""

    image: np.ndarray  # (D,) index
    right: np.ndarray  # (T, D) bool: found an object that nothing better had found
    wrong: np.ndarray  # (T, D) bool
    objects: np.ndarray  # (I,) number of objects


@dataclass(frozen=True)
class Matches:
    """Detections matched with labels: all that mean average precision needs."""

    classes: tuple[_Class, ...]
    images: int

    def mean_average_precision(self, weights: np.ndarray | None = None) -> tuple[float, float]:
        """mAP50-95 and mAP50, each 0..1.

        Args:
            weights: float64 of shape (images,), how often each image counts; None is once.
        """
        counts = np.ones(self.images) if weights is None else weights
        found = [
            _average_precision(each, counts)
            for each in self.classes
            if (each.objects * counts).sum()
        ]
        if not found:
            return 0.0, 0.0
        return float(np.mean(found)), float(np.mean([each[0] for each in found]))


def match(truth: Truth, found: Mapping[str, Objects]) -> Matches:
    """Match detections with labels by COCO's rules, of at most 100 objects an image.

    Args:
        found: objects by file name.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    results = [
        {
            "image_id": truth.ids[name],
            "category_id": truth.categories[int(label)],
            "score": float(score),
            "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
        }
        for name, objects in found.items()
        for box, score, label in zip(
            objects.boxes.tolist(), objects.scores, objects.classes, strict=True
        )
    ]
    if not results:
        return Matches((), len(truth.ids))
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO()
        known.dataset = truth.dataset
        known.createIndex()
        evaluation = COCOeval(known, known.loadRes(results), "bbox")
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.params.maxDets = [100]
        evaluation.evaluate()
    images = len(evaluation.params.imgIds)
    rows = [
        evaluation.evalImgs[start : start + images]
        for start in range(0, len(evaluation.evalImgs), images)
    ]
    return Matches(tuple(_class(each, len(evaluation.params.iouThrs)) for each in rows), images)


def _class(rows: Sequence[Any], thresholds: int) -> _Class:
    """One class out of pycocotools' table of images."""
    filled = [(index, row) for index, row in enumerate(rows) if row is not None]
    objects = np.zeros(len(rows))
    for index, row in filled:
        objects[index] = np.count_nonzero(np.asarray(row["gtIgnore"]) == 0)
    scores = np.concatenate(
        [np.zeros(0), *(np.asarray(row["dtScores"], np.float64) for _, row in filled)]
    )
    image = np.concatenate(
        [np.zeros(0, int), *(np.full(len(row["dtScores"]), index) for index, row in filled)]
    )
    nothing = np.zeros((thresholds, 0), bool)
    matched = np.concatenate(
        [nothing, *(np.asarray(row["dtMatches"]) > 0 for _, row in filled)], axis=1
    )
    ignored = np.concatenate(
        [nothing, *(np.asarray(row["dtIgnore"]) > 0 for _, row in filled)], axis=1
    )
    order = np.argsort(-scores, kind="mergesort")  # as pycocotools orders equal scores
    matched, ignored = matched[:, order], ignored[:, order]
    return _Class(image[order], matched & ~ignored, ~matched & ~ignored, objects)


def _average_precision(found: _Class, counts: np.ndarray) -> np.ndarray:
    """Average precision at each threshold of IoU: the mean of the best precision at 101 levels of
    recall.
    """
    weight = counts[found.image]
    right, wrong = np.cumsum(found.right * weight, 1), np.cumsum(found.wrong * weight, 1)
    recall = right / (found.objects * counts).sum()
    precision = right / np.maximum(right + wrong, np.spacing(1))
    best = np.maximum.accumulate(precision[:, ::-1], 1)[:, ::-1]
    padded = np.concatenate([best, np.zeros((len(best), 1))], 1)
    at = [np.searchsorted(row, RECALLS, side="left") for row in recall]
    return np.array([row[index].mean() for row, index in zip(padded, at, strict=True)])


def _load(path: Path) -> Any:
    if not path.is_file():
        raise ForgeError(f"{path}: no such file of labels", "give COCO labels as JSON")
    if path.stat().st_size > LARGEST:
        raise ForgeError(f"{path}: larger than 2 GiB, so not labels", "")
    try:
        content = load_json(path.read_text(encoding="utf-8"))
    except (DocumentError, UnicodeDecodeError) as error:
        raise ForgeError(f"{path}: not JSON", "give COCO labels as JSON") from error
    if not isinstance(content, dict):
        raise ForgeError(
            f"{path}: not COCO labels (no object at the top)", "give COCO labels as JSON"
        )
    return content
