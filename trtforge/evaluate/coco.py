"""COCO labels, and mean average precision by pycocotools."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trtforge.errors import ForgeError
from trtforge.evaluate.detections import Objects

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
        named = {entry["id"]: str(entry.get("name", entry["id"])) for entry in self.dataset["categories"]}
        return [named[category] for category in self.categories]


def read(path: Path, images: Sequence[str]) -> Truth:
    """Labels for the images of these names.

    Raises:
        ForgeError: the file is no COCO JSON, an image has no labels, or no labelled image is among them.
    """
    content = _load(path)
    try:
        ids = {Path(str(entry["file_name"])).name: int(entry["id"]) for entry in content["images"]}
        categories = sorted(int(entry["id"]) for entry in content["categories"])
        annotations = [{**entry, "iscrowd": int(entry.get("iscrowd", 0)), "bbox": [float(v) for v in entry["bbox"]],
                        "area": float(entry.get("area") or entry["bbox"][2] * entry["bbox"][3])}
                       for entry in content["annotations"]]  # fmt: skip
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ForgeError(f"{path}: not COCO labels ({error!r})",
                         "it needs images, annotations with bbox, and categories") from error  # fmt: skip
    missing = [name for name in images if name not in ids]
    if len(missing) == len(images):
        raise ForgeError(f"{path}: labels of other images (it has none of {images[0]} ...)", "give their own labels")
    if missing:
        raise ForgeError(f"{path}: no labels for {missing[0]}" + (f" and {len(missing) - 1} more" * (len(missing) > 1)),
                         "an image without objects is listed under images, too")  # fmt: skip
    kept = {name: ids[name] for name in images}
    wanted = set(kept.values())
    annotations = [entry for entry in annotations if int(entry["image_id"]) in wanted]
    stray = next((entry for entry in annotations if int(entry["category_id"]) not in categories), None)
    if stray:
        raise ForgeError(f"{path}: an annotation has category {stray['category_id']}, which is not listed", "")
    # pycocotools takes annotation 0 for "not matched".
    annotations = [{**entry, "id": number} for number, entry in enumerate(annotations, 1)]
    dataset = {"images": [{"id": value} for value in kept.values()], "annotations": annotations,
               "categories": content["categories"]}  # fmt: skip
    return Truth(dataset, kept, categories)


def mean_average_precision(truth: Truth, found: Mapping[str, Objects]) -> tuple[float, float]:
    """mAP50-95 and mAP50, each 0..1, of at most 100 objects an image (COCO's rule).

    Args:
        found: objects by file name.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    results = [
        {"image_id": truth.ids[name], "category_id": truth.categories[int(label)], "score": float(score),
         "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]]}
        for name, objects in found.items()
        for box, score, label in zip(objects.boxes.tolist(), objects.scores, objects.classes, strict=True)
    ]  # fmt: skip
    if not results:
        return 0.0, 0.0
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO()
        known.dataset = truth.dataset
        known.createIndex()
        evaluation = COCOeval(known, known.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, :, 0, -1]  # IoU thresholds, recalls, classes; -1: no such objects
    counted = np.where(precision < 0, np.nan, precision)
    if np.isnan(counted).all():
        return 0.0, 0.0
    return float(np.nanmean(counted)), float(np.nanmean(counted[0]))


def _load(path: Path) -> Any:
    if not path.is_file():
        raise ForgeError(f"{path}: no such file of labels", "give COCO labels as JSON")
    if path.stat().st_size > LARGEST:
        raise ForgeError(f"{path}: larger than 2 GiB, so not labels", "")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise ForgeError(f"{path}: not JSON", "give COCO labels as JSON") from error
    if not isinstance(content, dict):
        raise ForgeError(f"{path}: not COCO labels (no object at the top)", "give COCO labels as JSON")
    return content
