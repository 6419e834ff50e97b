"""ready -> engine: by the one backend that serves the target."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from trtforge import present
from trtforge.errors import BuildError
from trtforge.store import Facts, Stage

ENGINE = "engine"
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
    workspace: int | None,
) -> Facts:
    """Write ``draft/engine`` and ``draft/layers.json``.

    Args:
        model: ready graph.
        backend: tensorrt, tensorrt-rtx or onnxruntime.
        sm: compute capability to build for, None on a CPU.
        gpu: name of the GPU that kernels are timed on, where they are timed.
        batch: smallest, best and largest.
        size: height and width in pixels.
        workspace: bytes of scratch memory, None for the builder's default.

    Returns:
        engine bytes, layers, bytes crossing layers by datatype, convolutions and those with INT8 inputs, memory.

    Raises:
        BuildError: the builder refuses the model.
        MachineError: the backend or the driver is missing.
    """
    from trtforge.backends import onnxruntime, tensorrt, tensorrt_rtx
    from trtforge.report import layers as report

    shape: dict[str, Any] = {"batch": tuple(batch), "size": tuple(size), "workspace": workspace}
    figures: dict[str, int] = {}
    with present.progress(f"building with {backend}") as done:
        if backend == "onnxruntime":
            layers = onnxruntime.build(model, batches=tuple(batch), size=(size[0], size[1]))
            engine = model.read_bytes()
        else:
            built = (
                tensorrt_rtx.build(model, sm=sm or 0, progress=done, **shape)
                if backend == "tensorrt-rtx"
                else tensorrt.build(model, progress=done, **shape)
            )
            engine, record = built
            layers, figures = report.parse(record.layers), record.figures
    served = tensorrt_rtx.compute_capabilities(engine) if backend == "tensorrt-rtx" else []
    if backend == "tensorrt-rtx" and served != [sm]:
        raise BuildError(f"{model.name}: the engine is for SM {served}, not for SM{sm}", "please report it")
    (draft / ENGINE).write_bytes(engine)
    content = {"format": "trtforge-layers-1", "backend": backend, "figures": figures, "layers": layers}
    (draft / LAYERS).write_text(json.dumps(content), encoding="utf-8")
    convolutions, quantized = _convolutions(model)
    return {
        "backend": backend,
        "sm": sm,
        "engine_bytes": len(engine),
        "layers": len(layers),
        "crossing_bytes": report.bytes_crossing(layers),
        "convolutions": len(convolutions),
        "quantized_convolutions": len(quantized),
        "int8_convolutions": len(report.int8_convolutions(layers, convolutions)),
        **figures,
    }


def _convolutions(model: Path) -> tuple[list[str], list[str]]:
    """Names of the learned convolutions, and of those whose input carries Q/DQ."""
    from trtforge.graph.heads import learned
    from trtforge.graph.model import graph_of, load

    found = [node for node in learned(graph_of(load(model))) if node.op == "Conv"]
    makers = {node.name: [maker.op for maker in node.inputs[0].inputs] for node in found}
    return list(makers), [name for name, ops in makers.items() if ops == ["DequantizeLinear"]]


def say(facts: Facts) -> str:
    where = f"SM{facts['sm']}, " if facts["sm"] else ""
    int8 = f", {facts['int8_convolutions']} of {facts['convolutions']} convolutions with 8-bit inputs"
    size = present.size(facts["engine_bytes"])
    return f"{where}{size}, {facts['layers']} layers{int8 if facts['quantized_convolutions'] else ''}"


def remark(facts: Facts) -> str:
    """What the user should know of INT8 that the builder does not use; empty if it does."""
    unused = facts["quantized_convolutions"] - facts["int8_convolutions"]
    if unused <= UNUSED * facts["quantized_convolutions"]:
        return ""
    where = f" on SM{facts['sm']}" if facts["sm"] else ""
    return (f"{facts['backend']} computes {unused} of {facts['quantized_convolutions']} quantized convolutions in float"
            f"{where}: accuracy as INT8, but no faster than FP16 or FP32")  # fmt: skip


def stage(backend: str) -> Stage:
    """The stage, whose results depend on the version of the one builder that makes them."""
    return Stage(f"build-{backend}", 2, (backend,), run, say)
