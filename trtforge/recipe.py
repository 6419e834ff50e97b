"""Read recipes, which hold facts about a model that its graph does not contain.

A recipe is a YAML file. It is checked as a whole, and every error is reported with its line.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from trtforge import documents
from trtforge.errors import ForgeError
from trtforge.patches import Patch
from trtforge.patches import Section as _Section

Side = Annotated[int, Field(gt=0)]
Positive = Annotated[float, Field(gt=0)]
Size = Annotated[tuple[Side, Side], Field(description="height, width in pixels")]
Method = Literal["entropy", "percentile", "mse", "minmax"]
HeadForm = Literal[
    "objectness",
    "anchor-free",
    "boxes-scores",
    "yolo-anchors",
    "yolox-raw",
    "distances",
    "priors",
    "queries",
    "ranked",
]


class Preprocess(_Section):
    """Steps that make the network's input from a frame, in the terms of DeepStream's nvinfer.

    The input is ``scale * (pixel - offset) / std`` with pixels in 0..255, one scale for all
    channels and one offset a channel. nvinfer knows no ``std``, so ``build`` folds it into the
    first convolution; the built model expects ``scale * (pixel - offset)``.

    Attributes:
        size: height and width in pixels, for models with a dynamic input.
        scale: factor, greater than 0.
        offsets: subtracted before scaling, 0..255, in the network's channel order.
        std: standard deviation of each channel for values in 0..1, in the network's order.
        color: the network's channel order.
        letterbox: position of a frame with another aspect ratio; ``none`` stretches the frame.
        padding: value of the bars, 0..255; nvinfer always uses 0 (black).
    """

    size: Size | None = None
    scale: float = Field(default=1 / 255, gt=0)
    offsets: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[Positive, Positive, Positive] | None = None
    color: Literal["rgb", "bgr"] = "rgb"
    letterbox: Literal["symmetric", "top-left", "none"] = "symmetric"
    padding: int = Field(default=0, ge=0, le=255)

    @model_validator(mode="before")
    @classmethod
    def _one_scale(cls, value: object) -> object:
        if isinstance(value, dict) and isinstance(value.get("scale"), (list, tuple)):
            raise ValueError(
                "nvinfer has one scale for all channels: give the deviation of each as std"
            )
        return value


class Calibration(_Section):
    """Options for choosing the dynamic ranges of the tensors.

    Attributes:
        images: folder of calibration images, relative to the recipe.
        method: see ``trtforge.calibration.threshold``.
        percentile: smallest percentage of values that stay inside a range, also with ``entropy``.
        methods: other methods, keyed by shell patterns of tensor names.
        refine: whether to refine INT8 weights and ranges by their errors on the images.
    """

    images: Path | None = None
    method: Method = "entropy"
    methods: dict[str, Method] = Field(default_factory=dict)
    refine: bool = True
    percentile: float = Field(default=99.999, gt=0, le=100)


class Precision(_Section):
    """Nodes that stay in a higher precision.

    Attributes:
        keep: shell patterns of nodes that stay float in INT8 models and FP32 in FP16 models.
        only: shell patterns of the only nodes that may be quantized; empty means no limit.
        heads: precision of the last convolution of each branch in INT8 models; float costs little
            time and often keeps accuracy.
        rest: precision of all that is not INT8.
    """

    keep: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    heads: Literal["int8", "float"] = "int8"
    rest: Literal["fp16", "fp32"] = "fp16"


class Decode(_Section):
    """Rules that decode outputs into boxes and scores, if the graph does not show them.

    See ``trtforge.graph.detection``.

    Attributes:
        anchors: width and height in pixels of a cell's anchors, by level, finest level first.
        strides: pixels between the cells of each level; by default computed from the outputs' sizes.
        anchors_first: True if the boxes of a level are ordered by anchor first, then by cell.
        xy_scale: YOLO anchors: how far a centre may leave its cell, for all levels or for each
            level. YOLOv5 and YOLOv7 use 2, YOLOv3 uses 1, and YOLOv4 one value a level.
        extent: YOLO anchors: ``square`` is ``(2 sigmoid(t))^2``, ``exp`` is ``exp(t)``, both times
            the anchor.
        prior_offset: priors: position of the centre in its cell, 0 to 1.
        variances: priors: factors of a delta's position and size.
        bins: distances: length of each side's distribution (reg_max); 1 is a plain distance in
            cells.
        activation: activation that the scores in the outputs lack; ``auto`` reads it from the graph.
        background: which class stands for no object.
        coding, unit, order: form of decoded boxes; ``auto`` reads it from the graph.
        extra: number of each box's channels after the classes, by name: coefficients, keypoints or
            angle; with priors, landmarks.
    """

    anchors: tuple[tuple[tuple[Positive, Positive], ...], ...] = ()
    strides: tuple[Side, ...] = ()
    anchors_first: bool = False
    xy_scale: Positive | tuple[Positive, ...] = 2.0
    extent: Literal["square", "exp"] = "square"
    prior_offset: float = Field(default=0.5, ge=0, le=1)
    variances: tuple[Positive, Positive] = (1.0, 1.0)
    bins: int = Field(default=16, ge=1, le=64)
    activation: Literal["auto", "none", "sigmoid", "softmax"] = "auto"
    background: Literal["none", "first", "last"] = "none"
    coding: Literal["auto", "centre", "corners"] = "auto"
    unit: Literal["auto", "pixels", "fraction"] = "auto"
    order: Literal["auto", "xy", "yx"] = "auto"
    extra: dict[Literal["coefficients", "keypoints", "angle", "landmarks"], Side] = Field(
        default_factory=dict
    )


class Nms(_Section):
    """Thresholds of the non-maximum suppression in the graph.

    Attributes:
        score: smallest score, 0..1.
        iou: largest intersection over union of two boxes that are both kept, 0..1.
        max_det: largest number of detections per image.
        class_agnostic: whether boxes of different classes suppress each other.
        best_class: whether a box counts under its best class only; null leaves it to the model.
    """

    score: float = Field(default=0.25, ge=0, lt=1)
    iou: float = Field(default=0.45, gt=0, le=1)
    max_det: int = Field(default=100, ge=1, le=3840)
    class_agnostic: bool = False
    best_class: bool | None = None

    def with_defaults(self, limits: Mapping[str, float | int | bool | None]) -> Nms:
        """Return the thresholds, with those of a model's own NMS where the recipe names none."""
        named = self.model_fields_set
        open_ones = {
            key: value for key, value in limits.items() if key not in named and value is not None
        }
        return Nms.model_validate(self.model_dump(exclude_unset=True) | open_ones)


