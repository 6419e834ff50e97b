"""Make engines, and the folders that hold them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional, Union

from trtforge.options.builder import Builder
from trtforge.options.limits import Limits
from trtforge.options.nms import Nms, nms_of
from trtforge.options.option import Argument, Group, Option
from trtforge.options.precision import Precision, precision_of
from trtforge.options.shared import (
    BackendName,
    BatchRange,
    CheckFolding,
    DeepStreamVersion,
    DeviceNames,
    DryRun,
    Force,
    InputSize,
    LabelFile,
    On,
    OutFolder,
    RecipeName,
    Timeout,
)
from trtforge.options.values import PathLike, names_of, parse_timeout, parse_version
from trtforge.present import ProgressCallback, listening, note

if TYPE_CHECKING:
    from trtforge.api.results import BuildResult


def build(
    model: Annotated[
        PathLike,
        Argument(help="MODEL.onnx, RECIPE.yaml, or a folder made by `prepare`.", reads=Path),
    ],
    *,
    precision: Annotated[Union[Precision, str], Group(Precision)] = Precision(),
    device: DeviceNames = (),
    backend: BackendName = "auto",
    batch: BatchRange = None,
    size: InputSize = None,
    recipe: RecipeName = None,
    labels: LabelFile = None,
    nms: Annotated[Union[Nms, str], Group(Nms)] = Nms(),
    deepstream: DeepStreamVersion = None,
    builder: Annotated[Builder, Group(Builder)] = Builder(),
    limits: Annotated[Limits, Group(Limits, without=("min_map", "max_drop"))] = Limits(),
    on: On = "local",
    timeout: Timeout = None,
    out: OutFolder = None,
    check: CheckFolding = True,
    force: Force = False,
    dry_run: DryRun = False,
    progress: Optional[ProgressCallback] = None,
) -> "BuildResult":
    """Build engines, and a folder that DeepStream runs, for one or more devices.

    Args:
        model: ONNX file, recipe that names one, or folder made by ``prepare``.
        precision: ``Fp32()``, ``Fp16()``, ``Int8(calib="photos")`` or ``Fp8(calib="photos")``.
        device: names of devices, see ``list_devices``; none: this machine.
        backend: "auto", "tensorrt", "tensorrt-rtx" or "onnxruntime".
        batch: largest batch, or smallest, best and largest.
        size: height and width of a dynamic input.
        recipe: name or file.
        labels: text file with one class a line.
        nms: form of the NMS, or ``Nms`` with its thresholds.
        deepstream: version that will read the configuration.
        builder: options of TensorRT.
        limits: what an engine that is run beside FP32, on its GPU, is held to: ``min_cosine``.
        on: who works: "local", "local:N", "ray" or "ray://HOST:10001".
        timeout: how long to wait for a node of a cluster.
        out: output folder; with several devices, their parent.
        check: compare the folded model with the original.
        force: run every stage again, and overwrite changed outputs.
        dry_run: only tell what would run.
        progress: called with a label and the share that is done.

    Raises:
        ForgeError: an input is wrong.
        BuildError: the builder refuses the model.
        MachineError: something is missing on this machine.
        GateError: a limit is not met; the error's ``result`` is the build.
    """
    from trtforge import devices, gates
    from trtforge.api.jobs import build_options, check_precision, make_job, output_folders
    from trtforge.api.results import build_result
    from trtforge.cluster import open_workers
    from trtforge.pipeline import deliver
    from trtforge.pipeline import targets as choose
    from trtforge.store import opened

    precision, nms = precision_of(precision), nms_of(nms)
    store, found = opened(dry_run, force), [devices.device(name) for name in names_of(device)]
    with listening(progress), open_workers(on, store, found, parse_timeout(timeout)) as workers:
        targets, notes = choose.targets(workers, backend, found or [None])
        for text in notes:
            note(text)
        job = make_job(
            model,
            precision,
            targets,
            batch=batch,
            size=size,
            recipe=recipe,
            labels=labels,
            nms=nms,
            check=check,
        )
        check_precision(job, targets)
        folders = output_folders(out, job, targets)
        version = parse_version(deepstream)
        options = build_options(builder, precision)
        for text in choose.check(workers, targets, job, options, version):
            note(text)
        built = deliver(
            job,
            targets,
            folders,
            store,
            options=options,
            deepstream=version,
            force=force,
            workers=workers,
        )
    result = build_result(store, built)
    with gates.carrying(result):
        gates.check_engines({each.out: each.check for each in built}, limits.min_cosine)
    return result


def prepare(
    model: Annotated[PathLike, Argument(help="MODEL.onnx or RECIPE.yaml.", reads=Path)],
    *,
    precision: Annotated[
        Union[Precision, str], Group(Precision, without=("calibrator",))
    ] = Precision(),
    device: Annotated[Optional[str], Option(help="Target, for the versions it runs.")] = None,
    batch: BatchRange = None,
    size: InputSize = None,
    recipe: RecipeName = None,
    labels: LabelFile = None,
    nms: Annotated[Union[Nms, str], Group(Nms)] = Nms(),
    deepstream: DeepStreamVersion = None,
    out: OutFolder = None,
    check: CheckFolding = True,
    force: Force = False,
    dry_run: DryRun = False,
    progress: Optional[ProgressCallback] = None,
) -> "BuildResult":
    """Do everything that needs no GPU: ``build`` then takes the folder on each target.

    The arguments are those of ``build``.

    Raises:
        ForgeError: an input is wrong.
    """
    from trtforge import devices
    from trtforge.api.jobs import check_precision, make_job, output_folders
    from trtforge.api.results import build_result
    from trtforge.bundle.prepared import Target
    from trtforge.pipeline import deliver
    from trtforge.store import opened

    targets = [Target(None, devices.device(device) if device else None)]
    job = make_job(
        model,
        precision_of(precision),
        targets,
        batch=batch,
        size=size,
        recipe=recipe,
        labels=labels,
        nms=nms_of(nms),
        check=check,
    )
    version = parse_version(deepstream)
    store = opened(dry_run, force)
    check_precision(job, targets)
    folders = output_folders(out, job, targets)
    with listening(progress):
        built = deliver(job, targets, folders, store, deepstream=version, force=force)
    return build_result(store, built)
