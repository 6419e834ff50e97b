"""The nouns of the pipeline: what the user asks for, for which target, and what is ready to be built."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from trtforge.devices import Device
from trtforge.recipe import Recipe
from trtforge.store import File

Precision = Literal["fp32", "fp16", "int8", "fp8"]
QUANTIZED = ("int8", "fp8")
Backend = Literal["tensorrt", "tensorrt-rtx", "onnxruntime"]
BACKENDS: tuple[Backend, ...] = ("tensorrt", "tensorrt-rtx", "onnxruntime")
# The graph that each backend builds from: how its file ends in a bundle, and its NMS with --nms auto.
SUFFIX = {"tensorrt": ".onnx", "tensorrt-rtx": ".rtx.onnx", "onnxruntime": ".ort.onnx"}
AUTO_NMS = {"tensorrt": "deepstream", "tensorrt-rtx": "none", "onnxruntime": "onnx"}


@dataclass(frozen=True)
class Target:
    """One folder to make.

    Attributes:
        backend: that builds the engine; None prepares graphs for all of them.
        device: that it is for; None is this machine's CPU, or any device for a prepared folder.
    """

    backend: Backend | None
    device: Device | None


@dataclass(frozen=True)
class Job:
    """What the user asked for.

    Attributes:
        model: ONNX file.
        recipe: with the command line's options worked in.
        precision: of the learned operators.
        images: calibration photographs, for INT8 and FP8.
        batch: smallest, best and largest; None is the model's own, or 1 if that is dynamic.
        size: height and width in pixels for dynamic ones.
        nms: auto, none, keep, onnx, efficientnms or deepstream.
        nms_impl: auto, plugin or onnx.
        check: compare folded and original model.
        provider: where calibration runs: auto, cpu or cuda.
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


@dataclass(frozen=True)
class Ready:
    """Everything that needs no GPU.

    Attributes:
        name: of the model, for files.
        precision, batch, recipe: as asked for.
        facts: of the folded model (see ``trtforge.stages.fold``).
        inputs: digests of what the user gave, by name, for the manifest.
        graphs: a patched graph for each backend.
        patches: facts of each patch.
        table: calibration table, for INT8 and FP8.
        deepstream: version that a prepared folder was made for.
        remarks: what the user should know about the calibration.
    """

    name: str
    precision: str
    batch: tuple[int, int, int]
    recipe: Recipe
    facts: dict[str, Any]
    inputs: dict[str, Any]
    graphs: dict[str, File]
    patches: dict[str, dict[str, Any]]
    table: File | None
    deepstream: str | None = None
    remarks: tuple[str, ...] = ()
