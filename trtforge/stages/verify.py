"""How good an engine is, and how far from another: tensors, boxes, mAP, top-1, mIoU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from trtforge import gates, present
from trtforge.calibration import images as pictures
from trtforge.errors import ForgeError
from trtforge.evaluate import layers
from trtforge.evaluate.metrics import Difference
from trtforge.evaluate.models import OpenedModel, open_model
from trtforge.evaluate.tasks import task_for
from trtforge.evaluate.verification import Verification
from trtforge.options.limits import Limits
from trtforge.recipe import Nms, Preprocess, Recipe

# For mAP every candidate counts, however low its score: COCO's rule. An IoU of 0.65 and 300
# candidates are what published YOLO figures are measured with.
EVALUATION = Nms(score=0.001, iou=0.65, max_det=300)
NO_LIMITS = Limits()
LAYER_IMAGES = 4  # for the comparison of layers: their statistics settle at once


def verify(
    paths: Sequence[Path],
    folder: Path,
    *,
    labels: Path | None,
    recipe: Recipe | None,
    nms: Nms | None,
    per_layer: bool,
    limits: Limits = NO_LIMITS,
) -> Verification:
    """Run one engine, or several side by side, over a folder of images. Two are also compared in
    what they put out.

    Args:
        paths: ONNX files, TensorRT engines, prepared folders or bundles; the first is the
            reference.
        folder: images.
        labels: COCO JSON for detectors, a CSV for classifiers (or none, with a folder a class),
            masks for segmentation.
        recipe: preprocessing; None is the folder's own, or the default.
        nms: thresholds for raw outputs; None is COCO's way, or those inside the other engine.
        per_layer: compare every shared activation too.
        limits: what the report will be held to: refused before the work if it is not going to tell.

    Raises:
        ForgeError: the engines don't fit each other, or the labels don't fit the images or the
            engines.
    """
    engines = [open_model(path, recipe) for path in paths]
    spec = _spec(engines, recipe)
    _same_input(engines)
    files = pictures.list_images(folder)
    report = Verification(
        [str(path) for path in paths],
        len(files),
        remarks=list(dict.fromkeys(engine.note for engine in engines if engine.note)),
    )
    thresholds = _thresholds(engines, nms, report)
    measure = task_for(engines, files, folder, labels, thresholds, spec, report)
    same = len(engines) == 2 and engines[0].outputs.keys() == engines[1].outputs.keys()
    gates.check_measurable(limits, len(engines), measure.judged, same)
    with present.progress(f"verifying on {len(files)} images", len(files)) as done:
        for number, file in enumerate(files, 1):
            image = _read(file)
            pixels = pictures.letterbox(image, spec, engines[0].size)
            found = [
                engine.infer(pictures.normalise(pixels, engine.preprocess(spec))[None])
                for engine in engines
            ]
            _no_number(file, found, report)
            if same:
                _compare(engines[0], found, report)
            measure.observe(file, image, found)
            done(number)
    measure.finish()
    if per_layer:
        report.layers = _layers(engines, files[:LAYER_IMAGES], spec)
    return report


def _thresholds(engines: list[OpenedModel], nms: Nms | None, report: Verification) -> Nms:
    """Both engines are held to the same thresholds: those inside one of them, if it has any."""
    inner = [engine.nms for engine in engines if engine.nms]
    if not inner:
        return nms or EVALUATION
    report.remarks.append(
        f"NMS is inside the graph: scores under {inner[0].score:g} are never seen, which lowers mAP"
    )
    return inner[0]


def _spec(engines: list[OpenedModel], recipe: Recipe | None) -> Preprocess:
    own = [engine.recipe.preprocess for engine in engines if engine.recipe]
    if recipe is None and len(own) > 1 and own[0] != own[1]:
        raise ForgeError(
            "the two folders were prepared with different preprocessing",
            "name the one with --recipe",
        )
    return recipe.preprocess if recipe else own[0] if own else Preprocess()


def _same_input(engines: list[OpenedModel]) -> None:
    sizes = {engine.size for engine in engines}
    if len(sizes) > 1:
        shown = " and ".join(
            f"{engine.path} takes {engine.size[0]}x{engine.size[1]}" for engine in engines
        )
        raise ForgeError(f"the inputs differ: {shown}", "compare engines made from one model")


def _no_number(file: Path, found: list[dict[str, np.ndarray]], report: Verification) -> None:
    """Note the first image on which an engine puts out NaN: comparisons of figures would pass over
    it.
    """
    for name, outputs in zip(report.engines, found, strict=True):
        wrong = [
            output
            for output, values in outputs.items()
            if values.dtype.kind == "f" and np.isnan(values).any()
        ]
        if wrong and not any(line.startswith(f"{name}: ") for line in report.broken):
            report.broken.append(f"{name}: output {wrong[0]!r} is NaN on {file.name}")


def _compare(engine: OpenedModel, found: list[dict[str, np.ndarray]], report: Verification) -> None:
    for name, reference in found[0].items():
        other = found[1][name]
        if reference.shape != other.shape:
            raise ForgeError(
                f"output {name!r} is {reference.shape} in one engine and {other.shape} in the other",
                "compare engines made from one model",
            )
        if engine.detection and name in engine.detection.outputs:
            parts = zip(_parts(reference, name, engine), _parts(other, name, engine), strict=True)
            for (label, one), (_, two) in parts:
                report.outputs.setdefault(label, Difference()).observe(one, two)
        else:
            report.outputs.setdefault(name, Difference()).observe(reference, other)


def _parts(output: np.ndarray, name: str, engine: OpenedModel) -> list[tuple[str, np.ndarray]]:
    """Boxes and scores apart: box coordinates are mostly the grid, and drown whatever happens to
    the scores.
    """
    if engine.detection is None or len(engine.detection.outputs) > 1:
        return [(name, output)]
    rows = output.transpose(0, 2, 1) if engine.detection.axes[0] == 1 else output
    return [(f"{name}: boxes", rows[..., :4]), (f"{name}: scores", rows[..., 4:])]


def _layers(
    engines: list[OpenedModel], files: list[Path], spec: Preprocess
) -> list[layers.LayerDifference]:
    if len(engines) != 2 or engines[0].graph is None or engines[1].graph is None:
        raise ForgeError("--per-layer compares two graphs", "give two ONNX files or folders")
    batches = [pictures.prepare(file, spec, engines[0].size) for file in files]
    return layers.compare(engines[0].graph, engines[1].graph, batches)


def _read(file: Path) -> Image.Image:
    try:
        return pictures.read(file)
    except pictures.CorruptImage as error:
        raise ForgeError(
            str(error), "remove it, or give a whole copy: accuracy counts every image"
        ) from error
