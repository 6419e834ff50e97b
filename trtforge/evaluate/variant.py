"""Run one network in several precisions: all float, or some of its operators in INT8."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from PIL import Image

from trtforge.backends.onnxruntime import run_one
from trtforge.calibration.images import letterbox, normalise, read
from trtforge.calibration.ranges import per_tensor
from trtforge.evaluate.detections import Objects, to_image
from trtforge.evaluate.harm import Harm
from trtforge.evaluate.models import Array, reference_session
from trtforge.graph.detection import Detection, corners_of, decode, recognise
from trtforge.graph.edit.nodes import input_size
from trtforge.graph.model import graph_of, load, model_of
from trtforge.graph.nms import OUTPUTS, NmsOptions, suppress
from trtforge.graph.quantize.qdq import place, quantize
from trtforge.graph.quantize.rounding import Rounded
from trtforge.recipe import Decode, Nms, Preprocess

Infer = Callable[[NDArray[np.float32]], dict[str, Array]]


@dataclass(frozen=True)
class Network:
    """A folded float model, the ranges of its activations, and how images become its input.

    Attributes:
        rounded: refined INT8 weights, by operator.
        head, figures: the recipe's, for the recognition of the head.
        nms: thresholds with which accuracy is measured.
    """

    model: Path
    amax: Mapping[str, float]
    rounded: Mapping[str, Rounded]
    preprocess: Preprocess
    head: str
    figures: Decode
    nms: Nms

    def open(self, keep: Collection[str] | None) -> Infer:
        """Open the network with all operators in INT8 but those of ``keep``; None is all float.

        Returns:
            A function that takes a float32 image (1, 3, H, W) and returns the outputs by name: for
            a detector ``boxes`` (1, K, 4) as corners, ``scores`` (1, K, C) and the outputs of its
            NMS; for any other network its own outputs.
        """
        graph = graph_of(load(self.model))
        detection = self._detection(graph)
        names = [output.name for output in graph.outputs]
        if detection is not None:
            decoded = decode(graph, detection)
            kept = suppress(graph, decoded, detection, NmsOptions(**self.nms.model_dump()))
            graph.outputs = [corners_of(graph, decoded), decoded.scores, *kept.four]
            names = ["boxes", "scores", *OUTPUTS]
        if keep is not None:
            placement = place(graph, tuple(escape_pattern(name) for name in keep))
            quantize(
                graph, placement, per_tensor(placement.groups, self.amax), rounded=self.rounded
            )
        engine = reference_session(model_of(graph.cleanup().toposort()))
        return lambda image: dict(zip(names, run_one(engine, image).values(), strict=True))

    @cached_property
    def size(self) -> tuple[int, int]:
        """Height and width of the input in pixels."""
        size = input_size(graph_of(load(self.model)))
        if size is None:
            raise ValueError(f"{self.model}: a dynamic input, which calibration refuses")
        return size

    @cached_property
    def classes(self) -> int | None:
        """Number of classes of a detector; None for any other network."""
        detection = self._detection(graph_of(load(self.model)))
        return detection.classes if detection else None

    def _detection(self, graph: gs.Graph) -> Detection | None:
        if self.head == "none":
            return None
        return recognise(graph, None if self.head == "auto" else self.head, self.figures)


def escape_pattern(name: str) -> str:
    """Return the shell pattern that matches only this name."""
    return "".join(f"[{char}]" if char in "*?[@" else char for char in name)


def measure_harm(
    reference: Sequence[dict[str, Array]], infer: Infer, batches: Sequence[NDArray[np.float32]]
) -> float:
    """Measure how much a variant's outputs differ from the reference (see ``Harm``).

    Args:
        reference: the outputs of the float network for each batch.
    """
    total = Harm()
    for exact, batch in zip(reference, batches, strict=True):
        outputs = infer(batch)
        names = ("boxes", "scores") if "boxes" in exact else tuple(exact)
        total.observe(
            {name: exact[name] for name in names}, {name: outputs[name] for name in names}
        )
    return total.value


def detect_objects(
    network: Network, infer: Infer, files: Sequence[Path], done: Callable[[int], None]
) -> list[Objects]:
    """Return what a detector detects on each image, in pixels of the image."""
    objects: list[Objects] = []
    for number, file in enumerate(files, 1):
        image = read(file)
        outputs = infer(_batch(network, image))
        valid = int(outputs["num_detections"].reshape(-1)[0])
        boxes, scores, classes = (
            outputs[name][0, :valid]
            for name in ("detection_boxes", "detection_scores", "detection_classes")
        )
        inside = to_image(boxes, image.height, image.width, network.size, network.preprocess)
        objects.append(Objects(inside, scores.astype(np.float64), classes.astype(np.int64)))
        done(number)
    return objects


def classify(
    network: Network, infer: Infer, files: Sequence[Path], done: Callable[[int], None]
) -> NDArray[np.int64]:
    """Return the most likely class of each image: int64 (I,)."""
    classes: list[int] = []
    for number, file in enumerate(files, 1):
        scores, *_ = infer(_batch(network, read(file))).values()
        classes.append(int(scores.reshape(-1).argmax()))
        done(number)
    return np.array(classes, np.int64)


def _batch(network: Network, image: Image.Image) -> NDArray[np.float32]:
    """Return the network's input for one image."""
    spec = network.preprocess
    return normalise(letterbox(image, spec, network.size), spec)[None]
