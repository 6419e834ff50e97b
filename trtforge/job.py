"""The nouns of the pipeline: what the user asks for, for which target, and what is ready to be
built.
"""

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
# The graph that each backend builds from: how its file ends in a bundle, and its NMS with --nms
# auto.
SUFFIX = {"tensorrt": ".onnx", "tensorrt-rtx": ".rtx.onnx", "onnxruntime": ".ort.onnx"}
AUTO_NMS = {"tensorrt": "deepstream", "tensorrt-rtx": "none", "onnxruntime": "onnx"}
WEAK = ".fp32.onnx"  # the one graph of a weakly typed folder


INT8_MODES = ("explicit", "implicit")
Calibrator = Literal["own", "entropy", "minmax"]
CALIBRATORS: tuple[Calibrator, ...] = ("own", "entropy", "minmax")
Shape = tuple[int, ...]


@dataclass(frozen=True)
class BuildOptions:
    """How a TensorRT works. What a version lacks it refuses; None is its own default.

    Attributes:
        workspace: bytes of scratch memory.
        pools: other memory pools, by the names in ``trtforge.backends._config.POOLS``, and their
            bytes.
        profiles: smallest, best and largest shape of inputs, by name; empty: one profile by batch
            and size.
        opt_level: how long it looks for faster kernels.
        sparsity: use weights of which two in four are zero.
        version_compatible: the engine loads in later versions, too.
        hardware_compatible: the engine runs on Ampere and newer.
        refit: the engine's weights can be changed.
        strip_weights: the engine carries none, and is refitted before it runs.
        dla_core: compute on a DLA, what it can't on the GPU.
        tf32: FP32 products may be rounded to TF32.
        aux_streams: most streams beside the main one.
        tactic_sources: by the names in ``trtforge.backends._config.TACTICS``.
        timing_cache: file of measured kernels; None is one in the store for each version and GPU.
        implicit: TensorRT 10's own INT8 from a calibration cache, with this precision where it is
            not INT8.
        calibrator: whose ranges: ours, or TensorRT's own algorithm on the images.
    """

    workspace: int | None = None
    pools: tuple[tuple[str, int], ...] = ()
    profiles: tuple[dict[str, tuple[Shape, Shape, Shape]], ...] = ()
    opt_level: int | None = None
    sparsity: bool = False
    version_compatible: bool = False
    hardware_compatible: bool = False
    refit: bool = False
    strip_weights: bool = False
    dla_core: int | None = None
    tf32: bool | None = None
    aux_streams: int | None = None
    tactic_sources: tuple[str, ...] | None = None
    timing_cache: str | None = None
    implicit: str | None = None
    calibrator: Calibrator = "own"


PLAIN = BuildOptions()


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
        weak: the graph stays FP32, and the builder chooses precisions, for INT8 by a calibration
            cache. TensorRT 10 and older, and nvinfer.
        calibrator: whose ranges that INT8 takes.
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
    weak: bool = False
    calibrator: Calibrator = "own"


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
        weak: see ``Job``.
        images: folder that TensorRT calibrates on itself; None where the ranges are ours.
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
    weak: bool = False
    images: File | None = None

    def file_name(self, backend: str) -> str:
        """Of the graph that a backend builds from, in the output folder."""
        return f"{self.name}{WEAK if self.weak else SUFFIX[backend]}"
