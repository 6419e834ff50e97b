"""Calibration: from a folded model and images to the ranges that INT8 has to represent."""

from __future__ import annotations

from dataclasses import dataclass

from trtforge.backends.onnxruntime import calibration_provider
from trtforge.names import TABLE
from trtforge.pipeline.job import Job
from trtforge.stages import calibrate, observe, refine
from trtforge.store import NOTHING, File, Store


@dataclass(frozen=True)
class Calibrated:
    """A model with its ranges.

    Attributes:
        model: folded float model.
        ranges: calibration table of the model.
        weights: refined INT8 weights; None where the recipe refines none.
        remarks: what the user should know about the set of images.
    """

    model: File
    ranges: File
    weights: File | None = None
    remarks: tuple[str, ...] = ()


def calibrate_model(job: Job, model: File, images: File, store: Store) -> Calibrated:
    """Run the stages observe and calibrate, and refine for explicit INT8.

    Args:
        model: folded float model.
        images: folder of photographs.

    Raises:
        ForgeError: see the stages.
    """
    recipe = job.recipe
    observed = store.run(
        observe.STAGE,
        observe.ObserveInputs(model, images),
        observe.ObserveOptions(
            preprocess=recipe.preprocess,
            taps="implicit" if job.implicit else "explicit",
            provider=calibration_provider(job.provider),
        ),
    )
    calibrated = store.run(
        calibrate.STAGE,
        calibrate.CalibrateInputs(observed.file(observe.TABLE)),
        calibrate.CalibrateOptions(
            method=recipe.calibration.method,
            percentile=recipe.calibration.percentile,
            methods=recipe.calibration.methods,
        ),
    )
    ranges = calibrated.file(TABLE)
    remarks = tuple(calibrate.remarks(calibrated.facts))
    if job.implicit or job.precision != "int8" or not recipe.calibration.refine:
        return Calibrated(model, ranges, remarks=remarks)
    refined = store.run(refine.STAGE, refine.RefineInputs(model, ranges, images), NOTHING)
    return Calibrated(model, refined.file(TABLE), refined.file(refine.WEIGHTS), remarks=remarks)
