"""Hold what a verification measured."""

from __future__ import annotations

from dataclasses import dataclass, field

from typing_extensions import TypedDict

from trtforge.evaluate.layers import LayerDifference
from trtforge.evaluate.metrics import Difference, DifferenceJson


class AgreementJson(TypedDict):
    """Objects that both of two engines detect, and objects that at least one detects."""

    both: int
    either: int


class LayerJson(DifferenceJson):
    """The difference of one activation, see ``trtforge.evaluate.layers``."""

    tensor: str
    node: str
    added_noise: float


class VerificationJson(TypedDict):
    """The document that ``trtforge verify --json`` prints; ``drop_points`` are ``drops``."""

    engines: list[str]
    images: int
    outputs: dict[str, DifferenceJson]
    agreement: AgreementJson | None
    metric: str
    accuracy: list[float]
    more: dict[str, list[float]]
    drop_points: list[float]
    drop_interval: list[tuple[float, float]]
    layers: list[LayerJson]
    remarks: list[str]


@dataclass
class Verification:
    """Measured results: accuracies are from 0 to 1, drops are points (hundredths).

    Attributes:
        engines: as the user named them; the first is the reference.
        images: number of images.
        outputs: difference of each output between two engines, by name.
        agreement: number of objects that both of two engines detect, and number of objects that at
            least one detects.
        metric: mAP50-95, top-1 or mIoU, where there are labels.
        accuracy: that metric, for each engine.
        intervals: for each engine after the first, the 95 % interval of the points it lost.
        more: a second metric (mAP50, top-5) by name, for each engine.
        layers: difference of each activation that two graphs have in common.
        broken: engines with NaN in an output, and the first image on which it occurs.
        remarks: notes for the user.
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
        """The points that each engine after the first lost against the first."""
        return [(self.accuracy[0] - accuracy) * 100 for accuracy in self.accuracy[1:]]

    def document(self) -> VerificationJson:
        """Return the figures for JSON."""
        agreement: AgreementJson | None = None
        if self.agreement:
            agreement = {"both": self.agreement[0], "either": self.agreement[1]}
        return {
            "engines": self.engines,
            "images": self.images,
            "outputs": {name: output.document() for name, output in self.outputs.items()},
            "agreement": agreement,
            "metric": self.metric,
            "accuracy": self.accuracy,
            "more": self.more,
            "drop_points": self.drops,
            "drop_interval": self.intervals,
            "layers": [
                {
                    "tensor": layer.tensor,
                    "node": layer.node,
                    "added_noise": layer.added,
                    **layer.difference.document(),
                }
                for layer in self.layers
            ],
            "remarks": [*self.broken, *self.remarks],
        }
