"""engine -> its time on this machine, and graph -> its accuracy: what a sweep measures."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

from trtforge.names import Backend
from trtforge.recipe import Recipe
from trtforge.store import File, Stage
from trtforge.traits import TRAITS

WARMUP_S = 0.2


@dataclass(frozen=True)
class LatencyInputs:
    """A TensorRT engine, or a graph for ONNX Runtime."""

    engine: File


@dataclass(frozen=True)
class LatencyOptions:
    """Options of an engine's timing.

    Attributes:
        runtime: what runs it.
        batch: images in a pass.
        size: height and width in pixels; None where the graph has no image input.
        seconds: for latency, and on a GPU again for throughput.
        machine: the machine that it is timed on; another one times it again.
    """

    runtime: Backend
    batch: int
    size: tuple[int, int] | None
    seconds: float
    machine: str


@dataclass(frozen=True)
class LatencyFacts:
    """The median latency in ms, and images per second."""

    latency_ms: float = 0.0
    images_per_second: float = 0.0


@dataclass(frozen=True)
class AccuracyInputs:
    """Graphs that ONNX Runtime can run, and what they are judged by.

    Attributes:
        reference: the FP32 graph.
        model: the graph that is judged; it may be the reference.
    """

    reference: File
    model: File
    images: File
    labels: File


@dataclass(frozen=True)
class AccuracyOptions:
    """The recipe, for preprocessing and the head."""

    recipe: Recipe


@dataclass(frozen=True)
class AccuracyFacts:
    """Accuracy of a graph.

    Attributes:
        metric: name of the metric.
        accuracy: its value, 0..1.
        lost: points (hundredths) lost against the FP32 graph.
    """

    metric: str = ""
    accuracy: float = 0.0
    lost: float = 0.0


def latency(draft: Path, inputs: LatencyInputs, options: LatencyOptions) -> LatencyFacts:
    """Time an engine with one stream and without transfers; on a GPU as a CUDA graph."""
    from trtforge.timing import onnxruntime_cpu, tensorrt
    from trtforge.timing.measure import measure, summary

    engine = inputs.engine.path
    if not TRAITS[options.runtime].on_gpu:
        opener = onnxruntime_cpu.opener(engine, options.batch, options.size)
    else:
        opener = tensorrt.opener(engine, options.batch, graph=True, transfers=False)
    timed = measure(opener, options.batch, 1, WARMUP_S, options.seconds)
    return LatencyFacts(summary(timed.latencies).median, timed.images_per_second)


def accuracy(draft: Path, inputs: AccuracyInputs, options: AccuracyOptions) -> AccuracyFacts:
    """Measure a graph's accuracy in ONNX Runtime, and what it loses against the FP32 graph.

    Raises:
        ForgeError: see ``trtforge.stages.verify``.
    """
    from trtforge.stages.verify import verify

    reference, model = inputs.reference.path, inputs.model.path
    report = verify(
        [reference] if reference == model else [reference, model],
        inputs.images.path,
        labels=inputs.labels.path,
        recipe=options.recipe,
        nms=None,
        per_layer=False,
    )
    return AccuracyFacts(
        metric=report.metric,
        accuracy=report.accuracy[-1],
        lost=report.drops[-1] if report.drops else 0.0,
    )


def machine() -> str:
    """Return the name of this machine's processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    model = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), ""
    )
    return model or platform.processor() or platform.machine()


LATENCY_TOOLS = ("onnxruntime", "onnxruntime-gpu", "tensorrt", "tensorrt-rtx")
LATENCY = Stage("latency", 2, LATENCY_TOOLS, latency, LatencyFacts)
ACCURACY_TOOLS = ("onnxruntime", "numpy", "pillow", "pycocotools")
ACCURACY = Stage("accuracy", 2, ACCURACY_TOOLS, accuracy, AccuracyFacts)
