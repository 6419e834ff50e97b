"""Measure objects, classes or pixels on each image, against labels where there are any."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trtforge.calibration import images as pictures
from trtforge.errors import ForgeError
from trtforge.evaluate import average_precision, bootstrap, classes, coco
from trtforge.evaluate.detections import Objects, agreement, finder, to_image
from trtforge.evaluate.models import Array, OpenedModel
from trtforge.evaluate.verification import Verification
from trtforge.graph.nms import OUTPUTS
from trtforge.recipe import Nms, Preprocess

AGREEMENT_SCORE = 0.25  # objects with a lower score are not shown to anybody
ONE_MODEL = "compare engines made from one model"
Outputs = Sequence[dict[str, Array]]  # of each engine, for one image


@dataclass(frozen=True)
class Task:
    """A measurement on each image, and its result at the end.

    Attributes:
        observe: takes an image's file, the image, and the outputs of all engines for it.
        finish: writes the figures into the verification.
        judged: whether there are labels.
    """

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
    """Return what can be measured of the engines on a folder of images.

    Raises:
        ForgeError: the engines don't fit each other, or the labels don't fit engines or images.
    """
    names = (
        pictures.label_names(files, folder) if labels else pictures.relative_names(files, folder)
    )
    detectors = [
        bool(engine.detection) or set(OUTPUTS) <= set(engine.outputs) for engine in engines
    ]
    if all(detectors):
        name_of = dict(zip(files, names, strict=True))
        return _detection(engines, name_of, labels, nms, spec, report)
    if any(detectors):
        other = engines[detectors.index(not detectors[0])].path
        raise ForgeError(
            f"{engines[0].path} and {other}: one is a detector, the other is not", ONE_MODEL
        )
    shape = _only_shape(engines)
    if len(shape) == 3 and labels is not None:
        return _segmentation(files, labels, int(shape[0]), report)
    if len(shape) == 1 and (labels is not None or any(file.parent != folder for file in files)):
        return _classification(files, folder, labels, int(shape[0]), report)
    if labels is not None:
        raise ForgeError(
            f"{engines[0].path}: not a detector, classifier or segmentation, so labels have no use",
            "drop --labels to compare tensors only",
        )
    return Task(lambda file, image, outputs: None, lambda: None, judged=False)


def _detection(
    engines: list[OpenedModel],
    name_of: Mapping[Path, str],
    labels: Path | None,
    nms: Nms,
    spec: Preprocess,
    report: Verification,
) -> Task:
    truth = coco.read(labels, list(name_of.values())) if labels else None
    _check_classes(engines, labels, truth)
    finders = [finder(engine, nms) for engine in engines]
    objects: list[dict[str, Objects]] = [{} for _ in engines]
    pairs: list[tuple[int, int]] = []

    def observe(file: Path, image: Image.Image, outputs: Outputs) -> None:
        name = name_of[file]
        for index, engine in enumerate(engines):
            boxes, scores, labels_of_boxes = finders[index](outputs[index])
            inside = to_image(boxes, image.height, image.width, engine.size, spec)
            objects[index][name] = Objects(inside, scores, labels_of_boxes)
        if len(engines) == 2:
            one, other = (of_engine[name].above(AGREEMENT_SCORE) for of_engine in objects)
            pairs.append(agreement(one, other))

    def finish() -> None:
        if pairs:
            report.agreement = sum(both for both, _ in pairs), sum(either for _, either in pairs)
        if truth:
            matches = [average_precision.match(truth, of_engine) for of_engine in objects]
            figures = [of_engine.mean_average_precision() for of_engine in matches]
            report.intervals = [_map_interval(matches[0], other) for other in matches[1:]]
            report.metric = "mAP50-95"
            report.accuracy = [strict for strict, _ in figures]
            report.more["mAP50"] = [loose for _, loose in figures]

    return Task(observe, finish, judged=truth is not None)


def _check_classes(
    engines: list[OpenedModel], labels: Path | None, truth: coco.Truth | None
) -> None:
    """Refuse detectors and labels with different numbers of classes."""
    detections = [engine.detection for engine in engines if engine.detection]
    counts = sorted({detection.classes for detection in detections if detection.classes})
    if len(counts) > 1:
        raise ForgeError(
            f"the engines have different numbers of classes: {' and '.join(map(str, counts))}",
            ONE_MODEL,
        )
    if truth and counts and len(truth.categories) != counts[0]:
        raise ForgeError(
            f"{labels}: {len(truth.categories)} categories, but the model has {counts[0]} classes",
            "give the labels that the model was trained with",
        )


def _classification(
    files: list[Path], folder: Path, labels: Path | None, count: int, report: Verification
) -> Task:
    if labels:
        truth = classes.from_csv(labels, files, count)
    else:
        truth = classes.from_folders(folder, files, count)
    class_of = dict(zip(files, truth, strict=True))
    ranks: list[list[int]] = []  # of the true class, by image and engine

    def observe(file: Path, image: Image.Image, outputs: Outputs) -> None:
        scores = [next(iter(of_engine.values())) for of_engine in outputs]
        ranks.append([classes.rank(of_engine, class_of[file]) for of_engine in scores])

    def finish() -> None:
        table = np.array(ranks)
        right: NDArray[np.bool_] = table < 1
        lost = right[:, :1].astype(float) - right[:, 1:]
        report.intervals = [_mean_interval(losses) for losses in lost.T]
        report.metric = "top-1"
        report.accuracy = [float(share) for share in right.mean(0)]
        report.more["top-5"] = [float(share) for share in (table < 5).mean(0)]

    return Task(observe, finish, True)


def _segmentation(files: list[Path], masks: Path, count: int, report: Verification) -> Task:
    confusions = [classes.Confusion(count) for _ in report.engines]

    def observe(file: Path, image: Image.Image, outputs: Outputs) -> None:
        truth = classes.mask(masks, file, count)
        for confusion, of_engine in zip(confusions, outputs, strict=True):
            predicted = next(iter(of_engine.values()))[0].argmax(0).astype(np.uint8)
            height, width = truth.shape
            grown = Image.fromarray(predicted).resize((width, height), Image.Resampling.NEAREST)
            confusion.observe(truth, np.asarray(grown))

    def finish() -> None:
        report.metric = "mIoU"
        report.accuracy = [confusion.mean_iou for confusion in confusions]

    return Task(observe, finish, True)


def _map_interval(
    reference: average_precision.Matches, other: average_precision.Matches
) -> tuple[float, float]:
    """Return the 95 % interval of the points of mAP50-95 that an engine lost."""

    def drop(counts: NDArray[np.float64]) -> float:
        before, _ = reference.mean_average_precision(counts)
        after, _ = other.mean_average_precision(counts)
        return 100 * (before - after)

    return bootstrap.interval(drop, reference.images)


def _mean_interval(lost: NDArray[np.float64]) -> tuple[float, float]:
    """Return the 95 % interval of the mean loss, in points."""
    return bootstrap.interval(lambda counts: 100 * float(counts @ lost) / len(lost), len(lost))


def _only_shape(engines: list[OpenedModel]) -> tuple[int | str, ...]:
    """Return the dimensions of the only output; empty if there are several outputs."""
    shapes = [list(engine.outputs.values()) for engine in engines]
    if any(shape != shapes[0] for shape in shapes):
        shown = " and ".join(str([list(dims) for dims in shape]) for shape in shapes)
        raise ForgeError(f"the outputs differ: {shown}", ONE_MODEL)
    return shapes[0][0] if len(shapes[0]) == 1 else ()
