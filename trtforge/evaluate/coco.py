"""Read labels of detectors in COCO's form."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, cast

from trtforge.documents import load_json
from trtforge.errors import ForgeError
from trtforge.evaluate.detections import Objects

LARGEST = 2 << 30  # bytes of a label file: COCO's own have 0.5 GB
HINT = "give COCO labels as JSON"


class Annotation(TypedDict):
    """A labelled object in COCO's form; ``bbox`` is x, y, width, height in pixels."""

    id: int
    image_id: int
    category_id: int
    iscrowd: int
    bbox: list[float]
    area: float


class _Numbered(TypedDict):
    id: int


class Category(_Numbered, total=False):
    """A class in COCO's form; a label file may contain further keys."""

    name: object


class ImageEntry(TypedDict):
    """An image in COCO's form."""

    id: int


class Dataset(TypedDict):
    """Labels in COCO's form."""

    images: list[ImageEntry]
    annotations: list[Annotation]
    categories: list[Category]


@dataclass(frozen=True)
class Truth:
    """Labels of some images.

    Attributes:
        dataset: COCO's form with these images only, annotations numbered from 1.
        ids: image id of each file name.
        categories: ids in ascending order: the model's class k is the k-th.
    """

    dataset: Dataset
    ids: Mapping[str, int]
    categories: Sequence[int]

    @property
    def names(self) -> list[str]:
        """The names of the classes, in the model's order."""
        name_of = {
            category["id"]: str(category.get("name", category["id"]))
            for category in self.dataset["categories"]
        }
        return [name_of[category] for category in self.categories]


def read(path: Path, images: Sequence[str]) -> Truth:
    """Read the labels of the images with these file names.

    Raises:
        ForgeError: the file is not COCO JSON, an annotation can't be right, an image has no labels,
            or the file has no labelled image or object among them.
    """
    content = _load(path)
    try:
        ids = {Path(str(row["file_name"])).name: _integer(row["id"]) for row in content["images"]}
        categories: list[Category] = [
            {**row, "id": _integer(row["id"])} for row in content["categories"]
        ]
        rows = list(content["annotations"])
    except (KeyError, TypeError, ValueError) as error:
        raise ForgeError(
            f"{path}: not COCO labels ({error!r})",
            "it needs images, annotations with bbox, and categories",
        ) from error
    category_ids = sorted(category["id"] for category in categories)
    annotations = [
        _annotation(row, set(category_ids), f"{path}: annotations[{index}]")
        for index, row in enumerate(rows)
    ]
    _check_names(path, images, ids)
    kept = {name: ids[name] for name in images}
    annotations = _numbered(annotations, set(kept.values()))
    if not annotations:
        raise ForgeError(
            f"{path}: no object on any of the images, so there is nothing to measure",
            "give labels with objects",
        )
    if all(max(annotation["bbox"]) <= 1 for annotation in annotations):
        raise ForgeError(
            f"{path}: every box lies within 0..1",
            "give boxes in pixels: COCO's bbox is x, y, width, height",
        )
    dataset: Dataset = {
        "images": [{"id": value} for value in kept.values()],
        "annotations": annotations,
        "categories": categories,
    }
    return Truth(dataset, kept, category_ids)


def _check_names(path: Path, images: Sequence[str], labelled: Mapping[str, int]) -> None:
    """Refuse labels that lack some of the images."""
    missing = [name for name in images if name not in labelled]
    if len(missing) == len(images):
        raise ForgeError(
            f"{path}: has labels of other images (none of {images[0]} ...)",
            "give the labels of these images",
        )
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ForgeError(
            f"{path}: no labels for {missing[0]}{more}",
            "list every image under images, also an image without objects",
        )


def _numbered(annotations: Iterable[Annotation], images: Set[int]) -> list[Annotation]:
    """Return the annotations of some images, numbered from 1.

    pycocotools uses 0 for "not matched", so no annotation may have the number 0.
    """
    kept = [annotation for annotation in annotations if annotation["image_id"] in images]
    return [{**annotation, "id": number} for number, annotation in enumerate(kept, 1)]


