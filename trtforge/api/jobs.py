"""Turn options into what the pipeline takes: a job, the builder's options, output folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trtforge.api.recipes import NMS_FORMS, check_nms, load_recipe
from trtforge.errors import ForgeError
from trtforge.options.builder import Builder
from trtforge.options.nms import Nms
from trtforge.options.precision import Precision
from trtforge.options.values import (
    Batch,
    PathLike,
    Size,
    names_of,
    parse_batch,
    parse_choice,
    parse_memory,
    parse_pool,
    parse_profile,
    parse_provider,
    parse_size,
    path_of,
)

if TYPE_CHECKING:
    from trtforge.backends.options import BuildOptions
    from trtforge.bundle.prepared import Prepared, Target
    from trtforge.pipeline.job import Job

NMS_IMPLEMENTATIONS = ("auto", "plugin", "onnx")
# nvinfer's dialects know no quotes: these characters would end a value, or begin something else
UNQUOTED = "#:;\n\r\t'\"\\"
PLAIN_NMS = Nms()


def make_job(
    model: PathLike,
    precision: Precision,
    targets: Sequence[Target] = (),
    *,
    batch: Batch | None = None,
    size: Size | None = None,
    recipe: PathLike | None = None,
    labels: PathLike | None = None,
    nms: Nms = PLAIN_NMS,
    check: bool = True,
) -> Job | Prepared:
    """Return the job that the options describe, or what a prepared folder holds.

    Raises:
        ForgeError: options contradict each other or the model, or a recipe is wrong.
    """
    from trtforge.bundle.read import read_prepared

    path = Path(model)
    implicit = _implicit(precision, targets)
    if path.is_dir():
        options = (batch, size, recipe, labels)
        if any(options) or implicit is not None or nms != PLAIN_NMS or not precision.default:
            raise ForgeError(
                f"{path}: a prepared folder decides precision, calibration, batch, size, labels "
                "and NMS",
                "drop those options, or build from the ONNX file",
            )
        return read_prepared(path)
    return _job(path, precision, implicit, batch, size, recipe, labels, nms, check)


def _job(
    path: Path,
    precision: Precision,
    implicit: bool | None,
    batch: Batch | None,
    size: Size | None,
    recipe: PathLike | None,
    labels: PathLike | None,
    nms: Nms,
    check: bool,
) -> Job:
    from trtforge.backends.options import CALIBRATORS
    from trtforge.names import QUANTIZED
    from trtforge.pipeline.job import Job

    name = precision.name
    if precision.calib and name not in QUANTIZED:
        raise ForgeError("--calib is for INT8 and FP8", "add --int8 or --fp8, or drop --calib")
    # The thresholds have an effect without NMS, too: the bundle keeps them for `deepstream parser`.
    check_nms(nms.nms, {"nms-impl": nms.nms_impl})
    is_recipe = path.suffix.lower() in (".yaml", ".yml")
    if is_recipe and recipe:
        raise ForgeError(f"{path} is a recipe itself", "drop --recipe")
    spec = load_recipe(
        path if is_recipe else recipe,
        labels=labels,
        nms=nms,
        keep=precision.keep,
        only=precision.only,
    )
    if is_recipe and spec.model is None:
        raise ForgeError(
            f"{path}: names no model",
            "add a line `model: FILE.onnx`, or give the ONNX and --recipe",
        )
    if implicit and name == "fp8":
        raise ForgeError("--int8-mode implicit has no FP8", "give --int8")
    calibrator = parse_choice(precision.calibrator, CALIBRATORS, "--calibrator")
    if calibrator != "own" and not (implicit and name == "int8"):
        raise ForgeError(
            f"--calibrator {calibrator}: TensorRT calibrates implicit INT8 alone",
            "add --int8 --int8-mode implicit",
        )
    return Job(
        model=spec.model if is_recipe and spec.model else path,
        recipe=spec,
        precision=name,
        images=path_of(precision.calib),
        batch=parse_batch(batch),
        size=parse_size(size),
        nms=parse_choice(nms.nms, NMS_FORMS, "--nms"),
        nms_impl=parse_choice(nms.nms_impl, NMS_IMPLEMENTATIONS, "--nms-impl"),
        check=check,
        provider=parse_provider(precision.provider),
        implicit=bool(implicit) and name in ("int8", "fp16"),
        calibrator=calibrator,
    )


def _implicit(precision: Precision, targets: Sequence[Target]) -> bool | None:
    """Return whether the builder chooses the precisions, not the graph.

    That is so on request, and for devices that end at TensorRT 8. None: nothing decides.

    Raises:
        ForgeError: the request contradicts precision or device.
    """
    from trtforge.names import INT8_MODES

    mode = precision.int8_mode
    if mode is not None:
        parse_choice(mode, INT8_MODES, "--int8-mode")
        if not precision.int8:
            raise ForgeError(f"--int8-mode {mode} without --int8", "add --int8")
    old = [target.device for target in targets if target.device and not target.device.typed]
    if old and mode == "explicit":
        raise ForgeError(
            f"{old[0].title} ends at TensorRT {old[0].tensorrt}: its INT8 needs a calibration cache",
            "give --int8-mode implicit, or leave it out",
        )
    if old:
        return True
    return None if mode is None else mode == "implicit"


def build_options(builder: Builder, precision: Precision) -> BuildOptions:
    """Return what the builder is told.

    Raises:
        ForgeError: an option is wrong.
    """
    from trtforge.backends._config import POOLS, TACTICS
    from trtforge.backends.options import CALIBRATORS, BuildOptions

    pools = tuple(parse_pool(text, tuple(POOLS)) for text in names_of(builder.memory_pool))
    sources = builder.tactic_sources
    tactics: tuple[str, ...] | None = None
    if sources is not None:
        words = sources.split(",") if isinstance(sources, str) else list(sources)
        tactics = tuple(
            parse_choice(name, tuple(TACTICS), "--tactic-sources") for name in words if name
        )
    cache = path_of(builder.timing_cache)
    if cache and cache.is_dir():
        raise ForgeError(f"{cache}: is a folder", "give a file with --timing-cache")
    return BuildOptions(
        workspace=parse_memory(builder.workspace),
        pools=pools,
        profiles=tuple(parse_profile(text) for text in names_of(builder.profile)),
        opt_level=builder.opt_level,
        sparsity=builder.sparsity,
        version_compatible=builder.version_compatible,
        hardware_compatible=builder.hardware_compatible,
        refit=builder.refit,
        strip_weights=builder.strip_weights,
        dla_core=builder.dla,
        tf32=builder.tf32,
        aux_streams=builder.aux_streams,
        tactic_sources=tactics,
        timing_cache=str(cache.absolute()) if cache else None,
        calibrator=parse_choice(precision.calibrator, CALIBRATORS, "--calibrator"),
    )


def check_precision(job: Job | Prepared, targets: Sequence[Target]) -> None:
    """Refuse a precision that a target's GPU has no kernels for.

    Raises:
        ForgeError: it names the device and what it has.
    """
    from trtforge.devices import FIRST_SM, no_kernels
    from trtforge.traits import TRAITS

    for target in targets:
        device, traits = target.device, TRAITS[target.backend] if target.backend else None
        if job.precision == "fp8" and traits and not traits.fp8:
            raise ForgeError(
                "ONNX Runtime has no FP8 convolutions on the CPU", "give --device, or --int8"
            )
        on_gpu = traits is None or traits.on_gpu
        if device and on_gpu and (reason := no_kernels(device, job.precision)):
            first = next(sm for name, sm in FIRST_SM.items() if name == job.precision)
            raise ForgeError(reason, f"{job.precision.upper()} needs SM{first} or newer")


def output_folders(
    out: PathLike | None, job: Job | Prepared, targets: Sequence[Target]
) -> list[Path]:
    """Return an output folder for each target: ``out`` itself, or with several one in it for each.

    Raises:
        ForgeError: the model's name doesn't suit nvinfer, a device is named twice, or a folder is
            the prepared one itself.
    """
    from trtforge.bundle.prepared import Prepared

    name = job.name if isinstance(job, Prepared) else job.model.stem
    if any(char in name for char in UNQUOTED) or name != name.strip():
        raise ForgeError(
            f"{name!r}: nvinfer's configuration can't hold that file name", "rename the model"
        )
    places = [_folder_name(target) for target in targets]
    if len(set(places)) < len(places):
        raise ForgeError(
            f"--device names {max(places, key=places.count)} twice", "name each device once"
        )
    if not out:
        folders = [Path(f"{name}-{place}-{job.precision}") for place in places]
    elif len(targets) == 1:
        folders = [Path(out)]
    else:
        folders = [Path(out) / place for place in places]
    if isinstance(job, Prepared):
        inputs = {graph.path.parent.resolve() for graph in job.graphs.values()}
        for folder in folders:
            if folder.resolve() in inputs:
                raise ForgeError(
                    f"{folder}: is the prepared folder itself", "give another folder with -o"
                )
    return folders


def _folder_name(target: Target) -> str:
    """Return the name of a target's folder.

    A prepared folder has another name than the bundle that is built from it, so that both can lie
    side by side.
    """
    if target.backend:
        return target.device.name if target.device else "cpu"
    return f"{target.device.name}-prepared" if target.device else "prepared"
