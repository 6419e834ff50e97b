"""The accuracy of every precision of a sweep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from trtforge import present
from trtforge.bundle.prepared import Prepared
from trtforge.errors import ForgeError
from trtforge.names import Backend, Precision
from trtforge.pipeline import prepare
from trtforge.pipeline.job import Job
from trtforge.stages.measure import ACCURACY, AccuracyFacts, AccuracyInputs, AccuracyOptions
from trtforge.store import File, Store, digest, source
from trtforge.sweeping.request import SweepRequest
from trtforge.sweeping.rows import Cell, job_for
from trtforge.traits import ONNXRUNTIME, RTX, TRAITS


@dataclass(frozen=True)
class Accuracies:
    """Accuracy by precision, with the name of the metric."""

    metric: str = ""
    of: Mapping[Precision, AccuracyFacts] = field(default_factory=dict)


def measure_accuracies(
    job: Job, backend: Backend, batch: int, store: Store, request: SweepRequest
) -> Accuracies:
    """Measure the accuracy of every precision, in ONNX Runtime.

    Accuracy depends on the graph alone, so that workspace and optimisation level do not matter.

    Args:
        batch: a batch that the model takes.

    Raises:
        ForgeError: labels and images do not fit each other or the model.
    """
    if request.images is None or request.labels is None:
        return Accuracies()
    images, labels = _images(request.images), _labels(request.labels)
    prepared = _prepared(job, "fp32", backend, batch, store)
    options = AccuracyOptions(prepared.recipe)
    reference = prepared.graphs[_form(backend)]
    accuracies: dict[Precision, AccuracyFacts] = {}
    with present.progress("accuracy", len(request.precisions)) as done:
        for number, precision in enumerate(request.precisions, 1):
            model = _prepared(job, precision, backend, batch, store).graphs[_form(backend)]
            inputs = AccuracyInputs(reference, model, images, labels)
            accuracies[precision] = store.run(ACCURACY, inputs, options).facts
            done(number)
    metric = next((facts.metric for facts in accuracies.values()), "")
    return Accuracies(metric, accuracies)


def _prepared(
    job: Job, precision: Precision, backend: Backend, batch: int, store: Store
) -> Prepared:
    cell = Cell(precision, batch, None, None)
    return prepare(job_for(job, cell), store, [_form(backend)])


def _form(backend: Backend) -> Backend:
    """Return whose graph ONNX Runtime can run: only TensorRT has TensorRT's plugins."""
    return RTX if TRAITS[backend].on_gpu else ONNXRUNTIME


def _images(folder: Path) -> File:
    from trtforge.calibration import images as pictures

    files = pictures.list_images(folder)
    return File(folder, pictures.folder_digest(pictures.image_digests(files, folder)))


def _labels(labels: Path) -> File:
    from trtforge.calibration import images as pictures

    if labels.is_dir():  # masks
        files = [path for path in sorted(labels.iterdir()) if path.is_file()]
        return File(labels, pictures.folder_digest({path.name: digest(path) for path in files}))
    if not labels.is_file():
        raise ForgeError(
            f"{labels}: no such file of labels", "give the images' labels with --labels"
        )
    return source(labels)
