"""Measure harm, accuracy and cost in a search for mixed precision; results stay in the store."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from trtforge import pipeline, present
from trtforge.calibration import images as pictures
from trtforge.calibration.observed import check_corrupt
from trtforge.errors import ForgeError, GateError
from trtforge.evaluate import average_precision, classes, coco
from trtforge.evaluate.detections import Objects
from trtforge.evaluate.variant import Network, classify, detect_objects, measure_harm
from trtforge.graph.macs import macs
from trtforge.graph.model import graph_of, load
from trtforge.graph.quantize import rounding
from trtforge.graph.quantize.qdq import place
from trtforge.pipeline.calibrate import Calibrated
from trtforge.pipeline.job import Job
from trtforge.recipe import Decode, Nms, Preprocess, Recipe
from trtforge.store import Artifact, File, Stage, Store
from trtforge.store.stage import Facts, Options

TOOLS = ("onnx", "onnx-graphsurgeon", "onnxruntime", "numpy", "pillow")
SHOWN_SCORE = 0.25  # without labels, objects of the float network above this score are the truth
RESULT = "found.npz"
MIN_IMAGES = 8  # half of them to search on
SEARCHED, JUDGED = slice(0, None, 2), slice(1, None, 2)  # the two halves of the images

Accuracy = Callable[[np.ndarray | None], float]  # weights of the images -> 0..1


@dataclass(frozen=True)
class TuneInputs:
    """The files that decide what is measured.

    Attributes:
        model: folded float model.
        ranges: calibration table of the model.
        images: folder of images that accuracy is measured on.
        weights: refined INT8 weights; None rounds to nearest.
    """

    model: File
    ranges: File
    images: File
    weights: File | None = None


@dataclass(frozen=True)
class Setting:
    """Settings that decide every measurement, besides the files.

    Attributes:
        preprocess, head, decode: of the recipe.
        nms: thresholds that boxes are judged with.
        keep_always: operators that the recipe keeps float.
    """

    preprocess: Preprocess
    head: str
    decode: Decode
    nms: Nms
    keep_always: tuple[str, ...]


@dataclass(frozen=True)
class HarmOptions:
    """The operators that are float, and the number of images on which the harm is measured."""

    setting: Setting
    keep: tuple[str, ...]
    probes: int


@dataclass(frozen=True)
class HarmFacts:
    """Noise in the outputs."""

    harm: float = 0.0


@dataclass(frozen=True)
class ScoreOptions:
    """The operators that stay float (None means all), and a slice of the images."""

    setting: Setting
    keep: tuple[str, ...] | None
    part: tuple[int | None, int | None, int | None]


@dataclass(frozen=True)
class ScoreFacts:
    """The number of images that the network was run on."""

    images: int = 0


@dataclass
class Bench:
    """A network to measure; repeated measurements are read from the store.

    Attributes:
        inputs, setting: everything that decides the results.
        files, names: the images, and their names in the labels; without labels, their paths in the
            folder.
        probes: prepared images, for the harm.
        truth: the labels; None takes the float network's own results.
        macs: multiply-accumulates of each learned operator.
        candidates: operators that may be INT8.
        always: operators that the recipe keeps float.
        deadline: time of ``time.monotonic()`` after which no measurement begins.
    """

    network: Network
    store: Store
    inputs: TuneInputs
    setting: Setting
    files: Sequence[Path]
    names: Sequence[str]
    probes: Sequence[np.ndarray]
    truth: coco.Truth | np.ndarray | None
    macs: dict[str, int]
    candidates: list[str]
    always: list[str]
    deadline: float

    def harm(self, keep: Sequence[str]) -> float:
        """Return the noise in the outputs with the operators ``keep`` float, on the probes."""

        def run(draft: Path, inputs: TuneInputs, options: HarmOptions) -> HarmFacts:
            return HarmFacts(self._harm(keep))

        stage = Stage("tune-harm", 4, TOOLS, run, HarmFacts)
        options = HarmOptions(self.setting, tuple(sorted(keep)), len(self.probes))
        return self._run(stage, options).facts.harm

    def accuracy(self, keep: Sequence[str] | None, part: slice) -> Accuracy:
        """Measure accuracy with the operators ``keep`` float.

        Args:
            keep: operators; None is all of them.
            part: the images to measure on.

        Returns:
            A function from weights of the images to the accuracy, 0..1.
        """
        results = self._results(keep, part)
        if self.network.classes is None:
            right = np.load(results)["classes"] == self._true_classes(part)
            return lambda weights: float(np.average(right, weights=weights))
        matches = average_precision.match(
            self._true_boxes(part), _objects(results, self.names[part])
        )
        return lambda weights: matches.mean_average_precision(weights)[0]

    def share(self, keep: Sequence[str]) -> float:
        """Return the share of the multiply-accumulates that is INT8 with ``keep`` float."""
        quantized = set(self.candidates) - set(keep) - set(self.always)
        return sum(self.macs[name] for name in quantized) / sum(self.macs.values())

    @cached_property
    def _reference(self) -> list[dict[str, np.ndarray]]:
        infer = self.network.open(None)
        return [infer(batch) for batch in self.probes]

    def _harm(self, keep: Sequence[str]) -> float:
        return measure_harm(self._reference, self.network.open([*keep, *self.always]), self.probes)

    def _results(self, keep: Sequence[str] | None, part: slice) -> Path:
        def run(draft: Path, inputs: TuneInputs, options: ScoreOptions) -> ScoreFacts:
            return self._infer(draft, keep, self.files[part])

        stage = Stage("tune-score", 3, TOOLS, run, ScoreFacts)
        kept = None if keep is None else tuple(sorted(keep))
        options = ScoreOptions(self.setting, kept, (part.start, part.stop, part.step))
        return self._run(stage, options).file(RESULT).path

    def _infer(self, draft: Path, keep: Sequence[str] | None, files: Sequence[Path]) -> ScoreFacts:
        infer = self.network.open(None if keep is None else [*keep, *self.always])
        with present.progress(f"accuracy on {len(files)} images", len(files)) as done:
            if self.network.classes is None:
                np.savez(draft / RESULT, classes=classify(self.network, infer, files, done))
            else:
                _save(detect_objects(self.network, infer, files, done), draft / RESULT)
        return ScoreFacts(len(files))

    def _true_boxes(self, part: slice) -> coco.Truth:
        names = self.names[part]
        if isinstance(self.truth, coco.Truth):
            return coco.subset(self.truth, names)
        objects = _objects(self._results(None, part), names)
        confident = {name: found.above(SHOWN_SCORE) for name, found in objects.items()}
        return coco.from_objects(confident, self.network.classes or 0)

    def _true_classes(self, part: slice) -> np.ndarray:
        if isinstance(self.truth, np.ndarray):
            return self.truth[part]
        found: np.ndarray = np.load(self._results(None, part))["classes"]
        return found

    def _run(self, stage: Stage[TuneInputs, Options, Facts], options: Options) -> Artifact[Facts]:
        if time.monotonic() > self.deadline:
            raise GateError(
                "the time is up", "run the same command again: it continues from the results so far"
            )
        return self.store.run(stage, self.inputs, options)


def bench(
    job: Job, store: Store, images: Path | None, labels: Path | None, probes: int, seconds: float
) -> Bench:
    """Calibrate the job's model, and get ready to measure it.

    Args:
        images: folder of images that accuracy is measured on; None is the calibration images.
        labels: COCO JSON for a detector, rows of name,class for a classifier; None compares with
            FP32's own results.
        probes: number of images for the harm of each operator.
        seconds: after this time no new measurement begins.

    Raises:
        ForgeError: see ``trtforge.pipeline.calibrated_model``; labels don't fit the images; there
            are fewer than 8 images; over 5 % of them are unreadable, or two have the same
            name in the labels.
    """
    from trtforge.stages.verify import EVALUATION

    deadline = time.monotonic() + seconds
    folder = images or job.images or job.recipe.calibration.images
    if folder is None:
        raise ForgeError("calibration needs photographs", "give --calib FOLDER")
    files = _readable(pictures.list_images(folder))
    if len(files) < MIN_IMAGES:
        raise ForgeError(
            f"{folder}: {len(files)} images are too few to measure accuracy", "give some hundreds"
        )
    names = (
        pictures.label_names(files, folder) if labels else pictures.relative_names(files, folder)
    )
    digests = pictures.image_digests(files, folder)
    calibrated, recipe = pipeline.calibrated_model(job, store)
    network = _network(calibrated, recipe)
    graph = graph_of(load(network.model))
    precision = recipe.precision
    placement = place(graph, precision.keep, precision.heads == "float", precision.only)
    candidates = list(placement.operators)
    costs = macs(graph)
    always = sorted(costs.keys() - set(candidates))
    return Bench(
        network=network,
        store=store,
        inputs=TuneInputs(
            model=calibrated.model,
            ranges=calibrated.ranges,
            images=File(folder, pictures.folder_digest(digests)),
            weights=calibrated.weights,
        ),
        setting=Setting(recipe.preprocess, recipe.head, recipe.decode, EVALUATION, tuple(always)),
        files=files,
        names=names,
        probes=[
            pictures.prepare(file, recipe.preprocess, network.size)
            for file in pictures.evenly_spaced(files[SEARCHED], probes)
        ],
        truth=_truth(network, labels, files, names),
        macs=costs,
        candidates=candidates,
        always=always,
        deadline=deadline,
    )


def _network(calibrated: Calibrated, recipe: Recipe) -> Network:
    """Return the calibrated network, which is judged by COCO's thresholds."""
    from trtforge.calibration import ranges
    from trtforge.stages.verify import EVALUATION

    return Network(
        model=calibrated.model.path,
        amax=ranges.load(calibrated.ranges.path).amax,
        rounded=rounding.load(calibrated.weights.path) if calibrated.weights else {},
        preprocess=recipe.preprocess,
        head=recipe.head,
        figures=recipe.decode,
        nms=EVALUATION,
    )


