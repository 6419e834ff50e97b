"""One network in several precisions, held in memory: float, or with some of its operators in INT8."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx_graphsurgeon as gs

from trtforge.backends.onnxruntime import run_one
from trtforge.calibration.images import letterbox, normalise, read
from trtforge.calibration.ranges import per_tensor
from trtforge.evaluate.detections import Objects, to_image
from trtforge.evaluate.harm import Harm
from trtforge.evaluate.models import reference_session
from trtforge.graph.detection import Detection, corners_of, decode, recognise
from trtforge.graph.edit.nodes import input_size
from trtforge.graph.model import graph_of, load, model_of
from trtforge.graph.nms import OUTPUTS, NmsOptions, suppress
from trtforge.graph.quantize.qdq import place, quantize
from trtforge.graph.quantize.rounding import Rounded
from trtforge.recipe import Decode, Nms, Preprocess

Infer = Callable[[np.ndarray], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Network:
    """A folded float model, the ranges of its activations, and how images become its input.

    Attributes:
        rounded: refined INT8 weights.
        head, figures: of the recipe, for the recogniser.
        nms: what accuracy is measured with.
    """

    model: Path
    amax: Mapping[str, float]
    rounded: Mapping[str, Rounded]
    preprocess: Preprocess
    head: str
    figures: Decode
    nms: Nms

    def open(self, keep: Collection[str] | None) -> Infer:
        """The network with everything but the operators ``keep`` in INT8; None is all float.

        Returns:
            a float32 image (1, 3, H, W) to outputs: of a detector ``boxes`` (1, K, 4) as corners
            and ``scores`` (1, K, C), and those of its NMS; of any other network its own.
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
        found = input_size(graph_of(load(self.model)))
        assert found  # calibration has refused other models
        return found

    @cached_property
    def classes(self) -> int | None:
        """Number of classes of a detector; None if it is none."""
        detection = self._detection(graph_of(load(self.model)))
        return detection.classes if detection else None

    def _detection(self, graph: gs.Graph) -> Detection | None:
        if self.head == "none":
            return None
        return recognise(graph, None if self.head == "auto" else self.head, self.figures)


def escape_pattern(name: str) -> str:
    """A shell pattern that matches this name alone."""
    return "".join(f"[{char}]" if char in "*?[" else char for char in name)


def measure_harm(
    reference: Sequence[dict[str, np.ndarray]], infer: Infer, batches: Sequence[np.ndarray]
) -> float:
    """Noise in the outputs over some images (see ``Harm``)."""
    total = Harm()
    for wanted, batch in zip(reference, batches, strict=True):
        found = infer(batch)
        names = ("boxes", "scores") if "boxes" in wanted else tuple(wanted)
        total.observe({name: wanted[name] for name in names}, {name: found[name] for name in names})
    return total.value


def detect_objects(
    network: Network, infer: Infer, files: Sequence[Path], done: Callable[[int], None]
) -> list[Objects]:
    """What a detector finds on each image, in pixels of the image."""
    size, found = network.size, []
    for number, file in enumerate(files, 1):
        image = read(file)
        outputs = infer(
            normalise(letterbox(image, network.preprocess, size), network.preprocess)[None]
        )
        valid = int(outputs["num_detections"].reshape(-1)[0])
        boxes = to_image(
            outputs["detection_boxes"][0, :valid],
            image.height,
            image.width,
            size,
            network.preprocess,
        )
        scores = outputs["detection_scores"][0, :valid].astype(np.float64)
        found.append(
            Objects(boxes, scores, outputs["detection_classes"][0, :valid].astype(np.int64))
        )
        done(number)
    return found


def classify(
    network: Network, infer: Infer, files: Sequence[Path], done: Callable[[int], None]
) -> np.ndarray:
    """The most likely class of each image: int64 (I,)."""
    size, found = network.size, []
    for number, file in enumerate(files, 1):
        outputs = infer(
            normalise(letterbox(read(file), network.preprocess, size), network.preprocess)[None]
        )
        found.append(int(next(iter(outputs.values())).reshape(-1).argmax()))
        done(number)
    return np.array(found, np.int64)
