"""``build`` and ``prepare``: a job, or a prepared folder, and the folders to write."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trtforge import parse
from trtforge.backends.options import CALIBRATORS
from trtforge.bundle.prepared import Prepared, Target
from trtforge.bundle.read import read_prepared
from trtforge.devices import FIRST_SM, no_kernels
from trtforge.errors import ForgeError
from trtforge.names import Precision
from trtforge.options import recipe as recipes
from trtforge.pipeline.job import Job
from trtforge.traits import TRAITS

NMS_IMPLS = ("auto", "plugin", "onnx")
# no quotes in nvinfer's dialects: these would end a value, or begin something else
UNQUOTED = "#:;\n\r\t'\"\\"


def work(
    model: Path,
    *,
    fp32: bool = False,
    fp16: bool = False,
    int8: bool = False,
    fp8: bool = False,
    calib: Path | None = None,
    batch: str | None = None,
    size: str | None = None,
    recipe: str | None = None,
    labels: Path | None = None,
    nms: str = "auto",
    nms_impl: str = "auto",
    score: float | None = None,
    iou: float | None = None,
    max_det: int | None = None,
    class_agnostic: bool = False,
    no_check: bool = False,
    provider: str = "auto",
    keep: Sequence[str] = (),
    only: Sequence[str] = (),
    weak: bool | None = None,
    calibrator: str = "own",
) -> Job | Prepared:
    """The job that the options describe, or what a prepared folder holds.

    Args:
        weak: see ``trtforge.builder_options.weakly_typed``.

    Raises:
        ForgeError: options contradict each other or the input, or a recipe is wrong.
    """
    if model.is_dir():
        asked = [
            weak is not None,
            calibrator != "own",
            fp32,
            fp16,
            int8,
            fp8,
            calib,
            batch,
            size,
            recipe,
            labels,
            nms != "auto",
            nms_impl != "auto",
            score is not None,
            iou is not None,
            max_det is not None,
            class_agnostic,
            keep,
            only,
        ]
        if any(asked):
            raise ForgeError(
                f"{model}: a prepared folder decides precision, calibration, batch, size, labels and NMS",
                "drop those options, or build from the ONNX file",
            )
        return read_prepared(model)
    if fp32 + fp16 + int8 + fp8 > 1:
        raise ForgeError("--fp32, --fp16, --int8 and --fp8 exclude each other", "give one of them")
    if calib and not (int8 or fp8):
        raise ForgeError("--calib is for INT8 and FP8", "add --int8 or --fp8, or drop --calib")
    recipes.check_nms(
        nms, {"nms-impl": nms_impl}
    )  # the figures go into the bundle, for `deepstream parser`
    from_yaml = model.suffix.lower() in (".yaml", ".yml")
    if from_yaml and recipe:
        raise ForgeError(f"{model} is a recipe itself", "drop --recipe")
    spec = recipes.load(
        str(model) if from_yaml else recipe,
        labels=labels,
        score=score,
        iou=iou,
        max_det=max_det,
        class_agnostic=class_agnostic,
        keep=keep,
        only=only,
    )
    if from_yaml and spec.model is None:
        raise ForgeError(
            f"{model}: names no model",
            "add a line `model: FILE.onnx`, or give the ONNX and --recipe",
        )
    if weak and fp8:
        raise ForgeError("--int8-mode implicit has no FP8", "give --int8")
    if parse.one_of(calibrator, CALIBRATORS, "--calibrator") != "own" and not (weak and int8):
        raise ForgeError(
            f"--calibrator {calibrator}: TensorRT calibrates implicit INT8 alone",
            "add --int8 --int8-mode implicit",
        )
    precision: Precision = "fp8" if fp8 else "int8" if int8 else "fp16" if fp16 else "fp32"
    return Job(
        model=spec.model if from_yaml and spec.model else model,
        recipe=spec,
        precision=precision,
        images=calib,
        batch=parse.batch(batch),
        size=parse.size(size),
        nms=parse.one_of(nms, recipes.NMS_FORMS, "--nms"),
        nms_impl=parse.one_of(nms_impl, NMS_IMPLS, "--nms-impl"),
        check=not no_check,
        provider=parse.provider(provider),
        implicit=bool(weak) and (int8 or fp16),
        calibrator=next(each for each in CALIBRATORS if each == calibrator),
    )


def check_precision(work: Job | Prepared, targets: Sequence[Target]) -> None:
    """Refuse a precision that a target's GPU has no kernels for.

    Raises:
        ForgeError: it names the device and what it has.
    """
    for target in targets:
        device = target.device
        if work.precision == "fp8" and target.backend and not TRAITS[target.backend].fp8:
            raise ForgeError(
                "ONNX Runtime has no FP8 convolutions on the CPU",
                "give --device, or --int8",
            )
        if (
            device
            and (target.backend is None or TRAITS[target.backend].on_gpu)
            and (why := no_kernels(device, work.precision))
        ):
            first = next(sm for name, sm in FIRST_SM.items() if name == work.precision)
            raise ForgeError(why, f"{work.precision.upper()} needs SM{first} or newer")


def folders(out: Path | None, job: Job | Prepared, targets: Sequence[Target]) -> list[Path]:
    """An output folder for each target: ``out`` itself for one, a folder a device under it for
    several.
    """
    name = job.name if isinstance(job, Prepared) else job.model.stem
    if any(char in name for char in UNQUOTED) or name != name.strip():
        raise ForgeError(
            f"{name!r}: nvinfer's configuration can't hold that file name", "rename the model"
        )
    places = [_place(target) for target in targets]
    if len(set(places)) < len(places):
        raise ForgeError(
            f"--device names {max(places, key=places.count)} twice", "name each device once"
        )
    if out:
        outs = [out] if len(targets) == 1 else [out / place for place in places]
    else:
        outs = [Path(f"{name}-{place}-{job.precision}") for place in places]
    sources = (
        {graph.path.parent.resolve() for graph in job.graphs.values()}
        if isinstance(job, Prepared)
        else set()
    )
    for each in outs:
        if each.resolve() in sources:
            raise ForgeError(
                f"{each}: is the prepared folder itself", "give another folder with -o"
            )
    return outs


def _place(target: Target) -> str:
    """Of a folder's name: a prepared one never takes that of the bundle that is built from it."""
    if target.backend:
        return target.device.name if target.device else "cpu"
    return f"{target.device.name}-prepared" if target.device else "prepared"