def _readable(files: Sequence[Path]) -> list[Path]:
    """Return the files that can be read.

    Raises:
        ForgeError: too many can't, by the same limit as in calibration.
    """
    kept, skipped = [], []
    with present.progress(f"reading {len(files)} images", len(files)) as done:
        for number, file in enumerate(files, 1):
            try:
                pictures.read(file)
                kept.append(file)
            except pictures.CorruptImage:
                skipped.append(file)
                check_corrupt(file, len(skipped), len(files))
            done(number)
    if skipped:
        present.note(f"{len(skipped)} unreadable skipped: {skipped[0]}")
    return kept


def _truth(
    network: Network, labels: Path | None, files: Sequence[Path], names: Sequence[str]
) -> coco.Truth | np.ndarray | None:
    if labels is None:
        return None
    if network.classes is not None:
        return coco.read(labels, names)
    outputs = network.open(None)(np.zeros((1, 3, *network.size), np.float32))
    if len(outputs) != 1:
        raise ForgeError(
            f"{network.model}: neither detector nor classifier: it can't be tuned by labels",
            "drop --val to compare it with FP32's results",
        )
    return np.array(classes.from_csv(labels, files, next(iter(outputs.values())).size), np.int64)


def _save(rows: Sequence[Objects], path: Path) -> None:
    """Write the objects of all images as one NumPy archive, which ``_objects`` reads.

    ``counts`` is the number of objects on each image; the other arrays hold all objects in order.
    """
    np.savez(
        path,
        counts=np.array([len(row.scores) for row in rows]),
        boxes=np.concatenate([row.boxes for row in rows]),
        scores=np.concatenate([row.scores for row in rows]),
        classes=np.concatenate([row.classes for row in rows]),
    )


def _objects(path: Path, names: Sequence[str]) -> dict[str, Objects]:
    """Return the objects of each image, by the image's name."""
    with np.load(path) as table:
        ends = np.cumsum(table["counts"])[:-1]
        parts = [np.split(table[name], ends) for name in ("boxes", "scores", "classes")]
    return {name: Objects(*row) for name, *row in zip(names, *parts, strict=True)}
