"""A recipe: what is known about a model beyond its graph. YAML, checked whole: every error at once,
with its line.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal

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
    """How a frame becomes the network's input, in the terms of DeepStream's nvinfer.

    ``scale * (pixel - offset) / std`` with pixels in 0..255: one factor for all channels, one
    offset a channel. A deviation for each channel is beyond nvinfer: ``build`` folds it into the
    first convolution, so that what it makes takes ``scale * (pixel - offset)``.

    Attributes:
        size: height and width in pixels, for models whose own are dynamic.
        scale: factor, over 0.
        offsets: subtracted before scaling, 0..255, in the network's channel order.
        std: deviation of each channel, in the network's order, of values in 0..1.
        color: the network's channel order.
        letterbox: where a frame of another aspect ratio lies; ``none`` stretches it.
        padding: value of the bars, 0..255; nvinfer's is 0 (black).
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
    def _one_scale(cls, given: Any) -> Any:
        if isinstance(given, dict) and isinstance(given.get("scale"), (list, tuple)):
            raise ValueError(
                "nvinfer has one scale for all channels: give the deviation of each as std"
            )
        return given


class Calibration(_Section):
    """How ranges are found.

    Attributes:
        images: folder of photographs, relative to the recipe.
        method: see ``trtforge.calibration.threshold``.
        percentile: percent of values that stay inside the range, at the least, with ``entropy``
            too.
        methods: shell pattern of tensor names -> method, where it differs.
        refine: whether INT8 weights and ranges are refined by the errors they make on the images.
    """

    images: Path | None = None
    method: Method = "entropy"
    methods: dict[str, Method] = Field(default_factory=dict)
    refine: bool = True
    percentile: float = Field(default=99.999, gt=0, le=100)


class Precision(_Section):
    """Which nodes stay in higher precision.

    Attributes:
        keep: shell patterns of node names: float in INT8 models, FP32 in FP16 models.
        only: shell patterns of all nodes that may be quantized; none is no limit.
        heads: the last convolution of each branch, in INT8 models; float costs little and often
            saves accuracy.
        rest: what is not INT8.
    """

    keep: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    heads: Literal["int8", "float"] = "int8"
    rest: Literal["fp16", "fp32"] = "fp16"


class Decode(_Section):
    """How outputs become boxes and scores, where the graph does not show it; see
    ``trtforge.graph.detection``.

    Attributes:
        anchors: width and height in pixels of each anchor of a cell, for every level, finest first.
        strides: pixels between the cells of every level; found from the outputs' sizes where those
            say it.
        anchors_first: boxes go anchor by anchor over all cells of a level, not cell by cell over
            its anchors.
        xy_scale: YOLO anchors: how far a centre may leave its cell; one for all levels or one each.
            2 is YOLOv5 and YOLOv7, 1 is YOLOv3, and YOLOv4 has its own at every level.
        extent: YOLO anchors: ``square`` is ``(2 sigmoid(t))^2``, ``exp`` is ``exp(t)``, both times
            the anchor.
        prior_offset: priors: where in its cell the centre lies, 0 to 1.
        variances: priors: factors of a delta's place and of its extent.
        bins: distances: length of each side's distribution (reg_max); 1 is a plain distance in
            cells.
        activation: that the scores in the outputs still need; ``auto`` sees it in the graph.
        background: which class stands for none.
        coding, unit, order: of decoded boxes; ``auto`` sees it in the graph.
        extra: channels behind the classes that belong to each box, by name: coefficients, keypoints
            or angle; with priors, landmarks.
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
    """Thresholds of the non-maximum suppression in the graph: score in 0..1, IoU in 0..1,
    detections an image.
    """

    score: float = Field(default=0.25, ge=0, lt=1)
    iou: float = Field(default=0.45, gt=0, le=1)
    max_det: int = Field(default=100, ge=1, le=3840)
    class_agnostic: bool = False


class Recipe(_Section):
    """One model family, or one model of yours.

    Attributes:
        model: ONNX file, relative to the recipe; needed by ``trtforge build RECIPE.yaml``.
        labels: a file with one class a line (relative to the recipe), or the names themselves.
        head: form of the outputs where the recogniser should not decide by itself; ``none`` is no
            detector.
        decode: figures that the form needs and the graph does not hold.
        patches: edits of the graph before anything else, in their order.
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
        """The form of the head, where the recipe names one."""
        return None if self.head in ("auto", "none") else self.head


def folder() -> Path:
    """Where the recipes that come with trtforge lie: inside the installed package, or beside it in
    a checkout.
    """
    package = Path(__file__).parent
    return package / "recipes" if (package / "recipes").is_dir() else package.parent / "recipes"


def names() -> list[str]:
    """Names of the recipes that come with trtforge."""
    return sorted(path.stem for path in folder().glob("*.yaml"))


def find(name: str) -> Path:
    """The file of a recipe given by name or path.

    Raises:
        ForgeError: there is none.
    """
    if name in names():
        return folder() / f"{name}.yaml"
    if Path(name).is_file():
        return Path(name)
    near = difflib.get_close_matches(name, names(), n=1)
    raise ForgeError(
        f"{name}: no recipe of that name, and no such file",
        f"did you mean {near[0]}?" if near else f"known recipes: {', '.join(names())}",
    )


def load(path: Path) -> Recipe:
    """Read and check a recipe; its relative paths are resolved against its folder.

    Raises:
        ForgeError: the file is no YAML, or breaks the schema; the message lists every error with
            its line.
    """
    recipe = documents.read_yaml(
        path, Recipe, "recipe", "see `trtforge recipes show yolov7`, or the README for all keys"
    )
    return _resolved(recipe, path.parent)


def _resolved(recipe: Recipe, base: Path) -> Recipe:
    def absolute(value: Any) -> Any:
        return base / value if isinstance(value, Path) else value

    calibration = recipe.calibration.model_copy(
        update={"images": absolute(recipe.calibration.images)}
    )
    return recipe.model_copy(
        update={
            "model": absolute(recipe.model),
            "labels": absolute(recipe.labels),
            "calibration": calibration,
        }
    )
