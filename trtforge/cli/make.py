"""Commands that make engines: one, one folder for many, or the best of several."""

from pathlib import Path
from typing import Annotated, Optional

import typer

from trtforge.cli.arguments import (
    FP8,
    FP16,
    FP32,
    INT8,
    AsJson,
    AuxStreams,
    BackendName,
    Batch,
    Calib,
    CalibratorName,
    ClassAgnostic,
    DeepStream,
    Devices,
    Dla,
    DryRun,
    Force,
    HardwareCompatible,
    Int8Mode,
    Iou,
    Keep,
    Labels,
    MaxDet,
    NmsImplName,
    NmsName,
    NoCheck,
    On,
    Only,
    OptLevel,
    Out,
    OutFile,
    Pools,
    Profiles,
    Provider,
    RecipeName,
    Refit,
    Score,
    Size,
    Sparsity,
    StripWeights,
    TacticSources,
    Tf32,
    Timeout,
    TimingCache,
    TruthFile,
    VersionCompatible,
    Workspace,
)
from trtforge.cli.output import delivered, open_store, result
from trtforge.errors import ForgeError


def build(
    model: Annotated[
        Path, typer.Argument(help="MODEL.onnx, RECIPE.yaml, or a folder made by `prepare`.")
    ],
    fp32: FP32 = False,
    fp16: FP16 = False,
    int8: INT8 = False,
    fp8: FP8 = False,
    calib: Calib = None,
    keep: Keep = None,
    only: Only = None,
    device: Devices = None,
    backend: BackendName = "auto",
    batch: Batch = None,
    size: Size = None,
    recipe: RecipeName = None,
    labels: Labels = None,
    workspace: Workspace = None,
    nms: NmsName = "auto",
    nms_impl: NmsImplName = "auto",
    score: Score = None,
    iou: Iou = None,
    max_det: MaxDet = None,
    class_agnostic: ClassAgnostic = False,
    deepstream: DeepStream = None,
    memory_pool: Pools = None,
    profile: Profiles = None,
    opt_level: OptLevel = None,
    sparsity: Sparsity = False,
    version_compatible: VersionCompatible = False,
    hardware_compatible: HardwareCompatible = False,
    refit: Refit = False,
    strip_weights: StripWeights = False,
    dla: Dla = None,
    tf32: Tf32 = None,
    aux_streams: AuxStreams = None,
    tactic_sources: TacticSources = None,
    timing_cache: TimingCache = None,
    int8_mode: Int8Mode = None,
    calibrator: CalibratorName = "own",
    provider: Provider = "auto",
    on: On = "local",
    timeout: Timeout = None,
    out: Out = None,
    no_check: NoCheck = False,
    force: Force = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Build engines, and a folder that DeepStream runs, for one or more devices.

    Example: trtforge build yolov7.onnx --int8 --calib photos/ --device rtx-4090 -o out

    On the machines that have the GPUs: trtforge build yolov7.onnx --fp16 --device orin-nx --device
    l4 --on
    ray://head:10001
    """
    from trtforge import devices, parse, present
    from trtforge.builder_options import builder, weakly_typed
    from trtforge.cluster import open_workers
    from trtforge.options import build as options
    from trtforge.pipeline import deliver
    from trtforge.pipeline.targets import check
    from trtforge.pipeline.targets import targets as serving

    store, wanted = open_store(dry_run, force), [devices.device(name) for name in device or []]
    with open_workers(on, store, wanted, parse.timeout(timeout)) as staff:
        targets, notes = serving(staff, backend, wanted or [None])
        for note in notes:
            present.note(note)
        work = options.work(
            model,
            fp32=fp32,
            fp16=fp16,
            int8=int8,
            fp8=fp8,
            calib=calib,
            batch=batch,
            size=size,
            recipe=recipe,
            labels=labels,
            nms=nms,
            nms_impl=nms_impl,
            score=score,
            iou=iou,
            max_det=max_det,
            class_agnostic=class_agnostic,
            no_check=no_check,
            provider=provider,
            keep=keep or (),
            only=only or (),
            weak=weakly_typed(int8_mode, int8, targets),
            calibrator=calibrator,
        )
        options.check_precision(work, targets)
        outs = options.folders(out, work, targets)
        version = parse.version(deepstream)
        how = builder(
            workspace,
            memory_pool or (),
            profile or (),
            tactic_sources,
            timing_cache,
            opt_level=opt_level,
            sparsity=sparsity,
            version_compatible=version_compatible,
            hardware_compatible=hardware_compatible,
            refit=refit,
            strip_weights=strip_weights,
            dla_core=dla,
            tf32=tf32,
            aux_streams=aux_streams,
            calibrator=calibrator,
        )
        for remark in check(staff, targets, work, how, version):
            present.note(remark)
        built = deliver(
            work, targets, outs, store, options=how, deepstream=version, force=force, workers=staff
        )
    delivered(store, built, dry_run, as_json)


def prepare(
    model: Annotated[Path, typer.Argument(help="MODEL.onnx or RECIPE.yaml.")],
    fp32: FP32 = False,
    fp16: FP16 = False,
    int8: INT8 = False,
    fp8: FP8 = False,
    calib: Calib = None,
    keep: Keep = None,
    only: Only = None,
    device: Annotated[Optional[str], typer.Option(help="Target, for the versions it runs.")] = None,
    batch: Batch = None,
    size: Size = None,
    recipe: RecipeName = None,
    labels: Labels = None,
    nms: NmsName = "auto",
    nms_impl: NmsImplName = "auto",
    score: Score = None,
    iou: Iou = None,
    max_det: MaxDet = None,
    class_agnostic: ClassAgnostic = False,
    deepstream: DeepStream = None,
    int8_mode: Int8Mode = None,
    provider: Provider = "auto",
    out: Out = None,
    no_check: NoCheck = False,
    force: Force = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Do everything that needs no GPU: `build` then takes the folder on each target.

    Example: trtforge prepare yolov7.onnx --int8 --calib photos/ --device orin-nx -o prepared
    """
    from trtforge import devices, parse
    from trtforge.builder_options import weakly_typed
    from trtforge.bundle.prepared import Target
    from trtforge.options import build as options
    from trtforge.pipeline import deliver

    targets = [Target(None, devices.device(device) if device else None)]
    work = options.work(
        model,
        fp32=fp32,
        fp16=fp16,
        int8=int8,
        fp8=fp8,
        calib=calib,
        batch=batch,
        size=size,
        recipe=recipe,
        labels=labels,
        nms=nms,
        nms_impl=nms_impl,
        score=score,
        iou=iou,
        max_det=max_det,
        class_agnostic=class_agnostic,
        no_check=no_check,
        provider=provider,
        keep=keep or (),
        only=only or (),
        weak=weakly_typed(int8_mode, int8, targets),
    )
    version = parse.version(deepstream)
    store = open_store(dry_run, force)
    options.check_precision(work, targets)
    outs = options.folders(out, work, targets)
    built = deliver(work, targets, outs, store, deepstream=version, force=force)
    delivered(store, built, dry_run, as_json)


def sweep(
    model: Annotated[Path, typer.Argument(help="MODEL.onnx or RECIPE.yaml.")],
    out: Annotated[
        Path,
        typer.Option(
            "-o", "--out", help="Folder for sweep.json, sweep.csv, sweep.svg; with --pick, engine/."
        ),
    ],
    workspace: Annotated[Optional[str], typer.Option(help="Sizes, e.g. 64MiB,256MiB,1GiB.")] = None,
    precision: Annotated[str, typer.Option(help="fp32, fp16, int8, fp8.")] = "fp32,fp16",
    batch: Annotated[Optional[str], typer.Option(help="Largest batches, e.g. 1,8,16.")] = None,
    opt_level: Annotated[
        Optional[str], typer.Option(help="Optimisation levels 1 to 5, e.g. 3,5.")
    ] = None,
    device: Annotated[Optional[str], typer.Option(help="Target; see `trtforge devices`.")] = None,
    backend: BackendName = "auto",
    calib: Calib = None,
    size: Size = None,
    recipe: RecipeName = None,
    images: Annotated[
        Optional[Path], typer.Option(help="Folder of images that accuracy is measured on.")
    ] = None,
    labels: TruthFile = None,
    pick: Annotated[
        Optional[str],
        typer.Option(help="Build the best one's folder: latency, throughput or memory."),
    ] = None,
    duration: Annotated[
        str, typer.Option(help="For each latency, where the engines can run here.")
    ] = "1s",
    provider: Provider = "auto",
    on: On = "local",
    timeout: Timeout = None,
    as_json: AsJson = False,
) -> None:
    """Build engines over workspace, precision, batch and optimisation level, and compare them;
    failures are rows.

    Example: trtforge sweep yolov8n.onnx --workspace 32MiB,64MiB,1GiB --precision fp16,int8 --calib
    photos/
    --device rtx-4090 --pick memory -o sweep
    """
    from dataclasses import asdict

    from trtforge import parse, present, summary, sweeping
    from trtforge.cluster import open_workers
    from trtforge.devices import device as known
    from trtforge.options import sweep as options
    from trtforge.pipeline.targets import targets as serving

    sweeping.check(out, engine=bool(pick))
    store, wanted = open_store(), [known(device)] if device else []
    with open_workers(on, store, wanted, parse.timeout(timeout)) as staff:
        (target,), remarks = serving(staff, backend, wanted or [None])
        for remark in remarks:
            present.note(remark)
        job, asked, best = options.asked(
            model,
            workspace,
            precision,
            batch,
            opt_level,
            calib,
            size,
            recipe,
            images,
            labels,
            pick,
            duration,
            provider,
            target,
        )
        found = sweeping.sweep(job, target, store, asked, staff)
    made = sweeping.write(found, out)
    if best:
        made.append(sweeping.deliver_best(found, best, job, target, store, out))
    result(as_json, asdict(found), summary.swept(found, made))


def tune(
    model: Annotated[Path, typer.Argument(help="MODEL.onnx or RECIPE.yaml.")],
    out: OutFile,
    calib: Calib = None,
    images: Annotated[
        Optional[Path],
        typer.Option(
            help="Images that accuracy is measured on; half to search, half "
            "to judge. Default: the calibration images."
        ),
    ] = None,
    val: Annotated[
        Optional[Path],
        typer.Option(
            "--val",
            help="Their labels: COCO JSON, or CSV of name,class. Without, FP32's own results.",
        ),
    ] = None,
    max_drop: Annotated[
        float, typer.Option("--max-drop", min=0, help="Points that may be lost.")
    ] = 0.3,
    recipe: RecipeName = None,
    size: Size = None,
    probes: Annotated[int, typer.Option(min=1, help="Images for the harm of each operator.")] = 8,
    time: Annotated[
        str, typer.Option(help="After that no new measurement begins: 90s, 30m, 2h.")
    ] = "2h",
    provider: Provider = "auto",
    as_json: AsJson = False,
) -> None:
    """Find which operators must stay float for INT8 to lose no more than a budget; writes a recipe
    for `build`.

    Beside it, under the same name with .svg: accuracy against the share of INT8, for all that was
    measured.

    Example: trtforge tune yolov7.onnx --calib photos/ --images val/ --val val.json --max-drop 0.3
    -o tuned.yaml
    """
    from dataclasses import asdict

    from trtforge import outfile, parse, summary
    from trtforge.options import build as options
    from trtforge.pipeline.job import Job
    from trtforge.tuning import fragment
    from trtforge.tuning import picture as tune_picture
    from trtforge.tuning import tune as search
    from trtforge.tuning.bench import bench

    seconds = parse.seconds(time)
    picture = out.with_suffix(".svg")
    if picture == out:
        raise ForgeError(
            f"{out}: the picture would take the recipe's place", "call the recipe .yaml"
        )
    for made in (out, picture):
        outfile.check(made, model, calib, images, val)
    job = options.work(
        model, int8=True, calib=calib, size=size, recipe=recipe, nms="none", provider=provider
    )
    if not isinstance(job, Job):
        raise ForgeError(f"{model}: a prepared folder is quantized already", "tune the ONNX file")
    tuned = search(bench(job, open_store(), images, val, probes, seconds), max_drop)
    how = f"trtforge tune {model.name}: {tuned.drop:.2f} points lost, {tuned.share:.1%} of the MACs in INT8"
    outfile.write_text(out, fragment(job.recipe, tuned, how))
    outfile.write_text(picture, tune_picture.render(tuned, max_drop, model.name))
    result(
        as_json,
        asdict(tuned) | {"picture": str(picture)},
        summary.tuned(tuned, max_drop, out, picture),
    )
