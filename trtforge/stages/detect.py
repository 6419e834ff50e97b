"""Boxes on images: what an engine finds, drawn and listed."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

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
QUALITY = 90


# `class` is a word of Python, so the fields stand in a call.
ObjectJson = TypedDict(
    "ObjectJson", {"class": int, "name": str, "score": float, "box": list[float]}
)


class ImageJson(TypedDict):
    """An image, the name of its picture, and the objects on it."""

    image: str
    picture: str
    objects: list[ObjectJson]


class DetectionsJson(TypedDict):
    """The document that ``trtforge detect --json`` prints."""

    images: list[ImageJson]
    sheet: str | None
    remarks: list[str]


class DrawnJson(TypedDict):
    """The part of the document that ``draw_all`` makes."""

    images: list[ImageJson]
    sheet: str | None


def detect(
    path: Path,
    images: Sequence[Path],
    out: Path,
    recipe: Recipe | None,
    labels: Path | None,
    thresholds: Mapping[str, float | None],
) -> DetectionsJson:
    """Write each image with its objects drawn into ``out``, and a sheet of all where there are
    several.

    Args:
        path: ONNX file, TensorRT engine, prepared folder or bundle.
        images: files, or folders of them.
        out: folder; files of the same names in it are replaced.
        recipe: preprocessing, thresholds and labels; None is the folder's own, or the default.
        labels: file of class names.
        thresholds: fields of ``Nms`` that stand above the recipe's.

    Returns:
        ``images``: for each its file, picture, and ``objects`` with class, name, score and box
            (left, top, right,
        bottom in pixels of the image); ``sheet``; ``remarks``.

    Raises:
        ForgeError: no detector, an image can't be read, or ``out`` can't be written.
    """
    pictures_of = targets(images, out)
    engine = open_model(path, recipe)
    spec = recipe or engine.recipe or Recipe()
    nms = spec.nms.model_copy(update=dict(thresholds))
    find = finder(engine, nms)
    names, _ = labels_of(
        labels or spec.labels, engine.detection.classes if engine.detection else None
    )
    drawn = draw_all(
        pictures_of,
        out,
        names,
        lambda image: _objects(engine, image, spec.preprocess, find).above(nms.score),
    )
    return {**drawn, "remarks": [engine.note] if engine.note else []}


def targets(images: Sequence[Path], out: Path) -> dict[str, Path]:
    """Which image each picture in ``out`` is of, by the picture's name.

    Args:
        images: files, or folders of them.

    Raises:
        ForgeError: ``out`` is a file, or a picture or the sheet would take the place of an image.
    """
    if out.exists() and not out.is_dir():
        raise ForgeError(f"{out}: is a file", "give a folder with -o")
    files = [
        file
        for each in images
        for file in ([each] if not each.is_dir() else pictures.list_images(each))
    ]
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
    find: Callable[[Image.Image], Objects],
) -> DrawnJson:
    """The part of ``detect`` that knows no engine: ``images`` and ``sheet`` as it returns them.

    Args:
        named: of ``targets``.
        find: the objects on an image.
    """
    rows: list[ImageJson] = []
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
            rows.append({"image": str(file), "picture": name, "objects": _listed(objects, names)})
            if len(tiles) < draw.MOST_ON_SHEET:
                picture.thumbnail((draw.TILE, draw.TILE))
                tiles.append(picture)
            done(number)
        if len(tiles) > 1:
            draw.sheet(tiles).save(draft / SHEET, quality=QUALITY)
        out.mkdir(parents=True, exist_ok=True)
        for made in draft.iterdir():
            made.replace(out / made.name)
    return {"images": rows, "sheet": SHEET if len(tiles) > 1 else None}


def _objects(engine: OpenedModel, image: Image.Image, spec: Preprocess, find: Any) -> Objects:
    batch = pictures.normalise(
        pictures.letterbox(image, spec, engine.size), engine.preprocess(spec)
    )[None]
    boxes, scores, labels = find(engine.infer(batch))
    return Objects(to_image(boxes, image.height, image.width, engine.size, spec), scores, labels)


def _listed(objects: Objects, names: Sequence[str]) -> list[ObjectJson]:
    return [
        {
            "class": int(label),
            "name": names[label] if label < len(names) else str(label),
            "score": round(float(score), 4),
            "box": [round(value, 1) for value in box],
        }
        for box, score, label in zip(
            objects.boxes.tolist(), objects.scores, objects.classes, strict=True
        )
    ]


def _unique(name: str, taken: Container[str]) -> str:
    """Images of one name in two folders both get a picture; the sheet keeps its own."""
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