class Recipe(_Section):
    """The facts about one model, or about a family of models.

    Attributes:
        model: ONNX file, relative to the recipe; required by ``trtforge build RECIPE.yaml``.
        labels: file with one class a line, relative to the recipe, or the names of the classes.
        head: form of the outputs; ``auto`` recognises it, ``none`` means no detector.
        decode: values that the form needs and the graph does not contain.
        patches: edits of the graph before all other steps, in order.
    """

    name: str = "default"
    description: str = ""
    model: Path | None = None
    head: Literal["auto", "none"] | HeadForm = "auto"
    decode: Decode = Decode()
    labels: Path | tuple[str, ...] | None = None
    preprocess: Preprocess = Preprocess()
    calibration: Calibration = Calibration()
    precision: Precision = Precision()
    nms: Nms = Nms()
    patches: tuple[Patch, ...] = ()

    @property
    def head_hint(self) -> str | None:
        """The form of the head, if the recipe names one."""
        return None if self.head in ("auto", "none") else self.head


def folder() -> Path:
    """Return the folder of the built-in recipes: in the package, or beside it in a checkout."""
    package = Path(__file__).parent
    return package / "recipes" if (package / "recipes").is_dir() else package.parent / "recipes"


def names() -> list[str]:
    """Return the names of the built-in recipes."""
    return sorted(path.stem for path in folder().glob("*.yaml"))


def find(name: str) -> Path:
    """Return the file of a recipe, by name or path.

    Raises:
        ForgeError: there is no such recipe.
    """
    if name in names():
        return folder() / f"{name}.yaml"
    if Path(name).is_file():
        return Path(name)
    near = difflib.get_close_matches(name, names(), n=1)
    raise ForgeError(
        f"{name}: no recipe has this name, and there is no such file",
        f"did you mean {near[0]}?" if near else f"known recipes: {', '.join(names())}",
    )


def load(path: Path) -> Recipe:
    """Read and check a recipe; its relative paths start at its folder.

    Raises:
        ForgeError: the file is not YAML, or breaks the schema; the message lists every error with
            its line.
    """
    recipe = documents.read_yaml(
        path, Recipe, "recipe", "see `trtforge recipes show yolov7`, or the README for all keys"
    )
    return _resolved(recipe, path.parent)


def _resolved(recipe: Recipe, base: Path) -> Recipe:
    """Return the recipe with its relative paths resolved against the folder ``base``."""
    images, labels = recipe.calibration.images, recipe.labels
    changes: dict[str, object] = {
        "model": base / recipe.model if recipe.model else None,
        "labels": base / labels if isinstance(labels, Path) else labels,
        "calibration": recipe.calibration.model_copy(
            update={"images": base / images if images else None}
        ),
    }
    return recipe.model_copy(update=changes)
