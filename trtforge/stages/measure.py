"""engine -> its time on this machine, and a graph -> its accuracy: what a sweep asks, kept by the
store.
"""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

from trtforge.store import Facts, Stage

WARMUP_S = 0.2


def latency(
    draft: Path,
    engine: Path,
    *,
    runtime: str,
    batch: int,
    size: list[int],
    seconds: float,
    machine: str,
) -> Facts:
    """Time an engine, one stream, without transfers; as a CUDA graph on a GPU.

    Args:
        engine: TensorRT engine, or ready graph.
        runtime: tensorrt, tensorrt-rtx or onnxruntime.
        batch, size: images in a pass, height and width in pixels.
        seconds: for latency, and again for throughput on a GPU.
        machine: that it was timed on; another one times it again.

    Returns:
        median latency in ms, and images a second.
    """
    from trtforge.timing import onnxruntime_cpu, tensorrt
    from trtforge.timing.measure import measure, summary

    if runtime == "onnxruntime":
        opener = onnxruntime_cpu.opener(engine, batch, (size[0], size[1]))
    else:
        opener = tensorrt.opener(engine, batch, graph=True, transfers=False)
    timed = measure(opener, batch, 1, WARMUP_S, seconds)
    return {
        "latency_ms": summary(timed.latencies).median,
        "images_per_second": timed.images_per_second,
    }


def accuracy(
    draft: Path, reference: Path, model: Path, images: Path, labels: Path, *, recipe: dict[str, Any]
) -> Facts:
    """Measure a graph's accuracy in ONNX Runtime, and what it loses against the FP32 graph.

    Returns:
        the metric's name, its value, and the points lost.

    Raises:
        ForgeError: see ``trtforge.stages.verify``.
    """
    from trtforge.recipe import Recipe
    from trtforge.stages.verify import verify

    paths = [reference] if reference == model else [reference, model]
    report = verify(
        paths,
        images,
        labels=labels,
        recipe=Recipe.model_validate(recipe),
        nms=None,
        per_layer=False,
    )
    return {
        "metric": report.metric,
        "accuracy": report.accuracy[-1],
        "lost": report.drops[-1] if report.drops else 0.0,
    }


def machine() -> str:
    """This machine's processor, in words."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    model = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), ""
    )
    return model or platform.processor() or platform.machine()


LATENCY = Stage(
    "latency", 1, ("onnxruntime", "onnxruntime-gpu", "tensorrt", "tensorrt-rtx"), latency
)
ACCURACY = Stage("accuracy", 1, ("onnxruntime", "numpy", "pillow", "pycocotools"), accuracy)
