"""Classification and segmentation: labels, and what share is right."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from trtforge.errors import ForgeError

IGNORED = 255  # a mask's pixels that count for nothing, as in PASCAL VOC and Cityscapes


def from_folders(folder: Path, images: Sequence[Path], classes: int) -> list[int]:
    """The class of each image by the subfolder that it lies in: the k-th in order of names is class
    k.

    Raises:
        ForgeError: an image lies in no subfolder, or their number is not the model's number of
            classes.
    """
    names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    if len(names) != classes:
        raise ForgeError(
            f"{folder}: {len(names)} class folders, but the model has {classes} classes",
            "give one folder a class, or a CSV of name,class with --labels",
        )
    found = [image.relative_to(folder).parts[0] for image in images]
    stray = next(
        (image for image, name in zip(images, found, strict=True) if name not in names), None
    )
    if stray:
        raise ForgeError(f"{stray}: in no class folder", "put it into its class's folder")
    return [names.index(name) for name in found]


def from_csv(path: Path, images: Sequence[Path], classes: int) -> list[int]:
    """The class of each image by rows of ``name,class``, class a number from 0; a header is
    allowed.

    Raises:
        ForgeError: it is no CSV, a row is wrong, an image has none or two, or a class is not the
            model's.
    """
    if path.suffix.lower() == ".json":
        raise ForgeError(
            f"{path}: labels as JSON are for detectors, and the model is a classifier",
            "give a CSV with rows of name,class, class a number from 0",
        )
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = [row for row in csv.reader(stream) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ForgeError(
            f"{path}: can't be read as CSV ({error})", "give rows of name,class"
        ) from error
    if rows and len(rows[0]) > 1 and not rows[0][1].strip().isdecimal():
        rows = rows[1:]
    known: dict[str, int] = {}
    for number, row in enumerate(rows, 1):
        if len(row) < 2 or not row[1].strip().isdecimal() or int(row[1]) >= classes:
            raise ForgeError(
                f"{path}: row {number} is not name,class with a class below {classes}", ""
            )
        name = Path(row[0].strip()).name
        if name in known:
            raise ForgeError(
                f"{path}: row {number} names {name} a second time", "give one row for every image"
            )
        known[name] = int(row[1])
    missing = next((image for image in images if image.name not in known), None)
    if missing:
        raise ForgeError(f"{path}: no class for {missing.name}", "give a row for every image")
    return [known[image.name] for image in images]


def rank(scores: np.ndarray, truth: int) -> int:
    """How many classes score higher than the true one, for one image's scores of any shape; NaN
    counts as higher.
    """
    flat = scores.reshape(-1)
    return int((~(flat <= flat[truth])).sum())


class Confusion:
    """Pixels by true and predicted class."""

    def __init__(self, classes: int) -> None:
        self.pixels = np.zeros((classes, classes), np.int64)

    def observe(self, truth: np.ndarray, predicted: np.ndarray) -> None:
        """Two integer arrays of shape (H, W); truth may hold 255 for pixels that don't count."""
        classes = len(self.pixels)
        counted = truth != IGNORED
        pairs = truth[counted].astype(np.int64) * classes + predicted[counted].astype(np.int64)
        self.pixels += np.bincount(pairs, minlength=classes**2).reshape(classes, classes)

    @property
    def mean_iou(self) -> float:
        """Mean over the classes that occur of intersection over union, 0..1."""
        shared = np.diag(self.pixels).astype(np.float64)
        union = self.pixels.sum(0) + self.pixels.sum(1) - shared
        return float((shared[union > 0] / union[union > 0]).mean()) if (union > 0).any() else 0.0


def mask(folder: Path, image: Path, classes: int) -> np.ndarray:
    """The mask of an image, a PNG of the same stem whose pixels are classes: uint8 of shape (H, W).

    Raises:
        ForgeError: there is none, or it holds a class that the model has not.
    """
    path = folder / f"{image.stem}.png"
    if not path.is_file():
        raise ForgeError(
            f"{folder}: no mask {path.name} for {image.name}",
            "give a PNG of class numbers for each image",
        )
    with Image.open(path) as picture:
        values = np.asarray(picture if picture.mode in ("P", "L") else picture.convert("L"))
    wrong = values[(values >= classes) & (values != IGNORED)]
    if wrong.size:
        raise ForgeError(
            f"{path}: class {int(wrong[0])}, but the model has {classes}",
            "255 marks pixels to ignore",
        )
    return values
