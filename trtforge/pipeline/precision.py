"""Precision: from a folded model to one whose graph decides what is FP32, FP16, INT8 and FP8."""

from __future__ import annotations

from dataclasses import dataclass

from trtforge.bundle.prepared import Form
from trtforge.pipeline.calibrate import Calibrated, calibrate_model
from trtforge.pipeline.job import Job
from trtforge.stages import MODEL, cast, quantize
from trtforge.store import File, Store


@dataclass(frozen=True)
class TypedModel:
    """A model in the precision of a job.

    Attributes:
        graph: the graph for GPUs.
        cpu_graph: the graph for ONNX Runtime, whose INT8 operators take no FP16 scales, and whose
            CPU has no FP16 kernels to gain from.
        table: calibration table, for INT8 and FP8.
        stages: the stages that made ``graph`` from the folded model, with their results.
        images: folder that TensorRT itself calibrates on; None where the ranges are ours.
        remarks: what the user should know about the calibration.
    """

    graph: File
    cpu_graph: File
    stages: tuple[Form, ...] = ()
    table: File | None = None
    images: File | None = None
    remarks: tuple[str, ...] = ()


def apply_precision(job: Job, model: File, images: File | None, store: Store) -> TypedModel:
    """Quantize or cast a folded model as the job says.

    Args:
        model: folded float model.
        images: folder of calibration images, for INT8 and FP8.

    Raises:
        ForgeError: see the stages.
    """
    if job.implicit:
        return _implicit(job, model, images, store)
    if images:
        return _quantized(job, model, images, store)
    if job.precision == "fp16":
        half = _cast(model, job.recipe.precision.keep, store)
        return TypedModel(half, half, (Form("cast", half),))
    return TypedModel(model, model)


# Seen on an H200 with TensorRT 10.6; Polygraphy's calibrator hands the same ranges on.
NARROW_ENTROPY = (
    "--calibrator entropy: TensorRT's own algorithm cuts the ranges behind SiLU up to 16 times "
    "narrower than trtforge's, and YOLOv8n lost 36 points of mAP: measure with `trtforge verify`, "
    "or drop --calibrator"
)


def _implicit(job: Job, model: File, images: File | None, store: Store) -> TypedModel:
    """Leave the graph in FP32: the builder chooses precisions, for INT8 by our ranges or its own."""
    if images is None or job.calibrator != "own":
        narrow = images is not None and job.calibrator == "entropy"
        remarks = (NARROW_ENTROPY,) if narrow else ()
        return TypedModel(model, model, images=images, remarks=remarks)
    calibrated = calibrate_model(job, model, images, store)
    return TypedModel(model, model, table=calibrated.ranges, remarks=calibrated.remarks)


def _quantized(job: Job, model: File, images: File, store: Store) -> TypedModel:
    """Put Q/DQ nodes in; what is not quantized becomes FP16 or stays FP32, as the recipe says."""
    calibrated = calibrate_model(job, model, images, store)
    quantized = _quantize(job, calibrated, store)
    graph, stages = quantized, [Form("quantize", quantized)]
    if job.recipe.precision.rest == "fp16":
        graph = _cast(quantized, (), store)
        stages.append(Form("cast", graph))
    return TypedModel(
        graph, quantized, tuple(stages), table=calibrated.ranges, remarks=calibrated.remarks
    )


def _quantize(job: Job, calibrated: Calibrated, store: Store) -> File:
    precision = job.recipe.precision
    options = quantize.QuantizeOptions(
        keep=precision.keep,
        only=precision.only,
        float_heads=precision.heads == "float",
        form="fp8" if job.precision == "fp8" else "int8",
    )
    inputs = quantize.QuantizeInputs(calibrated.model, calibrated.ranges, calibrated.weights)
    return store.run(quantize.STAGE, inputs, options).file(MODEL)


def _cast(model: File, keep: tuple[str, ...], store: Store) -> File:
    return store.run(cast.STAGE, cast.CastInputs(model), cast.CastOptions(keep)).file(MODEL)
