"""Limits: what the accuracy of an engine is held to."""

from dataclasses import dataclass
from typing import Annotated, Optional

from trtforge.options.option import Option
from trtforge.options.values import check_range


@dataclass(frozen=True)
class Limits:
    """Limits on accuracy; None is no limit.

    Attributes:
        min_map: smallest mAP50-95, top-1 accuracy or mIoU of every engine, 0..1.
        max_drop: points that any engine may lose from the first one, 0..100.
        min_cosine: smallest cosine between an output of two engines, 0..1.
    """

    min_map: Annotated[
        Optional[float], Option(("--min-map",), help="Gate: mAP50-95 (top-1, mIoU), 0 to 1.")
    ] = None
    max_drop: Annotated[
        Optional[float], Option(("--max-drop",), help="Gate: points lost from the first.")
    ] = None
    min_cosine: Annotated[
        Optional[float],
        Option(("--min-cosine",), help="Gate: cosine of any output beside the reference."),
    ] = None

    def __post_init__(self) -> None:
        ranges = (
            ("--min-map", self.min_map, 1),
            ("--max-drop", self.max_drop, 100),
            ("--min-cosine", self.min_cosine, 1),
        )
        for option, value, high in ranges:
            if value is not None:
                check_range(value, 0, high, option)
