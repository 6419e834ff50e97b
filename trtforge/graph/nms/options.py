"""Options of suppression, and the names of its outputs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import onnx_graphsurgeon as gs

from trtforge.errors import ForgeError

NmsForm = Literal["none", "keep", "onnx", "efficientnms", "deepstream"]
NmsImpl = Literal["auto", "plugin", "onnx"]

OUTPUTS = ("num_detections", "detection_boxes", "detection_scores", "detection_classes")
MAX_DETECTIONS = 3840  # TensorRT's limit on the K of a TopK

Four = tuple[gs.Tensor, gs.Tensor, gs.Tensor, gs.Tensor]  # tensors in the order of OUTPUTS


@dataclass(frozen=True)
class NmsOptions:
    """Limits that decide which detections suppression keeps.

    Attributes:
        score: least score, 0 <= score < 1.
        iou: greatest overlap of two boxes of one class, 0 < iou <= 1.
        max_det: K, the most detections for an image.
        class_agnostic: suppress across classes; a box then counts once, under its best class.
        best_class: a box counts under its best class only; None leaves it to the detector.
    """

    score: float = 0.25
    iou: float = 0.45
    max_det: int = 100
    class_agnostic: bool = False
    best_class: bool | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.score) and 0 <= self.score < 1):
            raise ForgeError(f"NMS score threshold is {self.score}", "--score takes 0 <= score < 1")
        if not (math.isfinite(self.iou) and 0 < self.iou <= 1):
            raise ForgeError(f"NMS IoU threshold is {self.iou}", "--iou takes 0 < iou <= 1")
        if self.max_det != int(self.max_det) or not 1 <= self.max_det <= MAX_DETECTIONS:
            raise ForgeError(
                f"NMS keeps {self.max_det} detections", f"--max-det takes 1 to {MAX_DETECTIONS}"
            )


@dataclass(frozen=True)
class Kept:
    """Detections that suppression kept.

    Attributes:
        four: tensors in the order of OUTPUTS.
        where: int64 `(B, K, 2)`, image and box of each row; None where the rows can't be traced
            back.
        valid: bool `(B, K)`, whether a row holds a detection; None with it.
        rows: K.
    """

    four: Four
    where: gs.Tensor | None
    valid: gs.Tensor | None
    rows: int
