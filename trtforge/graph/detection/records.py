"""Records of a recognised detector: its outputs, and all that decoding them needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from trtforge.recipe import Decode, HeadForm

Coding = Literal["centre", "corners"]
Unit = Literal["pixels", "fraction"]
Order = Literal["xy", "yx"]
Activation = Literal["none", "sigmoid", "softmax"]
Background = Literal["first", "last"]
Sure = Literal["certain", "likely", "told"]
Size = tuple[int, int]
# Rows hold 4 box channels, then objectness where the form has it; or scores are an output apart.
FIRST_CLASS: dict[HeadForm, int] = {"objectness": 5, "anchor-free": 4, "boxes-scores": 0}


@dataclass(frozen=True)
class Extra:
    """Data that belongs to each box, beside its place and scores.

    Attributes:
        name: ``coefficients`` of masks, ``keypoints``, ``angle`` (radians, about the box's centre)
            or ``landmarks``.
        output: index into ``Detection.outputs``.
        low, high: its channels there.
    """

    name: str
    output: int
    low: int
    high: int


@dataclass(frozen=True)
class Geometry:
    """The meaning of four box channels.

    Attributes:
        coding: "centre" is cx, cy, w, h and "corners" is x1, y1, x2, y2.
        unit: of the network's input: pixels, or fractions of its width and height.
        order: "yx" has each pair the other way round.
    """

    coding: Coding = "centre"
    unit: Unit = "pixels"
    order: Order = "xy"


@dataclass(frozen=True)
class Detection:
    """A detector's outputs, as found in the graph.

    Attributes:
        form: see the module of that name: what the outputs are and how they become boxes and
            scores.
        outputs: the tensors' names, in the form's order.
        axes: of each output, the axis on which its channels lie.
        geometry: of decoded boxes.
        boxes: N, or None where the input's height or width is dynamic.
        classes: C, without background; None where the model hands out class numbers, and not how
            many there are.
        size: (height, width) of the input, or None where dynamic.
        why: the evidence, in one sentence.
        sure: "certain" where the graph proves it, "told" where the recipe says it, and "likely"
            where shapes fit but something decides that the graph does not show.
        ask: for "likely", what decides.
        activation: that scores still need.
        background: which class is none, and is dropped.
        extras: what follows each box.
        kept: outputs that stay beside the detections, such as prototypes of masks.
        suppress: whether boxes still overlap; without, they only have to be ranked.
        best_class: whether a box counts under its best class only, as in the NMS that was there.
        decode: the recipe's figures, for forms whose decode is not in the graph.
    """

    form: HeadForm
    outputs: tuple[str, ...]
    axes: tuple[int, ...]
    geometry: Geometry
    boxes: int | None
    classes: int | None
    size: Size | None
    why: str
    sure: Sure = "certain"
    ask: str = ""
    activation: Activation = "none"
    background: Background | None = None
    extras: tuple[Extra, ...] = ()
    kept: tuple[str, ...] = ()
    suppress: bool = True
    best_class: bool = False
    decode: Decode = field(default_factory=Decode)

    @property
    def coding(self) -> Coding:
        return self.geometry.coding

    @property
    def is_plain(self) -> bool:
        """Tell whether the outputs are boxes in pixels and final scores, and nothing else."""
        return (
            self.form in FIRST_CLASS
            and self.sure != "likely"
            and self.classes is not None
            and self.geometry == Geometry(self.coding)
            and set(self.axes) <= {1, 2}
            and self.activation == "none"
            and self.background is None
            and not self.extras
        )

    @property
    def first_class(self) -> int:
        """Return the channel of the first class in the output that holds the scores.

        Raises:
            KeyError: the form's scores are not beside decoded boxes (see ``is_plain``).
        """
        return FIRST_CLASS[self.form]

    @property
    def score_channels(self) -> int:
        """Return the number of classes, and one more where there is a background."""
        return (self.classes or 0) + (self.background is not None)
