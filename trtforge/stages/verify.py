"""engines + images -> figures: how good each is, and how far it is from the first one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trtforge import gates, present
from trtforge.calibration import images as pictures
from trtforge.errors import ForgeError
from trtforge.evaluate import layers
from trtforge.evaluate.comparison import compare, first_nan
from trtforge.evaluate.models import OpenedModel, open_model
from trtforge.evaluate.runs import Arrays, Runs
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
    kept: Runs | None = None,
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
        kept: gets what the engines take and return; None: it is not kept.

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
    if kept and len({engine.preprocess(spec).std for engine in engines}) > 1:
        report.remarks.append(
            f"saved inputs are those of {paths[0]}: not all engines divide by deviations themselves"
        )
    with present.progress(f"verifying on {len(files)} images", len(files)) as done:
        for number, file in enumerate(files, 1):
            image = _read(file)
            pixels = pictures.letterbox(image, spec, engines[0].size)
            feeds = [
                pictures.normalise(pixels, engine.preprocess(spec))[None] for engine in engines
            ]
            outputs = _run(engines, feeds, kept)
            if kept:
                kept.check_size(len(files))
            _note_nan(file.name, outputs, report)
            if same:
                compare(engines[0], outputs[0], outputs[1], report.outputs)
            measure.observe(file, image, outputs)
            done(number)
    measure.finish()
    if per_layer:
        size = engines[0].size
        batches = [pictures.prepare(file, spec, size) for file in files[:LAYER_IMAGES]]
        report.layers = _layers(engines, batches)
    return report


def rerun(
    paths: Sequence[Path],
    inputs: Sequence[Arrays],
    *,
    recipe: Recipe | None,
    per_layer: bool,
    limits: Limits = NO_LIMITS,
    kept: Runs | None = None,
) -> Verification:
    """Run one engine, or several side by side, on saved inputs; compare the outputs of two.

    Args:
        inputs: what the network takes, by name, for each run.
        recipe, per_layer, limits, kept: see ``verify``.

    Raises:
        ForgeError: the engines don't fit each other or the inputs.
    """
    engines = [open_model(path, recipe) for path in paths]
    _same_input(engines)
    report = Verification(
        [str(path) for path in paths],
        len(inputs),
        remarks=[engine.note for engine in engines if engine.note],
    )
    same = len(engines) == 2 and engines[0].outputs.keys() == engines[1].outputs.keys()
    gates.check_measurable(limits, len(engines), False, same)
    with present.progress(f"verifying on {len(inputs)} inputs", len(inputs)) as done:
        for number, run in enumerate(inputs, 1):
            outputs = _run(engines, [_input(run, engine) for engine in engines], kept)
            if kept:
                kept.check_size(len(inputs))
            _note_nan(f"input {number}", outputs, report)
            if same:
                compare(engines[0], outputs[0], outputs[1], report.outputs)
            done(number)
    if per_layer:
        batches = [_input(run, engines[0]) for run in inputs[:LAYER_IMAGES]]
        report.layers = _layers(engines, batches)
    return report


def _run(
    engines: Sequence[OpenedModel], feeds: Sequence[NDArray[np.float32]], kept: Runs | None
) -> list[Arrays]:
    """Return the outputs of each engine, and keep what went in and came out as the files have it.

    Raises:
        ForgeError: what is kept would differ from what the network takes.
    """
    if kept is None:
        return [engine.infer(feed) for engine, feed in zip(engines, feeds, strict=True)]
    for engine in engines:
        if engine.batch > 1:
            raise ForgeError(
                f"{engine.path}: takes {engine.batch} images at least, and one is saved",
                "drop --save-inputs and --save-outputs, or make it with a dynamic batch",
            )
    raw = [engine.run(feed) for engine, feed in zip(engines, feeds, strict=True)]
    kept.inputs.append({engines[0].image: feeds[0]})
    kept.outputs.append(raw)
    return [engine.form(outputs) for engine, outputs in zip(engines, raw, strict=True)]


def _input(run: Arrays, engine: OpenedModel) -> NDArray[np.float32]:
    """Return the images for an engine among saved inputs.

    Raises:
        ForgeError: there are none of its name, or they have another shape or type.
    """
    if engine.image not in run:
        raise ForgeError(
            f"--load-inputs: has no input {engine.image!r}, which {engine.path} takes",
            f"it has {', '.join(run)}",
        )
    images = run[engine.image]
    shape = "x".join(map(str, images.shape))
    height, width = engine.size
    if images.dtype != np.float32 or images.shape[1:] != (3, height, width):
        raise ForgeError(
            f"--load-inputs: {engine.image!r} is {images.dtype} {shape}",
            f"{engine.path} takes float32 Nx3x{height}x{width}",
        )
    return images


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


def _note_nan(image: str, outputs: list[Arrays], report: Verification) -> None:
    """Note the first image on which an engine puts out NaN.

    Comparisons of figures would pass over it: NaN is neither under nor over a limit.
    """
    for name, arrays in zip(report.engines, outputs, strict=True):
        wrong = first_nan(arrays)
        if wrong and not any(line.startswith(f"{name}: ") for line in report.broken):
            report.broken.append(f"{name}: output {wrong!r} is NaN on {image}")


def _layers(
    engines: list[OpenedModel], batches: Sequence[NDArray[np.float32]]
) -> list[layers.LayerDifference]:
    """Compare the activations that two graphs share."""
    if len(engines) != 2 or engines[0].graph is None or engines[1].graph is None:
        raise ForgeError("--per-layer compares two graphs", "give two ONNX files or folders")
    return layers.compare(engines[0].graph, engines[1].graph, batches)


def _read(file: Path) -> Image.Image:
    try:
        return pictures.read(file)
    except pictures.CorruptImage as error:
        raise ForgeError(
            str(error), "remove it, or give a whole copy: accuracy counts every image"
        ) from error
