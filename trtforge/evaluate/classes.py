"""Read labels for classification and segmentation, and count what an engine gets right."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from trtforge.errors import ForgeError
from trtforge.evaluate.models import Array

# The value of a mask's pixels that do not count, as in PASCAL VOC and Cityscapes.
IGNORED = 255


def from_folders(folder: Path, images: Sequence[Path], classes: int) -> list[int]:
    """Return the class of each image by its subfolder; the k-th subfolder by name is class k.

    Raises:
        ForgeError: an image is in no subfolder, or there are not as many subfolders as classes.
    """
    names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    if len(names) != classes:
        raise ForgeError(
            f"{folder}: {len(names)} class folders, but the model has {classes} classes",
            "give one folder for each class, or a CSV of name,class with --labels",
        )
    class_of = {name: number for number, name in enumerate(names)}
    classes_of_images: list[int] = []
    for image in images:
        name = image.relative_to(folder).parts[0]
        if name not in class_of:
            raise ForgeError(f"{image}: is in no class folder", "put it into its class's folder")
        classes_of_images.append(class_of[name])
    return classes_of_images


def from_csv(path: Path, images: Sequence[Path], classes: int) -> list[int]:
    """Return the class of each image from a CSV file with rows of ``name,class``.

    Classes are numbers from 0; a header row is allowed.

    Raises:
        ForgeError: the file is not such a CSV, an image has no row or two rows, or a class is not
            one of the model's.
    """
    if path.suffix.lower() == ".json":
        raise ForgeError(
            f"{path}: labels as JSON are for detectors, and the model is a classifier",
            "give a CSV with rows of name,class, where class is a number from 0",
        )
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = [row for row in csv.reader(stream) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ForgeError(
            f"{path}: can't be read as CSV ({error})", "give rows of name,class"
        ) from error
    # A first row without a number in the class column is the header.
    if rows and len(rows[0]) > 1 and not rows[0][1].strip().isdecimal():
        rows = rows[1:]
    class_of: dict[str, int] = {}
    for number, row in enumerate(rows, 1):
        if len(row) < 2 or not row[1].strip().isdecimal() or int(row[1]) >= classes:
            raise ForgeError(
                f"{path}: row {number} is not name,class with a class below {classes}",
                "correct the row",
            )
        name = Path(row[0].strip()).name
        if name in class_of:
            raise ForgeError(
                f"{path}: row {number} has {name} a second time", "give one row for each image"
            )
        class_of[name] = int(row[1])
    missing = next((image for image in images if image.name not in class_of), None)
    if missing:
        raise ForgeError(f"{path}: no class for {missing.name}", "give a row for each image")
    return [class_of[image.name] for image in images]


def rank(scores: Array, truth: int) -> int:
    """Return how many classes have a higher score than the true class; NaN counts as higher.

    Args:
        scores: one score for each class, in any shape.
    """
    flat: Array = scores.reshape(-1)
    return int((~(flat <= flat[truth])).sum())


class Confusion:
    """Numbers of pixels by true class and predicted class."""

    def __init__(self, classes: int) -> None:
        self.pixels = np.zeros((classes, classes), np.int64)

    def observe(self, truth: Array, predicted: Array) -> None:
        """Count the pixels of one image.

        Args:
            truth: integers of shape (H, W); pixels of 255 do not count.
            predicted: integers of shape (H, W).
        """
        classes = len(self.pixels)
        counted = truth != IGNORED
        pairs = truth[counted].astype(np.int64) * classes + predicted[counted].astype(np.int64)
        self.pixels += np.bincount(pairs, minlength=classes**2).reshape(classes, classes)

    @property
    def mean_iou(self) -> float:
        """Intersection over union, averaged over the classes that occur, 0..1."""
        shared = np.diag(self.pixels).astype(np.float64)
        union = self.pixels.sum(0) + self.pixels.sum(1) - shared
        occurs = union > 0
        return float((shared[occurs] / union[occurs]).mean()) if occurs.any() else 0.0


def mask(folder: Path, image: Path, classes: int) -> Array:
    """Read the mask of an image: a PNG with the image's name, whose pixels are class numbers.

    Returns:
        uint8 of shape (H, W).

    Raises:
        ForgeError: there is no mask, or it contains a class that the model does not have.
    """
    path = folder / f"{image.stem}.png"
    if not path.is_file():
        raise ForgeError(
            f"{folder}: no mask {path.name} for {image.name}",
            "give a PNG of class numbers for each image",
        )
    with Image.open(path) as picture:
        values = np.asarray(picture if picture.mode in ("P", "L") else picture.convert("L"))
    invalid = values[(values >= classes) & (values != IGNORED)]
    if invalid.size:
        raise ForgeError(
            f"{path}: contains class {int(invalid[0])}, but the model has {classes} classes",
            "correct the mask; 255 marks pixels to ignore",
        )
    return values
