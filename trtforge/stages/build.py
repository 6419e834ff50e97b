"""ready -> engine: built by the one backend that serves the target."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from trtforge import present
from trtforge.backends.options import PLAIN, BuildOptions
from trtforge.bundle.facts import BuildFacts
from trtforge.errors import BuildError, ForgeError
from trtforge.names import CACHE, Backend
from trtforge.recipe import Preprocess
from trtforge.store import File, Stage
from trtforge.traits import TRAITS

if TYPE_CHECKING:
    import numpy as np

    from trtforge.backends.tensorrt import CalibratorInput
    from trtforge.reporting.model import Layer, LayerReport
    from trtforge.reporting.origin import Origin

__all__ = [
    "ENGINE",
    "LAYERS",
    "BuildFacts",
    "EngineInputs",
    "EngineOptions",
    "UnservedError",
    "run",
    "stage",
]

Progress = Callable[[float], None]  # takes the share that is done, 0..1

ENGINE = "engine"
LAYERS = "layers.json"
UNUSED = 0.05  # share of quantized convolutions that may run in float without a remark


class UnservedError(BuildError):
    """The graph holds what TensorRT can't compute, so that its builder was not asked."""


@dataclass(frozen=True)
class EngineInputs:
    """The files that an engine is built from.

    Attributes:
        model: graph that is ready for the backend.
        ranges: our table of ranges, for implicit INT8.
        images: folder that TensorRT itself calibrates implicit INT8 on.
    """

    model: File
    ranges: File | None = None
    images: File | None = None


@dataclass(frozen=True)
class EngineOptions:
    """Target and options of an engine.

    Attributes:
        sm: compute capability to build for; None on a CPU.
        gpu: name of the GPU, for a backend that times kernels on it.
        batch: smallest, best and largest batch.
        size: height and width of the input in pixels.
        options: options of the builder.
        preprocess: the recipe's section, for ``images``.
    """

    backend: Backend
    sm: int | None
    gpu: str | None
    batch: tuple[int, int, int]
    size: tuple[int, int]
    options: BuildOptions = PLAIN
    preprocess: Preprocess | None = None


@dataclass(frozen=True)
class _Built:
    """An engine that a backend made.

    Attributes:
        engine: the serialized engine.
        layers: its layers.
        built: what made it, and for which GPU.
        figures: memory in bytes, by name, where the builder tells it.
        cache: the calibration cache that TensorRT itself made.
    """

    engine: bytes
    layers: Sequence[Layer]
    built: Mapping[str, bool | int | str | None] = field(default_factory=dict)
    figures: Mapping[str, int] = field(default_factory=dict)
    cache: bytes | None = None


def run(draft: Path, inputs: EngineInputs, options: EngineOptions) -> BuildFacts:
    """Write ``draft/engine`` and ``draft/layers.json``.

    Where TensorRT itself has calibrated, its cache is written to ``draft/calibration.cache``.

    Raises:
        UnservedError: the graph holds Q/DQ that TensorRT can't compute.
        BuildError: the builder refuses the model.
        MachineError: the backend or the driver is missing.
    """
    from trtforge.graph.model import graph_of, load
    from trtforge.graph.quantize.obstacle import integer_operator, unserved_pair
    from trtforge.reporting import assemble, origin
    from trtforge.reporting.cost import bytes_crossing
    from trtforge.reporting.model import EngineInfo, to_json

    backend, sm = options.backend, options.sm
    model = load(inputs.model.path)
    graph = origin.from_model(model)
    if TRAITS[backend].on_gpu:
        _refuse(unserved_pair(graph_of(model)), inputs.model.path, UnservedError)
    with present.progress(f"building with {backend}") as done:
        try:
            made = _BUILD[backend](inputs, options, graph, done)
        except BuildError:
            _refuse(integer_operator(graph_of(model)), inputs.model.path, BuildError)
            raise
    (draft / ENGINE).write_bytes(made.engine)
    if made.cache and inputs.images:
        (draft / CACHE).write_bytes(made.cache)
    which = EngineInfo(backend=backend, sm=sm, batch=options.batch[1], size=list(options.size))
    report = assemble.assemble(made.layers, graph, which, made.figures)
    (draft / LAYERS).write_text(to_json(report), encoding="utf-8")
    learned, quantized, int8 = _convolutions(report)
    return BuildFacts(
        backend=backend,
        sm=sm,
        engine_bytes=len(made.engine),
        layers=len(made.layers),
        crossing_bytes=bytes_crossing(report.layers, options.batch[1]),
        built=made.built,
        convolutions=learned,
        quantized_convolutions=quantized,
        int8_convolutions=int8,
        scratch_bytes=made.figures.get("scratch_bytes"),
        activation_bytes=made.figures.get("activation_bytes"),
        weight_bytes=made.figures.get("weight_bytes"),
    )


def _refuse(found: tuple[str, str] | None, path: Path, error: type[BuildError]) -> None:
    """Raise an error with what is found in a graph and the hint, if something is."""
    if found:
        raise error(f"{path.name}: {found[0]}", found[1])


def _onnxruntime(
    inputs: EngineInputs, options: EngineOptions, graph: Origin, done: Progress
) -> _Built:
    """Let ONNX Runtime optimise the graph; its engine is the graph itself."""
    from trtforge.backends import onnxruntime
    from trtforge.reporting import ort

    model = inputs.model.path
    optimised = onnxruntime.build(model, batches=options.batch, size=options.size)
    return _Built(model.read_bytes(), ort.layers(optimised, graph))


