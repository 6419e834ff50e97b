"""ready -> engine: by the one backend that serves the target."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtforge import present
from trtforge.backends.options import BuildOptions
from trtforge.errors import BuildError, ForgeError
from trtforge.store import Facts, Stage

if TYPE_CHECKING:
    import numpy as np

    from trtforge.backends.tensorrt import Calibration
    from trtforge.reporting.model import LayerReport

ENGINE = "engine"
CACHE = "calibration.cache"
UNUSED = 0.05  # share of quantized convolutions that may run in float without a word
LAYERS = "layers.json"


def run(
    draft: Path,
    model: Path,
    *,
    backend: str,
    sm: int | None,
    gpu: str | None,
    batch: list[int],
    size: list[int],
    options: dict[str, Any],
    ranges: Path | None = None,
    images: Path | None = None,
    preprocess: dict[str, Any] | None = None,
) -> Facts:
    """Write ``draft/engine`` and ``draft/layers.json``, and ``draft/calibration.cache`` where
    TensorRT made one.

    Args:
        model: ready graph.
        backend: tensorrt, tensorrt-rtx or onnxruntime.
        sm: compute capability to build for, None on a CPU.
        gpu: name of the GPU that kernels are timed on, where they are timed.
        batch: smallest, best and largest.
        size: height and width in pixels.
        options: fields of ``trtforge.backends.options.BuildOptions``.
        ranges: our table, for implicit INT8.
        images: folder that TensorRT calibrates implicit INT8 on itself.
        preprocess: the recipe's section, for ``images``.

    Returns:
        engine bytes, layers, bytes crossing layers by datatype, convolutions and those with INT8
        inputs, memory, and under ``built`` what made the engine, and for which GPU.

    Raises:
        BuildError: the builder refuses the model.
        MachineError: the backend or the driver is missing.
    """
    from trtforge.backends import onnxruntime, tensorrt, tensorrt_rtx
    from trtforge.graph.model import load
    from trtforge.reporting import assemble, inspector, origin, ort, rtx_log
    from trtforge.reporting.cost import bytes_crossing
    from trtforge.reporting.model import EngineInfo, to_json

    chosen = BuildOptions(**options)
    shape: dict[str, Any] = {"batch": tuple(batch), "size": tuple(size), "options": chosen}
    figures: dict[str, int] = {}
    built: dict[str, Any] = {}
    graph = origin.from_model(load(model))
    with present.progress(f"building with {backend}") as done:
        if backend == "onnxruntime":
            optimised = onnxruntime.build(model, batches=tuple(batch), size=(size[0], size[1]))
            layers = ort.layers(optimised, graph)
            engine = model.read_bytes()
        else:
            if backend == "tensorrt-rtx":
                engine, record = tensorrt_rtx.build(model, sm=sm or 0, progress=done, **shape)
                layers = rtx_log.parse(record.layers)
                built = {"version": str(tensorrt_rtx.module().__version__), "sm": sm}
            else:
                calibration = (
                    _calibration(model, ranges, images, preprocess, size)
                    if chosen.implicit
                    else None
                )
                engine, record = tensorrt.build(
                    model, progress=done, calibration=calibration, **shape
                )
                layers = inspector.parse(record.layers, "inspector")
                built = tensorrt.facts(chosen)
            figures = record.figures
            if record.cache and images:
                (draft / CACHE).write_bytes(record.cache)
    served = tensorrt_rtx.compute_capabilities(engine) if backend == "tensorrt-rtx" else []
    if backend == "tensorrt-rtx" and served != [sm]:
        raise BuildError(
            f"{model.name}: the engine is for SM {served}, not for SM{sm}", "please report it"
        )
    (draft / ENGINE).write_bytes(engine)
    which = EngineInfo(backend=backend, sm=sm, batch=batch[1], size=size)
    report = assemble.assemble(layers, graph, which, figures)
    (draft / LAYERS).write_text(to_json(report), encoding="utf-8")
    return {
        "backend": backend,
        "sm": sm,
        "engine_bytes": len(engine),
        "layers": len(layers),
        "crossing_bytes": bytes_crossing(report.layers, batch[1]),
        "built": built,
        **_convolutions(report),
        **figures,
    }


def _calibration(
    model: Path,
    ranges: Path | None,
    images: Path | None,
    preprocess: dict[str, Any] | None,
    size: list[int],
) -> Calibration:
    """Our ranges, whole; or images, as the network sees them.

    Raises:
        ForgeError: activations without a range; too few images.
    """
    from trtforge.backends.tensorrt import Calibration
    from trtforge.calibration.ranges import load, per_tensor
    from trtforge.graph import model as onnx_file
    from trtforge.graph.quantize.taps import require_implicit
    from trtforge.stages.calibrate import cache_text

    if ranges:
        table = load(ranges)
        graph = onnx_file.graph_of(onnx_file.load(model))
        require_implicit(graph, per_tensor(table.groups, table.amax), str(ranges))
        return Calibration(cache=lambda version: cache_text(ranges, version))
    assert images and preprocess is not None
    return Calibration(
        batches=lambda count: _batches(images, preprocess, (size[0], size[1]), count)
    )


def _batches(
    folder: Path, preprocess: dict[str, Any], size: tuple[int, int], count: int
) -> Iterator[np.ndarray]:
    """Readable images of a folder in batches of ``count``, float32 (count, 3, H, W); what is over
    is left out.

    Raises:
        ForgeError: they do not fill one batch.
    """
    import numpy as np

    from trtforge.calibration import images as pictures
    from trtforge.recipe import Preprocess

    spec = Preprocess.model_validate(preprocess)
    batch, made = [], 0
    for file in pictures.list_images(folder):
        try:
            batch.append(pictures.prepare(file, spec, size))
        except pictures.CorruptImage:
            continue
        if len(batch) == count:
            yield np.concatenate(batch)
            batch, made = [], made + 1
    if not made:
        raise ForgeError(
            f"{folder}: fewer readable images than the batch of {count}", "give more images"
        )


def _convolutions(report: LayerReport) -> dict[str, int]:
    """Learned convolutions, those that carry Q/DQ, and those that are computed in INT8."""
    from trtforge.reporting.origin import QUANTIZED
    from trtforge.reporting.remarks import homes

    home = homes(report)
    found = [node for node in report.nodes if node.learned and node.op == "Conv"]
    int8 = [
        node
        for node in found
        if node.name in home and report.layers[home[node.name]].precision in QUANTIZED
    ]
    return {
        "convolutions": len(found),
        "quantized_convolutions": sum(node.quantized for node in found),
        "int8_convolutions": len(int8),
    }


def say(facts: Facts) -> str:
    where = f"SM{facts['sm']}, " if facts["sm"] else ""
    int8 = (
        f", {facts['int8_convolutions']} of {facts['convolutions']} convolutions with 8-bit inputs"
    )
    size = present.size(facts["engine_bytes"])
    return (
        f"{where}{size}, {facts['layers']} layers{int8 if facts['quantized_convolutions'] else ''}"
    )


def remark(facts: Facts) -> str:
    """What the user should know of INT8 that the builder does not use; empty if it does."""
    unused = facts["quantized_convolutions"] - facts["int8_convolutions"]
    if unused <= UNUSED * facts["quantized_convolutions"]:
        return ""
    where = f" on SM{facts['sm']}" if facts["sm"] else ""
    return (
        f"{facts['backend']} computes {unused} of {facts['quantized_convolutions']} quantized convolutions in float"
        f"{where}: accuracy as INT8, but no faster than FP16 or FP32"
    )


def stage(backend: str) -> Stage:
    """The stage, whose results depend on the version of the one builder that makes them."""
    return Stage(f"build-{backend}", 3, (backend,), run, say)
