"""What verification measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from trtforge.evaluate.layers import LayerDifference
from trtforge.evaluate.metrics import Difference


@dataclass
class Verification:
    """What was measured; figures are shares of 1, drops are points (hundredths).

    Attributes:
        engines: as the user named them, the first is the reference.
        images: number of images.
        outputs: difference of each output between two engines, by name.
        agreement: pairs of objects that both of two engines find, and objects that either finds.
        metric: mAP50-95, top-1 or mIoU, where there are labels.
        accuracy: that metric, for each engine.
        intervals: for each engine after the first, the 95 % interval of the points it lost.
        more: a second metric (mAP50, top-5) by name, for each engine.
        layers: difference of each shared activation.
        broken: engines that put out NaN, and on which image first.
        remarks: for the user.
    """

    engines: list[str]
    images: int
    outputs: dict[str, Difference] = field(default_factory=dict)
    agreement: tuple[int, int] | None = None
    metric: str = ""
    accuracy: list[float] = field(default_factory=list)
    intervals: list[tuple[float, float]] = field(default_factory=list)
    more: dict[str, list[float]] = field(default_factory=dict)
    layers: list[LayerDifference] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def drops(self) -> list[float]:
        """Points lost from the first engine to each of the others."""
        return [(self.accuracy[0] - each) * 100 for each in self.accuracy[1:]]

    def document(self) -> dict[str, Any]:
        return {
            "engines": self.engines,
            "images": self.images,
            "outputs": {name: each.document() for name, each in self.outputs.items()},
            "agreement": self.agreement
            and {"both": self.agreement[0], "either": self.agreement[1]},
            "metric": self.metric,
            "accuracy": self.accuracy,
            "more": self.more,
            "drop_points": self.drops,
            "drop_interval": self.intervals,
            "layers": [
                {
                    "tensor": each.tensor,
                    "node": each.node,
                    "added_noise": each.added,
                    **each.difference.document(),
                }
                for each in self.layers
            ],
            "remarks": [*self.broken, *self.remarks],
        }
