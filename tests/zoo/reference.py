"""The library's own word on a file: what its post-processing makes of one image, its names and sizes.

The exporters write it beside the file (``NAME.json``, and ``NAME.npz`` for large arrays); the checks read it. They run
in two environments, so this module needs numpy alone.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FORMAT = 1


@dataclass(frozen=True)
class Preprocess:
    """(pixel - offsets) * scale / std for each channel, 0 to 255; None where the library has none."""

    scale: float = 1 / 255
    offsets: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    color: str = "rgb"
    stretch: bool = False  # whether pictures are stretched to the size, or letterboxed


@dataclass(frozen=True)
class Options:
    """Options that the user gives to trtforge beside the file.

    Attributes:
        recipe: name of a recipe that comes with trtforge.
        labels: whether the class names go in as a file, since the ONNX file can't hold them.
        size: HxW of an input whose sides are dynamic and stand nowhere in the file.
    """

    recipe: str | None = None
    labels: bool = False
    size: str | None = None


@dataclass(frozen=True)
class Reference:
    """What the library says.

    Attributes:
        library: name and version.
        task: detect, segment, pose, obb, classify, semantic, or other.
        size: (height, width) of the input.
        call: the exporting call, for people.
        labels: class names, where the library has them.
        preprocess: None where the caller of the library decides.
        score, iou, max_det: thresholds of the post-processing.
        best_class: whether a box counts under its best class alone; None where no NMS follows.
        boxes, scores, classes: objects in pixels of the image (``xyxy``; of oriented boxes ``xywhr``).
        top: for classifiers, (class, probability) of the five best.
        tolerance: pixels that boxes may differ by; half floats need more.
        refused: words with which it is right to refuse the file, or empty.
        image: file name of the image.
    """

    library: str
    task: str
    size: tuple[int, int]
    call: str
    image: str
    labels: list[str] | None = None
    preprocess: Preprocess | None = None
    options: Options = Options()
    score: float = 0.25
    iou: float = 0.7
    max_det: int = 300
    best_class: bool | None = None
    boxes: list[list[float]] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    classes: list[int] = field(default_factory=list)
    top: list[tuple[int, float]] = field(default_factory=list)
    tolerance: float = 1.0
    refused: str = ""
    format: int = FORMAT


Arrays = dict[str, NDArray[np.generic]]


def save(model: Path, reference: Reference, arrays: Arrays) -> None:
    """Write the reference beside the model; arrays are ``masks``, ``points`` or ``map``."""
    if arrays:
        np.savez_compressed(model.with_suffix(".npz"), **arrays)  # type: ignore[arg-type]
    model.with_suffix(".json").write_text(json.dumps(asdict(reference)))


def load(model: Path) -> tuple[Reference, Arrays]:
    """Return what ``save`` wrote."""
    words = json.loads(model.with_suffix(".json").read_text())
    spec = words.pop("preprocess")
    reference = Reference(
        **(words | {"size": tuple(words["size"]), "options": Options(**words["options"])}),
        preprocess=Preprocess(**spec) if spec else None,
    )
    file = model.with_suffix(".npz")
    if not file.exists():
        return reference, {}
    with np.load(file) as arrays:
        return reference, {name: arrays[name] for name in arrays.files}