def _tensorrt_rtx(
    inputs: EngineInputs, options: EngineOptions, graph: Origin, done: Progress
) -> _Built:
    from trtforge.backends import tensorrt_rtx
    from trtforge.reporting import rtx_log

    engine, record = tensorrt_rtx.build(
        inputs.model.path,
        sm=options.sm or 0,
        progress=done,
        batch=options.batch,
        size=options.size,
        options=options.options,
    )
    served = tensorrt_rtx.compute_capabilities(engine)
    if served != [options.sm]:
        raise BuildError(
            f"{inputs.model.path.name}: the engine is for SM {served}, not for SM{options.sm}",
            "please report it",
        )
    built = {"version": str(tensorrt_rtx.module().__version__), "sm": options.sm}
    return _Built(engine, rtx_log.parse(record.layers), built, record.figures)


def _tensorrt(
    inputs: EngineInputs, options: EngineOptions, graph: Origin, done: Progress
) -> _Built:
    from trtforge.backends import tensorrt
    from trtforge.reporting import inspector

    engine, record = tensorrt.build(
        inputs.model.path,
        progress=done,
        calibration=_calibration(inputs, options) if options.options.implicit else None,
        batch=options.batch,
        size=options.size,
        options=options.options,
    )
    layers = inspector.parse(record.layers, "inspector")
    built = tensorrt.facts(options.options)
    return _Built(engine, layers, built, record.figures, record.cache)


_BUILD: dict[Backend, Callable[[EngineInputs, EngineOptions, Origin, Progress], _Built]] = {
    "tensorrt": _tensorrt,
    "tensorrt-rtx": _tensorrt_rtx,
    "onnxruntime": _onnxruntime,
}


def _calibration(inputs: EngineInputs, options: EngineOptions) -> CalibratorInput:
    """Return what TensorRT's calibrator reads: our ranges, or images as the network sees them.

    Raises:
        ForgeError: an activation has no range; there are too few images.
    """
    from trtforge.backends.tensorrt import CalibratorInput
    from trtforge.calibration.ranges import load, per_tensor
    from trtforge.graph import model as onnx_file
    from trtforge.graph.quantize.taps import require_implicit
    from trtforge.stages.calibrate import cache_text

    if inputs.ranges:
        path = inputs.ranges.path
        table = load(path)
        graph = onnx_file.graph_of(onnx_file.load(inputs.model.path))
        require_implicit(graph, per_tensor(table.groups, table.amax), str(path))
        return CalibratorInput(cache=lambda version: cache_text(path, version))
    if inputs.images:
        folder, preprocess = inputs.images.path, options.preprocess or Preprocess()
        return CalibratorInput(
            batches=lambda count: _batches(folder, preprocess, options.size, count)
        )
    return CalibratorInput()


def _batches(
    folder: Path, preprocess: Preprocess, size: tuple[int, int], count: int
) -> Iterator[np.ndarray]:
    """Yield the readable images of a folder, float32 ``(count, 3, H, W)``.

    Images that do not fill a last batch are left out.

    Raises:
        ForgeError: the images do not fill one batch.
    """
    import numpy as np

    from trtforge.calibration import images as pictures

    batch, made = [], 0
    for file in pictures.list_images(folder):
        try:
            batch.append(pictures.prepare(file, preprocess, size))
        except pictures.CorruptImage:
            continue
        if len(batch) == count:
            yield np.concatenate(batch)
            batch, made = [], made + 1
    if not made:
        raise ForgeError(
            f"{folder}: fewer readable images than the batch of {count}", "give more images"
        )


def _convolutions(report: LayerReport) -> tuple[int, int, int]:
    """Count learned convolutions: all, those that carry Q/DQ, those that are computed in INT8."""
    from trtforge.reporting.origin import QUANTIZED
    from trtforge.reporting.remarks import homes

    home = homes(report)
    learned = [node for node in report.nodes if node.learned and node.op == "Conv"]
    quantized = sum(node.quantized for node in learned)
    int8 = sum(
        node.name in home and report.layers[home[node.name]].precision in QUANTIZED
        for node in learned
    )
    return len(learned), quantized, int8


def summarize(facts: BuildFacts) -> str:
    """Return the facts in a line for people."""
    where = f"SM{facts.sm}, " if facts.sm else ""
    summary = f"{where}{present.size(facts.engine_bytes)}, {facts.layers} layers"
    if facts.quantized_convolutions:
        int8 = f"{facts.int8_convolutions} of {facts.convolutions}"
        summary += f", {int8} convolutions with 8-bit inputs"
    return summary


def remark(facts: BuildFacts) -> str:
    """Return what the user should know of INT8 that the builder does not use; empty if it does."""
    quantized = facts.quantized_convolutions
    unused = quantized - facts.int8_convolutions
    if unused <= UNUSED * quantized:
        return ""
    where = f" on SM{facts.sm}" if facts.sm else ""
    return (
        f"{facts.backend} computes {unused} of {quantized} quantized convolutions in float"
        f"{where}: accuracy as INT8, but no faster than FP16 or FP32"
    )


def stage(backend: Backend) -> Stage[EngineInputs, EngineOptions, BuildFacts]:
    """Return the stage of a backend: its results depend on the version of that one builder."""
    return Stage(f"build-{backend}", 5, (backend,), run, BuildFacts, summarize)
