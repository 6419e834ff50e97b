"""Boxes on images: the objects that an engine detects, drawn and listed."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from trtforge import outfile, present
from trtforge.calibration import images as pictures
from trtforge.deepstream.format.labels import labels as labels_of
from trtforge.errors import ForgeError
from trtforge.evaluate import draw
from trtforge.evaluate.detections import Objects, finder, to_image
from trtforge.evaluate.models import OpenedModel, open_model
from trtforge.recipe import Preprocess, Recipe
from trtforge.store.drafts import draft_in

SHEET = "sheet.jpg"
QUALITY = 90  # of the JPEG files
ObjectFinder = Callable[[Image.Image], Objects]


@dataclass(frozen=True)
class DetectedObject:
    """An object on an image.

    Attributes:
        label: number of its class.
        name: name of its class.
        score: 0..1.
        box: left, top, right and bottom, in pixels of the image.
    """

    label: int
    name: str
    score: float
    box: tuple[float, float, float, float]

    def document(self) -> dict[str, object]:
        """Return the object as JSON."""
        return {
            "class": self.label,
            "name": self.name,
            "score": self.score,
            "box": list(self.box),
        }


@dataclass(frozen=True)
class Picture:
    """An image with its objects drawn.

    Attributes:
        image: path of the image.
        name: name of the picture in the output folder.
    """

    image: Path
    name: str
    objects: tuple[DetectedObject, ...]

    def document(self) -> dict[str, object]:
        """Return the picture as JSON."""
        objects = [detected.document() for detected in self.objects]
        return {"image": str(self.image), "picture": self.name, "objects": objects}


@dataclass(frozen=True)
class Detections:
    """Detections on several images.

    Attributes:
        sheet: name of the sheet of all pictures; None for a single image.
        remarks: what the user should know.
    """

    pictures: tuple[Picture, ...]
    sheet: str | None
    remarks: tuple[str, ...] = ()

    def document(self) -> dict[str, object]:
        """Return the JSON document."""
        images = [picture.document() for picture in self.pictures]
        return {"images": images, "sheet": self.sheet, "remarks": list(self.remarks)}


def detect(
    path: Path,
    images: Sequence[Path],
    out: Path,
    recipe: Recipe | None,
    labels: Path | None,
    thresholds: Mapping[str, object],
) -> Detections:
    """Write each image with its objects drawn into ``out``, and a sheet of all if there are several.

    Args:
        path: ONNX file, TensorRT engine, prepared folder or bundle.
        images: files, or folders of them.
        out: folder; files of the same names in it are replaced.
        recipe: preprocessing, thresholds and labels; None is the folder's own, or the default.
        labels: file of class names.
        thresholds: fields of ``Nms`` that take the place of the recipe's.

    Raises:
        ForgeError: the model is no detector, an image can't be read, or ``out`` can't be written.
    """
    named = targets(images, out)
    engine = open_model(path, recipe)
    spec = engine.complete(recipe)
    nms = spec.nms.model_copy(update=dict(thresholds))
    find = finder(engine, nms)
    classes = engine.detection.classes if engine.detection else None
    names, _ = labels_of(labels or spec.labels, classes, engine.names)

    def find_objects(image: Image.Image) -> Objects:
        boxes, scores, found = find(engine.infer(_batch(engine, image, spec.preprocess)))
        placed = to_image(boxes, image.height, image.width, engine.size, spec.preprocess)
        return Objects(placed, scores, found).above(nms.score)

    remarks = tuple(engine.remarks(recipe))
    return draw_all(named, out, names, find_objects, lambda: remarks)


def targets(images: Sequence[Path], out: Path) -> dict[str, Path]:
    """Return the image of each picture in ``out``, by the picture's name.

    Args:
        images: files, or folders of them.

    Raises:
        ForgeError: ``out`` is a file, or a picture or the sheet would take the place of an image.
    """
    if out.exists() and not out.is_dir():
        raise ForgeError(f"{out}: is a file", "give a folder with -o")
    files: list[Path] = []
    for path in images:
        files += pictures.list_images(path) if path.is_dir() else [path]
    named: dict[str, Path] = {}
    for file in files:
        named[_unique(f"{file.stem}.jpg", named)] = file
    made = [*named, SHEET] if len(named) > 1 else [*named]
    outfile.spare(files, [out / name for name in made])
    return named


def draw_all(
    named: Mapping[str, Path],
    out: Path,
    names: Sequence[str],
    find: ObjectFinder,
    remarks: Callable[[], tuple[str, ...]],
) -> Detections:
    """Draw the objects of every image, whatever finds them.

    Args:
        named: the image of each picture, see ``targets``.
        names: names of the classes.
        find: returns the objects on an image.
        remarks: returns what the user should know, once all images are done.
    """
    drawn: list[Picture] = []
    tiles: list[Image.Image] = []
    with (
        draft_in(out.absolute().parent) as draft,
        present.progress(f"{len(named)} images", len(named)) as done,
    ):
        for number, (name, file) in enumerate(named.items(), 1):
            image = _read(file)
            objects = find(image)
            picture = draw.annotate(image, objects, names)
            picture.save(draft / name, quality=QUALITY)
            drawn.append(Picture(file, name, _list_objects(objects, names)))
            if len(tiles) < draw.MAX_ON_SHEET:
                picture.thumbnail((draw.TILE, draw.TILE))
                tiles.append(picture)
            done(number)
        if len(tiles) > 1:
            draw.sheet(tiles).save(draft / SHEET, quality=QUALITY)
        out.mkdir(parents=True, exist_ok=True)
        for made in draft.iterdir():
            made.replace(out / made.name)
    return Detections(tuple(drawn), SHEET if len(tiles) > 1 else None, remarks())


def _batch(engine: OpenedModel, image: Image.Image, preprocess: Preprocess) -> np.ndarray:
    """Return an image as the engine takes it, float32 ``(1, 3, H, W)``."""
    pixels = pictures.letterbox(image, preprocess, engine.size)
    return pictures.normalise(pixels, engine.preprocess(preprocess))[None]


def _list_objects(objects: Objects, names: Sequence[str]) -> tuple[DetectedObject, ...]:
    found = []
    for box, score, label in zip(objects.boxes, objects.scores, objects.classes, strict=True):
        number = int(label)
        name = names[number] if number < len(names) else str(number)
        left, top, right, bottom = (round(float(side), 1) for side in box)
        box_in_image = (left, top, right, bottom)
        found.append(DetectedObject(number, name, round(float(score), 4), box_in_image))
    return tuple(found)


def _unique(name: str, taken: Container[str]) -> str:
    """Return a name for a picture: images of one name in two folders both get one.

    The sheet keeps its own name.
    """
    stem, number = Path(name).stem, 1
    while name in taken or name == SHEET:
        number += 1
        name = f"{stem}-{number}.jpg"
    return name


def _read(file: Path) -> Image.Image:
    if not file.is_file():
        raise ForgeError(f"{file}: no such image", "give image files, or folders of them")
    try:
        return pictures.read(file)
    except pictures.CorruptImage as error:
        raise ForgeError(str(error), "give a whole image") from error