def _integer(value: object) -> int:
    """Return an id, which some tools write as text or as 1.0.

    Raises:
        ValueError: the value is not a whole number.
    """
    if isinstance(value, str):
        return int(value)
    if isinstance(value, (int, float)) and value == value // 1:
        return int(value)
    raise ValueError(f"{value!r} is not a whole number")


def _annotation(row: Mapping[str, object], categories: Set[int], place: str) -> Annotation:
    """Return what pycocotools needs of an annotation.

    Args:
        place: which annotation it is, for messages.

    Raises:
        ForgeError: the annotation lacks something, or can't be right.
    """
    try:
        image, category = _integer(row["image_id"]), _integer(row["category_id"])
        crowd = int(_number(row.get("iscrowd") or 0))
        box = [_number(value) for value in _sequence(row["bbox"])]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ForgeError(
            f"{place}: not a COCO annotation ({error!r})",
            "it needs image_id, category_id and bbox of x, y, width, height",
        ) from error
    if len(box) != 4 or not all(map(math.isfinite, box)) or min(box[2:]) < 0:
        raise ForgeError(f"{place}: bbox {box} is not a box", "give x, y, width, height in pixels")
    if category not in categories:
        raise ForgeError(f"{place}: category {category} is not listed", "list it under categories")
    return {
        "id": 0,
        "image_id": image,
        "category_id": category,
        "iscrowd": crowd,
        "bbox": box,
        "area": box[2] * box[3],
    }


def _number(value: object) -> float:
    if isinstance(value, (str, int, float)):
        return float(value)
    raise TypeError(f"{value!r} is not a number")


def _sequence(value: object) -> Sequence[object]:
    if isinstance(value, (list, tuple, str)):
        return value
    raise TypeError(f"{value!r} is not a list")


def subset(truth: Truth, images: Sequence[str]) -> Truth:
    """Return the labels of some of the images."""
    ids = {name: truth.ids[name] for name in images}
    dataset: Dataset = {
        "images": [{"id": value} for value in ids.values()],
        "annotations": _numbered(truth.dataset["annotations"], set(ids.values())),
        "categories": truth.dataset["categories"],
    }
    return Truth(dataset, ids, truth.categories)


def from_objects(detected: Mapping[str, Objects], classes: int) -> Truth:
    """Turn what one network detects into labels, to which another network is compared.

    Args:
        detected: objects by file name.
        classes: number of classes; class k gets the id k.
    """
    ids = {name: number for number, name in enumerate(detected)}
    annotations: list[Annotation] = []
    for name, objects in detected.items():
        for (left, top, right, bottom), label in corners_and_classes(objects):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": ids[name],
                    "category_id": label,
                    "iscrowd": 0,
                    "bbox": [left, top, right - left, bottom - top],
                    "area": (right - left) * (bottom - top),
                }
            )
    dataset: Dataset = {
        "images": [{"id": value} for value in ids.values()],
        "annotations": annotations,
        "categories": [{"id": label} for label in range(classes)],
    }
    return Truth(dataset, ids, range(classes))


def corners_and_classes(objects: Objects) -> list[tuple[tuple[float, float, float, float], int]]:
    """Return the corners and the class of each object."""
    boxes: list[tuple[float, float, float, float]] = objects.boxes.tolist()
    labels = [int(label) for label in objects.classes]
    return list(zip(boxes, labels, strict=True))


class _FileJson(TypedDict):
    """The parts of a label file; ``read`` checks each of them."""

    images: list[dict[str, object]]
    annotations: list[dict[str, object]]
    categories: list[Category]


def _load(path: Path) -> _FileJson:
    if not path.is_file():
        raise ForgeError(f"{path}: no such file of labels", HINT)
    if path.stat().st_size > LARGEST:
        raise ForgeError(f"{path}: larger than 2 GiB, so not a label file", HINT)
    try:
        labels = cast("_FileJson", load_json(path.read_text(encoding="utf-8"), repeats=True))
    except ValueError as error:
        raise ForgeError(f"{path}: not JSON", HINT) from error
    if not isinstance(labels, dict):
        raise ForgeError(f"{path}: not COCO labels (no object at the top)", HINT)
    return labels
