"""Facts that stages found out about a model, as the manifest of an output folder holds them.

The stages ``fold``, ``patch`` and ``build`` return these records. They are defined here, because a
prepared folder is read back by code that knows no stages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Union

from trtforge.store.codec import OMIT_NONE

Dims = tuple[Union[int, str], ...]  # numbers for fixed dimensions, names for dynamic ones


@dataclass(frozen=True)
class DetectorFacts:
    """The detector that was recognised among the outputs.

    Attributes:
        form: form of the outputs (see ``trtforge.graph.detection``).
        classes: number of classes; None where the graph does not show it.
        boxes: number of boxes; None where the input's size is dynamic.
        why: the evidence, in one sentence.
        extras: what follows each box: coefficients (of masks), keypoints, angle or landmarks.
    """

    form: str
    classes: int | None
    boxes: int | None
    why: str
    extras: tuple[str, ...] = ()


@dataclass(frozen=True)
class NmsLimits:
    """Thresholds of the NMS that a model brought along; None where the graph does not show one.

    Attributes:
        score, iou, max_det, class_agnostic: see the recipe's section ``nms``.
        best_class: whether it saw a box under its best class only.
    """

    score: float | None = None
    iou: float | None = None
    max_det: int | None = None
    class_agnostic: bool = False
    best_class: bool = False


@dataclass(frozen=True)
class FoldFacts:
    """Facts that folding found out about a model.

    Attributes:
        nodes_before, nodes: number of nodes of the original and of the folded model.
        input: name of the input; None unless the model has exactly one image input.
        size: height and width of the input in pixels; None without an image input.
        batch: batch of the input; None if it is dynamic.
        outputs: dimensions of every output, by name.
        typed: the original holds Q/DQ nodes or FP16 weights.
        stripped_nms: operator of the model's own NMS that was cut away; None if there was none.
        kept_nms: operator of the model's own NMS that stays; None if there is none.
        stripped_limits: its thresholds, where the NMS that is put back takes them.
        detection: the detector that was recognised; None if there is none.
        likely: what the outputs may be, and what would decide it; empty if they look like nothing.
        too_large: names of nodes that are constant, and too large to be folded.
        image: dimensions of the input before folding; None unless it is exactly one image.
        frozen: height and width that dynamic ones of the only image became; None if they were fixed.
        features: each output of the original is a vector that describes a picture, without
            classes: folding may take away what shows it.
        patches: side in pixels of the patches that the first convolution cuts the image into, as in
            a transformer; None where it does not.
    """

    nodes_before: int = 0
    nodes: int = 0
    input: str | None = None
    size: tuple[int, int] | None = None
    batch: int | None = None
    outputs: Mapping[str, Dims] = field(default_factory=dict)
    typed: bool = False
    stripped_nms: str | None = None
    kept_nms: str | None = field(default=None, metadata=OMIT_NONE)
    stripped_limits: NmsLimits | None = field(default=None, metadata=OMIT_NONE)
    detection: DetectorFacts | None = None
    likely: str = ""
    too_large: tuple[str, ...] = ()
    image: Dims | None = None
    frozen: tuple[int, int] | None = None
    features: bool = False
    patches: int | None = None

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the input in pixels; 0 while they are not known."""
        return self.size or (0, 0)


@dataclass(frozen=True)
class TensorFacts:
    """An output of a patched graph; None for what the graph does not say."""

    name: str
    dtype: str | None
    shape: tuple[int | str | None, ...] | None


@dataclass(frozen=True)
class PatchFacts:
    """Changes that patching made in a graph.

    Attributes:
        form: form of the NMS: none, keep, onnx, efficientnms or deepstream.
        impl: what the NMS is made of, plugin or onnx; None without NMS.
        classes, boxes: of the detector; None without one.
        parser: name of the function of DeepStream that reads the outputs; None if none fits.
        outputs: the outputs of the patched graph.
        dropped: names of the model's outputs that are gone.
        why: the evidence for a detector; None without one.
        enlarged: how many times larger along its sides a coarse map of classes became.
    """

    form: str = ""
    impl: str | None = None
    classes: int | None = None
    boxes: int | None = None
    parser: str | None = None
    outputs: tuple[TensorFacts, ...] = ()
    dropped: tuple[str, ...] = ()
    why: str | None = None
    enlarged: int = 1


@dataclass(frozen=True)
class BuildFacts:
    """Facts about a built engine.

    Attributes:
        backend: the backend that built it.
        sm: compute capability that it was built for; None for a CPU.
        engine_bytes: size of the engine.
        layers: number of layers.
        crossing_bytes: bytes that layers hand to each other, by datatype.
        built: what made the engine, and for which GPU.
        convolutions: number of learned convolutions.
        quantized_convolutions: number of those that carry Q/DQ.
        int8_convolutions: number of those that are computed with 8-bit inputs.
        scratch_bytes, activation_bytes, weight_bytes: memory, where the builder tells it.
    """

    backend: str = ""
    sm: int | None = None
    engine_bytes: int = 0
    layers: int = 0
    crossing_bytes: Mapping[str, int] = field(default_factory=dict)
    built: Mapping[str, bool | int | str | None] = field(default_factory=dict)
    convolutions: int = 0
    quantized_convolutions: int = 0
    int8_convolutions: int = 0
    scratch_bytes: int | None = field(default=None, metadata=OMIT_NONE)
    activation_bytes: int | None = field(default=None, metadata=OMIT_NONE)
    weight_bytes: int | None = field(default=None, metadata=OMIT_NONE)


@dataclass(frozen=True)
class OutputFacts:
    """How far an output of an engine is from the reference; None for what is not a number.

    Attributes:
        pearson, cosine: correlation and similarity, up to 1.
        sqnr_db: signal-to-noise ratio in dB; None also where nothing differs.
    """

    pearson: float | None
    cosine: float | None
    sqnr_db: float | None


@dataclass(frozen=True)
class EngineCheck:
    """What came of running an engine on a few images, beside a graph in ONNX Runtime.

    Attributes:
        precision: that of the engine.
        reference: what it is compared with, in words.
        images: number of images.
        drawn: the images are drawn, since none were given.
        outputs: the difference of each output, a detector's boxes and scores apart; of an NMS
            inside the engine the scores alone, best first.
        both, either: number of objects that both find, and that at least one finds; None where
            no NMS is inside.
        not_finite: name of an output of the engine that holds NaN; None if none does.
    """

    precision: str = ""
    reference: str = ""
    images: int = 0
    drawn: bool = False
    outputs: Mapping[str, OutputFacts] = field(default_factory=dict)
    both: int | None = field(default=None, metadata=OMIT_NONE)
    either: int | None = field(default=None, metadata=OMIT_NONE)
    not_finite: str | None = field(default=None, metadata=OMIT_NONE)
