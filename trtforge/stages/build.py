"""ready -> engine: by the one backend that serves the target."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtforge import present
from trtforge.errors import BuildError
from trtforge.store import Facts, Stage

if TYPE_CHECKING:
    from trtforge.report.model import Report

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
    from trtforge.graph.model import load
    from trtforge.report import assemble, inspector, origin, ort, rtx_log
    from trtforge.report.cost import bytes_crossing
    from trtforge.report.model import Engine, text

    shape: dict[str, Any] = {"batch": tuple(batch), "size": tuple(size), "workspace": workspace}
    figures: dict[str, int] = {}
    graph = origin.of(load(model))
    with present.progress(f"building with {backend}") as done:
        if backend == "onnxruntime":
            optimised = onnxruntime.build(model, batches=tuple(batch), size=(size[0], size[1]))
            layers = ort.layers(optimised, graph)
            engine = model.read_bytes()
        else:
            built = (
                tensorrt_rtx.build(model, sm=sm or 0, progress=done, **shape)
                if backend == "tensorrt-rtx"
                else tensorrt.build(model, progress=done, **shape)
            )
            engine, record = built
            figures = record.figures
            listed = record.layers
            layers = rtx_log.parse(listed) if backend == "tensorrt-rtx" else inspector.parse(listed, "inspector")
    served = tensorrt_rtx.compute_capabilities(engine) if backend == "tensorrt-rtx" else []
    if backend == "tensorrt-rtx" and served != [sm]:
        raise BuildError(f"{model.name}: the engine is for SM {served}, not for SM{sm}", "please report it")
    (draft / ENGINE).write_bytes(engine)
    which = Engine(backend=backend, sm=sm, batch=batch[1], size=size)
    report = assemble.assemble(layers, graph, which, figures)
    (draft / LAYERS).write_text(text(report), encoding="utf-8")
    return {
        "backend": backend,
        "sm": sm,
        "engine_bytes": len(engine),
        "layers": len(layers),
        "crossing_bytes": bytes_crossing(report.layers, batch[1]),
        **_convolutions(report),
        **figures,
    }


def _convolutions(report: Report) -> dict[str, int]:
    """Learned convolutions, those that carry Q/DQ, and those that are computed in INT8."""
    from trtforge.report.findings import homes
    from trtforge.report.origin import QUANTIZED

    home = homes(report)
    found = [node for node in report.nodes if node.learned and node.op == "Conv"]
    int8 = [node for node in found if node.name in home and report.layers[home[node.name]].precision in QUANTIZED]
    return {"convolutions": len(found), "quantized_convolutions": sum(node.quantized for node in found),
            "int8_convolutions": len(int8)}  # fmt: skip


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
    return Stage(f"build-{backend}", 3, (backend,), run, say)
