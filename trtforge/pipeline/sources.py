"""The user's files: the model and the calibration images, with their digests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trtforge.bundle.manifest import ImageSource, ModelSource
from trtforge.errors import ForgeError
from trtforge.pipeline.job import Job
from trtforge.store import File, source


@dataclass(frozen=True)
class Images:
    """A folder of calibration images, and its entry in the manifest."""

    folder: File
    entry: ImageSource


def model_file(model: Path) -> File:
    """Return the user's model as one file together with its external weights.

    Raises:
        ForgeError: there is no such file.
    """
    from trtforge.graph.model import external_files

    if not model.is_file():
        raise ForgeError(f"{model}: no such file", "give the path of an .onnx file")
    return source(model, *(path for path in external_files(model) if path.is_file()))


def model_entry(model: File) -> ModelSource:
    """Return the manifest's entry for the user's model."""
    return ModelSource(model.path.name, model.digest)


def calibration_images(job: Job) -> Images:
    """Return the folder of calibration images, with one digest over names and contents.

    Raises:
        ForgeError: neither the job nor its recipe names a folder, or it holds no images.
    """
    from trtforge.calibration.images import folder_digest, image_digests, list_images

    folder = job.images or job.recipe.calibration.images
    if folder is None:
        raise ForgeError(
            f"{job.precision.upper()} needs photographs to calibrate on",
            "give --calib FOLDER, or build with --fp16",
        )
    digests = image_digests(list_images(folder), folder)
    digest = folder_digest(digests)
    return Images(File(folder, digest), ImageSource(len(digests), digest))
