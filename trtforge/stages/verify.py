"""engines + images -> figures: how good each is, and how far it is from the first one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from trtforge import gates, present
from trtforge.calibration import images as pictures
from trtforge.errors import ForgeError
from trtforge.evaluate import layers
from trtforge.evaluate.comparison import compare, first_nan
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
    """Run one engine, or several side by side, over a folder of images.

    Of two engines the outputs are compared, too.

    Args:
        paths: ONNX files, TensorRT engines, prepared folders or bundles; the first is the
            reference.
        folder: folder of images.
        labels: COCO JSON for detectors; a CSV for classifiers, or None with one folder for each
            class; masks for segmentation.
        recipe: preprocessing; None is the prepared folder's own, or the default.
        nms: thresholds for raw outputs; None is COCO's, or those inside the other engine.
        per_layer: compare every activation that two graphs share, too.
        limits: limits on the figures; a limit on a figure that will not be measured is refused
            before the work.

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
        remarks=list(dict.fromkeys(line for engine in engines for line in engine.remarks(recipe))),
    )
    thresholds = _thresholds(engines, nms, report)
    measure = task_for(engines, files, folder, labels, thresholds, spec, report)
    same = len(engines) == 2 and engines[0].outputs.keys() == engines[1].outputs.keys()
    gates.check_measurable(limits, len(engines), measure.judged, same)
    with present.progress(f"verifying on {len(files)} images", len(files)) as done:
        for number, file in enumerate(files, 1):
            image = _read(file)
            pixels = pictures.letterbox(image, spec, engines[0].size)
            outputs = [
                engine.infer(pictures.normalise(pixels, engine.preprocess(spec))[None])
                for engine in engines
            ]
            _note_nan(file, outputs, report)
            if same:
                compare(engines[0], outputs[0], outputs[1], report.outputs)
            measure.observe(file, image, outputs)
            done(number)
    measure.finish()
    if per_layer:
        report.layers = _layers(engines, files[:LAYER_IMAGES], spec)
    return report


def _thresholds(engines: list[OpenedModel], nms: Nms | None, report: Verification) -> Nms:
    """Return the thresholds of all engines: those inside one of them, if it has any."""
    inner = [engine.nms for engine in engines if engine.nms]
    if not inner:
        return nms or EVALUATION
    report.remarks.append(
        f"NMS is inside the graph: scores under {inner[0].score:g} are never seen, which lowers mAP"
    )
    return inner[0]


def _spec(engines: list[OpenedModel], recipe: Recipe | None) -> Preprocess:
    """Return how images are prepared: as the user's recipe says, or that of the folders.

    A recipe, or none, is completed with what a single file says of itself.
    """
    alone = [engine.complete(recipe).preprocess for engine in engines if engine.recipe is None]
    if recipe:
        return alone[0] if alone else recipe.preprocess
    specs = [engine.recipe.preprocess for engine in engines if engine.recipe]
    if len(specs) > 1 and specs[0] != specs[1]:
        raise ForgeError(
            "the two folders were prepared with different preprocessing",
            "name the right recipe with --recipe",
        )
    if specs and alone and _but_for_deviations(alone[0]) == _but_for_deviations(specs[0]):
        return alone[0]  # the folder's graphs hold the deviations, and the file's does not
    return specs[0] if specs else alone[0]


def _but_for_deviations(spec: Preprocess) -> Preprocess:
    return spec.model_copy(update={"std": None, "size": None})


def _same_input(engines: list[OpenedModel]) -> None:
    """Refuse engines whose inputs differ in size."""
    sizes = {engine.size for engine in engines}
    if len(sizes) > 1:
        shown = " and ".join(
            f"{engine.path} takes {engine.size[0]}x{engine.size[1]}" for engine in engines
        )
        raise ForgeError(f"the inputs differ: {shown}", "compare engines made from one model")


def _note_nan(file: Path, outputs: list[dict[str, np.ndarray]], report: Verification) -> None:
    """Note the first image on which an engine puts out NaN.

    Comparisons of figures would pass over it: NaN is neither under nor over a limit.
    """
    for name, arrays in zip(report.engines, outputs, strict=True):
        wrong = first_nan(arrays)
        if wrong and not any(line.startswith(f"{name}: ") for line in report.broken):
            report.broken.append(f"{name}: output {wrong!r} is NaN on {file.name}")


def _layers(
    engines: list[OpenedModel], files: list[Path], spec: Preprocess
) -> list[layers.LayerDifference]:
    """Compare the activations that two graphs share."""
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
