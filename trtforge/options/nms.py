"""Nms: the suppression of overlapping boxes that is put into a graph."""

from dataclasses import dataclass
from typing import Annotated, Optional

from trtforge.options.option import Option

Score = Annotated[Optional[float], Option(help="Lowest score of a detection, 0 to 1.")]
Iou = Annotated[
    Optional[float], Option(help="Largest overlap (IoU) of two detections of a class, 0 to 1.")
]
MaxDet = Annotated[
    Optional[int], Option(("--max-det",), help="Largest number of detections in an image.")
]
ClassAgnostic = Annotated[bool, Option(("--class-agnostic",), help="Suppress across classes.")]
BestClass = Annotated[
    Optional[bool],
    Option(
        ("--best-class/--every-class",),
        help="Count a box under its best class only, or under every class above the score.",
    ),
]
Implementation = Annotated[
    str,
    Option(("--nms-impl",), help="Implementation of the NMS for deepstream: auto, plugin or onnx."),
]


@dataclass(frozen=True)
class Nms:
    """Form, implementation and thresholds of the NMS; None leaves a threshold to the recipe."""

    nms: Annotated[
        str,
        Option(
            ("--nms",),
            help="auto, none, keep, onnx, efficientnms, deepstream. TensorRT-RTX's own graph never "
            "has any: it can build none.",
        ),
    ] = "auto"
    nms_impl: Implementation = "auto"
    score: Score = None
    iou: Iou = None
    max_det: MaxDet = None
    class_agnostic: ClassAgnostic = False
    best_class: BestClass = None


def nms_of(value: Nms | str) -> Nms:
    """Return the options that the name of a form, such as "none", stands for."""
    return value if isinstance(value, Nms) else Nms(value)
