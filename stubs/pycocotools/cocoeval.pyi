from typing import TypedDict

from numpy import float64
from numpy.typing import NDArray
from pycocotools.coco import COCO

class ImageEvaluation(TypedDict):
    dtMatches: NDArray[float64]
    dtIgnore: NDArray[float64]
    dtScores: list[float]
    gtIgnore: NDArray[float64]

class Params:
    imgIds: list[int]
    iouThrs: NDArray[float64]
    areaRng: list[list[float]]
    areaRngLbl: list[str]
    maxDets: list[int]

class COCOeval:
    params: Params
    evalImgs: list[ImageEvaluation | None]
    stats: NDArray[float64]
    def __init__(self, cocoGt: COCO, cocoDt: COCO, iouType: str) -> None: ...
    def evaluate(self) -> None: ...
    def accumulate(self) -> None: ...
    def summarize(self) -> None: ...
