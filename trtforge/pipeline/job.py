"""The record of a user's request to the pipeline."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trtforge.backends.options import Calibrator
from trtforge.names import Precision
from trtforge.recipe import Recipe


@dataclass(frozen=True)
class Job:
    """A model, and how it is to be prepared.

    Attributes:
        model: ONNX file.
        recipe: the recipe, with the options of the command line worked in.
        precision: precision of the learned operators.
        images: folder of calibration images, for INT8 and FP8.
        batch: smallest, best and largest batch; None is the model's own, or 1 if that is dynamic.
        size: height and width in pixels, where the model's own are dynamic.
        nms: auto, none, keep, onnx, efficientnms or deepstream.
        nms_impl: auto, plugin or onnx.
        check: compare the folded model with the original one.
        provider: where calibration runs: auto, cpu or cuda.
        implicit: the graph stays FP32, and the builder chooses the precisions; for INT8 it reads a
            calibration cache. Only TensorRT 10 and older, and nvinfer, can do so.
        calibrator: where the ranges of implicit INT8 come from.
    """

    model: Path
    recipe: Recipe
    precision: Precision
    images: Path | None = None
    batch: tuple[int, int, int] | None = None
    size: tuple[int, int] | None = None
    nms: str = "auto"
    nms_impl: str = "auto"
    check: bool = True
    provider: str = "auto"
    implicit: bool = False
    calibrator: Calibrator = "own"
