"""What is measured on each image: objects, classes or pixels, against labels where there are any."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from trtforge.calibration import images as pictures
from trtforge.errors import ForgeError
from trtforge.evaluate import bootstrap, classes, coco
from trtforge.evaluate.detections import Objects, agreement, finder, to_image
from trtforge.evaluate.models import OpenedModel
from trtforge.evaluate.verification import Verification
from trtforge.graph.nms import OUTPUTS
from trtforge.recipe import Nms, Preprocess

AGREEMENT_SCORE = 0.25  # objects below are not shown to anybody
Outputs = Sequence[dict[str, np.ndarray]]


@dataclass(frozen=True)
class Task:
    """What is measured on each image, and what comes of it in the end; ``judged`` by labels or not."""

    observe: Callable[[Path, Image.Image, Outputs], None]
    finish: Callable[[], None]
    judged: bool = True


def task_for(
    engines: list[OpenedModel],
    files: list[Path],
    folder: Path,
    labels: Path | None,
    nms: Nms,
    spec: Preprocess,
    report: Verification,
) -> Task:
    names = (
        pictures.label_names(files, folder) if labels else pictures.relative_names(files, folder)
    )
    detectors = [
        bool(engine.detection) or set(OUTPUTS) <= set(engine.outputs) for engine in engines
    ]
    if all(detectors):
        return _detection(engines, dict(zip(files, names, strict=True)), labels, nms, spec, report)
    if any(detectors):
        odd = engines[detectors.index(not detectors[0])].path
        raise ForgeError(
            f"{engines[0].path} and {odd}: one is a detector, the other is not",
            "compare engines made from one model",
        )
    shape = _one_shape(engines)
    if len(shape) == 3 and labels is not None:
        return _segmentation(files, labels, int(shape[0]), report)
    if len(shape) == 1 and (labels is not None or any(file.parent != folder for file in files)):
        return _classification(files, folder, labels, int(shape[0]), report)
    if labels is not None:
        raise ForgeError(
            f"{engines[0].path}: neither detector, classifier nor segmentation: labels are of no use",
            "drop --labels to compare tensors only",
        )
    return Task(lambda file, image, found: None, lambda: None, judged=False)


def _detection(
    engines: list[OpenedModel],
    names: dict[Path, str],
    labels: Path | None,
    nms: Nms,
    spec: Preprocess,
    report: Verification,
) -> Task:
    counts = sorted(
        {
            engine.detection.classes
            for engine in engines
            if engine.detection and engine.detection.classes
        }
    )
    if len(counts) > 1:
        raise ForgeError(
            f"the engines tell apart {' and '.join(map(str, counts))} classes",
            "compare engines made from one model",
        )
    truth = coco.read(labels, list(names.values())) if labels else None
    if truth and counts and len(truth.categories) != counts[0]:
        raise ForgeError(
            f"{labels}: {len(truth.categories)} categories, but the model has {counts[0]} classes",
            "give the labels that the model was trained with",
        )
    find = [finder(engine, nms) for engine in engines]
    found: list[dict[str, Objects]] = [{} for _ in engines]
    common: list[tuple[int, int]] = []

    def observe(file: Path, image: Image.Image, outputs: Outputs) -> None:
        for index, engine in enumerate(engines):
            boxes, scores, labels_found = find[index](outputs[index])
            inside = to_image(boxes, image.height, image.width, engine.size, spec)
            found[index][names[file]] = Objects(inside, scores, labels_found)
        if len(engines) == 2:
            one, other = (each[names[file]].above(AGREEMENT_SCORE) for each in found)
            common.append(agreement(one, other))

    def finish() -> None:
        if common:
            report.agreement = sum(both for both, _ in common), sum(either for _, either in common)
        if truth:
            matches = [coco.match(truth, each) for each in found]
            figures = [each.mean_average_precision() for each in matches]
            report.intervals = [_interval(matches[0], each) for each in matches[1:]]
            report.metric = "mAP50-95"
            report.accuracy = [strict for strict, _ in figures]
            report.more["mAP50"] = [loose for _, loose in figures]

    return Task(observe, finish, judged=truth is not None)


def _classification(
    files: list[Path], folder: Path, labels: Path | None, count: int, report: Verification
) -> Task:
    truth = (
        classes.from_csv(labels, files, count)
        if labels
        else classes.from_folders(folder, files, count)
    )
    known = dict(zip(files, truth, strict=True))
    ranks: list[list[int]] = []

    def observe(file: Path, image: Image.Image, outputs: Outputs) -> None:
        ranks.append([classes.rank(next(iter(each.values())), known[file]) for each in outputs])

    def finish() -> None:
        table = np.array(ranks)
        lost = (table[:, :1] < 1).astype(float) - (table[:, 1:] < 1)
        report.intervals = [_mean_interval(row) for row in lost.T]
        report.metric = "top-1"
        report.accuracy = [float(share) for share in (table < 1).mean(0)]
        report.more["top-5"] = [float(share) for share in (table < 5).mean(0)]

    return Task(observe, finish, True)


def _segmentation(files: list[Path], masks: Path, count: int, report: Verification) -> Task:
    confusion = [classes.Confusion(count) for _ in report.engines]

    def observe(file: Path, image: Image.Image, outputs: Outputs) -> None:
        truth = classes.mask(masks, file, count)
        for table, each in zip(confusion, outputs, strict=True):
            predicted = next(iter(each.values()))[0].argmax(0).astype(np.uint8)
            grown = Image.fromarray(predicted).resize(truth.shape[::-1], Image.Resampling.NEAREST)
            table.observe(truth, np.asarray(grown))

    def finish() -> None:
        report.metric = "mIoU"
        report.accuracy = [table.mean_iou for table in confusion]

    return Task(observe, finish, True)


def _interval(reference: coco.Matches, other: coco.Matches) -> tuple[float, float]:
    def drop(counts: np.ndarray) -> float:
        return 100 * (
            reference.mean_average_precision(counts)[0] - other.mean_average_precision(counts)[0]
        )

    return bootstrap.interval(drop, reference.images)


def _mean_interval(lost: np.ndarray) -> tuple[float, float]:
    return bootstrap.interval(lambda counts: 100 * float(counts @ lost) / len(lost), len(lost))


def _one_shape(engines: list[OpenedModel]) -> tuple[int | str, ...]:
    """The dimensions of the only output, which both engines have."""
    shapes = [list(engine.outputs.values()) for engine in engines]
    if any(each != shapes[0] for each in shapes):
        shown = " and ".join(str([list(shape) for shape in each]) for each in shapes)
        raise ForgeError(f"the outputs differ: {shown}", "compare engines made from one model")
    return shapes[0][0] if len(shapes[0]) == 1 else ()
