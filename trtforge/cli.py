"""The command line: parse, call one function, print one result.

Heavy imports live inside command bodies: ``--help`` costs what typer costs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer
from typer.core import TyperGroup

from trtforge import __version__
from trtforge.errors import ForgeError

if TYPE_CHECKING:
    from trtforge.store import Store


class _Reporting(TyperGroup):
    """What the user can put right ends in one line and its exit code; any other error keeps its traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except ForgeError as error:
            print(f"error: {error.problem}", file=sys.stderr)
            if error.hint:
                print(f" hint: {error.hint}", file=sys.stderr)
            raise typer.Exit(error.code) from None
        except KeyboardInterrupt:
            print("interrupted; finished stages are kept", file=sys.stderr)
            raise typer.Exit(130) from None


app = typer.Typer(
    cls=_Reporting,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="From an ONNX model to calibrated TensorRT engines and DeepStream configuration.\n\n"
    "Example: trtforge build yolov7.onnx --int8 --calib photos/ --device rtx-4090",
)

Calib = Annotated[Optional[Path], typer.Option("--calib", help="Folder of photographs to calibrate INT8 on.")]
Devices = Annotated[Optional[list[str]], typer.Option("--device", help="Target, repeatable; see `trtforge devices`.")]
BackendName = Annotated[str, typer.Option("--backend", help="auto, tensorrt, tensorrt-rtx or onnxruntime.")]
Batch = Annotated[Optional[str], typer.Option(help="Largest batch N, or MIN:OPT:MAX.")]
Size = Annotated[Optional[str], typer.Option(help="Height and width of a dynamic input, HxW.")]
RecipeName = Annotated[Optional[str], typer.Option("--recipe", help="Recipe, by name or file; see `trtforge recipes`.")]
Labels = Annotated[Optional[Path], typer.Option(help="Text file with one class a line.")]
TruthFile = Annotated[Optional[Path], typer.Option(
    "--labels", help="COCO JSON for detectors, CSV of name,class for classifiers, a folder of masks for segmentation.",
)]  # fmt: skip
Workspace = Annotated[Optional[str], typer.Option(help="Scratch memory for the builder, e.g. 4GiB.")]
NmsName = Annotated[str, typer.Option("--nms", help="auto, none, onnx, efficientnms or deepstream. TensorRT-RTX's own "
                                      "graph never has any: it can build none.")]  # fmt: skip
NmsImplName = Annotated[str, typer.Option("--nms-impl", help="What deepstream's NMS is made of: plugin or onnx.")]
Score = Annotated[Optional[float], typer.Option(help="Least score of a detection, 0 to 1.")]
Iou = Annotated[Optional[float], typer.Option(help="Greatest overlap of two detections of a class, 0 to 1.")]
MaxDet = Annotated[Optional[int], typer.Option("--max-det", help="Most detections in an image.")]
ClassAgnostic = Annotated[bool, typer.Option("--class-agnostic", help="Suppress across classes.")]
DeepStream = Annotated[Optional[str], typer.Option(help="DeepStream version that will read the configuration.")]
Out = Annotated[Optional[Path], typer.Option("-o", "--out", help="Output folder; with several devices, their parent.")]
Force = Annotated[bool, typer.Option("--force", help="Run every stage again, and overwrite changed outputs.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would run, and why; change nothing.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
NoCheck = Annotated[bool, typer.Option("--no-check", help="Don't compare the folded model with the original.")]
FP32 = Annotated[bool, typer.Option("--fp32", help="Keep FP32 (the default).")]
FP16 = Annotated[bool, typer.Option("--fp16", help="Cast to FP16; inputs, outputs and decode stay FP32.")]
INT8 = Annotated[bool, typer.Option("--int8", help="Quantize to INT8; needs --calib.")]
Provider = Annotated[str, typer.Option(help="Where calibration runs: auto, cpu or cuda.")]
Keep = Annotated[Optional[list[str]], typer.Option(help="Pattern of node names that stay in higher precision; "
                                                   "repeatable, adds to the recipe's.")]  # fmt: skip
Only = Annotated[Optional[list[str]], typer.Option(help="Pattern of node names: nothing else is quantized; "
                                                   "repeatable.")]  # fmt: skip
FP8 = Annotated[bool, typer.Option("--fp8", help="Quantize to FP8 (E4M3), for SM89 and newer; needs --calib.")]
OutFile = Annotated[Path, typer.Option("-o", "--out", help="File to write.")]


@app.callback(invoke_without_command=True)
def _main(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(f"trtforge {__version__}")
        raise typer.Exit


@app.command()
def build(
    model: Annotated[Path, typer.Argument(help="MODEL.onnx, RECIPE.yaml, or a folder made by `prepare`.")],
    fp32: FP32 = False, fp16: FP16 = False, int8: INT8 = False, fp8: FP8 = False, calib: Calib = None,
    keep: Keep = None, only: Only = None,
    device: Devices = None, backend: BackendName = "auto", batch: Batch = None, size: Size = None,
    recipe: RecipeName = None, labels: Labels = None, workspace: Workspace = None,
    nms: NmsName = "auto", nms_impl: NmsImplName = "plugin", score: Score = None, iou: Iou = None,
    max_det: MaxDet = None, class_agnostic: ClassAgnostic = False, deepstream: DeepStream = None,
    provider: Provider = "auto", out: Out = None, no_check: NoCheck = False, force: Force = False,
    dry_run: DryRun = False, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Build engines, and a folder that DeepStream runs, for one or more devices.

    Example: trtforge build yolov7.onnx --int8 --calib photos/ --device rtx-4090 -o out
    """
    from trtforge import devices, options, present
    from trtforge.backends.select import target
    from trtforge.pipeline import deliver

    targets = []
    for name in device or [""]:
        chosen, note = target(backend, devices.device(name) if name else None)
        targets.append(chosen)
        if note:
            present.note(note)
    work = options.work(
        model, fp32=fp32, fp16=fp16, int8=int8, fp8=fp8, calib=calib, batch=batch, size=size, recipe=recipe,
        labels=labels, nms=nms, nms_impl=nms_impl, score=score, iou=iou, max_det=max_det, class_agnostic=class_agnostic,
        no_check=no_check, provider=provider, keep=keep or (), only=only or (),
    )  # fmt: skip
    options.check_precision(work, targets)
    outs = options.folders(out, work, targets)
    version, bytes_allowed = options.parse_version(deepstream), options.parse_memory(workspace)
    store = _store(dry_run, force)
    built = deliver(work, targets, outs, store, workspace=bytes_allowed, deepstream=version, force=force)
    _report(store, built, dry_run, as_json)


@app.command()
def prepare(
    model: Annotated[Path, typer.Argument(help="MODEL.onnx or RECIPE.yaml.")],
    fp32: FP32 = False, fp16: FP16 = False, int8: INT8 = False, fp8: FP8 = False, calib: Calib = None,
    keep: Keep = None, only: Only = None,
    device: Annotated[Optional[str], typer.Option(help="Target, for the versions it runs.")] = None,
    batch: Batch = None, size: Size = None, recipe: RecipeName = None, labels: Labels = None,
    nms: NmsName = "auto", nms_impl: NmsImplName = "plugin", score: Score = None, iou: Iou = None,
    max_det: MaxDet = None, class_agnostic: ClassAgnostic = False, deepstream: DeepStream = None,
    provider: Provider = "auto", out: Out = None, no_check: NoCheck = False, force: Force = False,
    dry_run: DryRun = False, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Do everything that needs no GPU: `build` then takes the folder on each target.

    Example: trtforge prepare yolov7.onnx --int8 --calib photos/ --device orin-nx -o prepared
    """
    from trtforge import devices, options
    from trtforge.job import Target
    from trtforge.pipeline import deliver

    targets = [Target(None, devices.device(device) if device else None)]
    work = options.work(
        model, fp32=fp32, fp16=fp16, int8=int8, fp8=fp8, calib=calib, batch=batch, size=size, recipe=recipe,
        labels=labels, nms=nms, nms_impl=nms_impl, score=score, iou=iou, max_det=max_det, class_agnostic=class_agnostic,
        no_check=no_check, provider=provider, keep=keep or (), only=only or (),
    )  # fmt: skip
    version = options.parse_version(deepstream)
    store = _store(dry_run, force)
    options.check_precision(work, targets)
    outs = options.folders(out, work, targets)
    built = deliver(work, targets, outs, store, workspace=None, deepstream=version, force=force)
    _report(store, built, dry_run, as_json)


@app.command()
def fold(
    model: Annotated[Path, typer.Argument(help="MODEL.onnx.")],
    out: OutFile, size: Size = None, no_check: NoCheck = False, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Fold constants and shape arithmetic; the results stay the same, and are compared.

    Example: trtforge fold yolov7.onnx -o clean.onnx --size 640x640
    """
    from trtforge import options
    from trtforge.pipeline import DEFAULT_SIZE
    from trtforge.stages import MODEL
    from trtforge.stages import fold as stage

    wanted = options.parse_size(size)
    facts = options.single(stage.run, MODEL, out, model=model, size=wanted and list(wanted), head="auto",
                           default_size=list(DEFAULT_SIZE), check=not no_check)  # fmt: skip
    _result(as_json, facts, f"{out}: {stage.say(facts)}")


@app.command()
def calibrate(
    files: Annotated[list[Path], typer.Argument(help="Folded FP32 MODEL.onnx; with --merge, tables of its shards.")],
    calib: Calib = None,
    out: OutFile = Path("calibration.json"),
    recipe: RecipeName = None,
    method: Annotated[Optional[str], typer.Option(help="entropy, percentile, mse or minmax.")] = None,
    taps: Annotated[str, typer.Option(help="explicit: what carries Q/DQ; implicit: all that TensorRT 10's own INT8 "
                                      "needs.")] = "explicit",
    shard: Annotated[Optional[str], typer.Option(help="Observe the I-th of N parts of the folder, I/N.")] = None,
    merge: Annotated[bool, typer.Option("--merge", help="Ranges from the tables of all shards.")] = False,
    provider: Provider = "auto",
    cache: Annotated[Optional[Path], typer.Option(help="Write TensorRT's calibration cache here, too.")] = None,
    tensorrt: Annotated[str, typer.Option(help="Version in the cache's header.")] = "10.16",
    preview_to: Annotated[Optional[Path], typer.Option("--preview", help="Folder for pictures of what the network "
                                                       "sees.")] = None,
    plots: Annotated[Optional[Path], typer.Option(help="Write each histogram with its range here, as SVG.")] = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Find the ranges that INT8 has to represent, on a folder of photographs.

    Example: trtforge calibrate clean.onnx --calib photos/ -o calibration.json

    On two machines: trtforge calibrate clean.onnx --calib photos/ --shard 1/2 -o one.json,
    the same with 2/2, then trtforge calibrate --merge one.json two.json -o calibration.json
    """
    from trtforge import options, present
    from trtforge.stages import calibrate as stage
    from trtforge.stages import observe, preview

    spec = options.load_recipe(recipe)
    asked = options.calibration(files, calib, merge, shard, spec, method, taps, provider)
    if cache:
        options.check_cache(cache, out, shard, tensorrt)
    if preview_to:
        preview.write(asked.model, asked.images, preview_to, spec.preprocess)
    if asked.shard:
        facts = options.single(observe.run, observe.TABLE, out, model=asked.model, images=asked.images,
                               shard=asked.shard, **asked.observing)  # fmt: skip
        return _result(as_json, facts, f"{out}: {observe.say(facts)}")
    facts = options.single(stage.whole, stage.TABLE, out, model=asked.model, images=asked.images, shards=asked.shards,
                           observing=asked.observing, choosing=asked.choosing)  # fmt: skip
    if cache:
        options.single(stage.write_cache, stage.CACHE, cache, table=out, tensorrt=tensorrt)
    for remark in stage.remarks(facts):
        present.note(remark)
    return _result(as_json, facts, f"{out}: {stage.say(facts)}")


@app.command()
def quantize(
    model: Annotated[Path, typer.Argument(help="Folded FP32 MODEL.onnx.")],
    calibration: Annotated[Path, typer.Option(help="Table of `trtforge calibrate`, or a cache that TensorRT wrote.")],
    out: OutFile, recipe: RecipeName = None, keep: Keep = None, only: Only = None,
    fp8: Annotated[bool, typer.Option("--fp8", help="FP8 (E4M3) instead of INT8.")] = False, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Put Q/DQ nodes where TensorRT's INT8 fusions want them.

    Example: trtforge quantize clean.onnx --calibration calibration.json -o int8.onnx
    """
    from trtforge import options
    from trtforge.stages import MODEL
    from trtforge.stages import quantize as stage

    spec = options.load_recipe(recipe, keep=keep or (), only=only or ())
    facts = options.single(stage.run, MODEL, out, model=model, ranges=calibration, keep=list(spec.precision.keep),
                           only=list(spec.precision.only), float_heads=spec.precision.heads == "float",
                           form="fp8" if fp8 else "int8")  # fmt: skip
    _result(as_json, facts, f"{out}: {stage.say(facts)}")


@app.command()
def tune(
    model: Annotated[Path, typer.Argument(help="MODEL.onnx or RECIPE.yaml.")],
    out: OutFile, calib: Calib = None,
    images: Annotated[Optional[Path], typer.Option(help="Images that accuracy is measured on; half to search, half "
                                                   "to judge. Default: the calibration images.")] = None,
    val: Annotated[Optional[Path], typer.Option("--val", help="Their labels: COCO JSON, or CSV of name,class. "
                                                "Without, FP32's own results.")] = None,
    max_drop: Annotated[float, typer.Option("--max-drop", min=0, help="Points that may be lost.")] = 0.3,
    recipe: RecipeName = None, size: Size = None,
    probes: Annotated[int, typer.Option(min=1, help="Images for the harm of each operator.")] = 8,
    time: Annotated[str, typer.Option(help="After that no new measurement begins: 90s, 30m, 2h.")] = "2h",
    provider: Provider = "auto", as_json: AsJson = False,
) -> None:  # fmt: skip
    """Find which operators must stay float for INT8 to lose no more than a budget; writes a recipe for `build`.

    Example: trtforge tune yolov7.onnx --calib photos/ --images val/ --val val.json --max-drop 0.3 -o tuned.yaml
    """
    from dataclasses import asdict

    from trtforge import options, summary
    from trtforge.job import Job
    from trtforge.tune import bench, fragment
    from trtforge.tune import tune as search

    seconds = options.parse_seconds(time)
    job = options.work(
        model, fp32=False, fp16=False, int8=True, fp8=False, calib=calib, batch=None, size=size, recipe=recipe,
        labels=None, nms="none", nms_impl="plugin", score=None, iou=None, max_det=None, class_agnostic=False,
        no_check=False, provider=provider,
    )  # fmt: skip
    if not isinstance(job, Job):
        raise ForgeError(f"{model}: a prepared folder is quantized already", "tune the ONNX file")
    tuned = search(bench(job, _store(False, False), images, val, probes, seconds), max_drop)
    how = f"trtforge tune {model.name}: {tuned.drop:.2f} points lost, {tuned.share:.1%} of the MACs in INT8"
    options.write_text(out, fragment(job.recipe, tuned, how))
    _result(as_json, asdict(tuned), summary.tuned(tuned, max_drop, out))


@app.command()
def cast(
    model: Annotated[Path, typer.Argument(help="MODEL.onnx, with or without Q/DQ.")],
    out: OutFile,
    keep: Annotated[Optional[list[str]], typer.Option(help="Pattern of node names that stay FP32.")] = None,
    as_json: AsJson = False,
) -> None:
    """Cast what is float to FP16; inputs, outputs and decode stay FP32.

    Example: trtforge cast clean.onnx -o fp16.onnx
    """
    from trtforge import options
    from trtforge.stages import MODEL
    from trtforge.stages import cast as stage

    facts = options.single(stage.run, MODEL, out, model=model, keep=keep or [])
    _result(as_json, facts, f"{out}: {stage.say(facts)}")


@app.command()
def patch(
    model: Annotated[Path, typer.Argument(help="MODEL.onnx with decoded outputs.")],
    out: OutFile, nms: Annotated[str, typer.Option(help="none, onnx, efficientnms or deepstream.")] = "deepstream",
    nms_impl: NmsImplName = "plugin", recipe: RecipeName = None, score: Score = None, iou: Iou = None,
    max_det: MaxDet = None, class_agnostic: ClassAgnostic = False, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Put non-maximum suppression behind a detector, in the form that the target reads.

    Example: trtforge patch int8.onnx --nms onnx -o ready.onnx
    """
    from trtforge import options
    from trtforge.stages import MODEL
    from trtforge.stages import patch as stage

    spec = options.load_recipe(recipe, score=score, iou=iou, max_det=max_det, class_agnostic=class_agnostic)
    facts = options.single(stage.run, MODEL, out, model=model, form=nms, impl=nms_impl, head=spec.head,
                           nms=spec.nms.model_dump())  # fmt: skip
    _result(as_json, facts, f"{out}: {stage.say(facts)}")


@app.command()
def verify(
    engines: Annotated[list[Path], typer.Argument(help="One or more: ONNX, engine, prepared folder or bundle.")],
    images: Annotated[Path, typer.Option(help="Folder of images.")],
    labels: TruthFile = None, recipe: RecipeName = None, score: Score = None, iou: Iou = None, max_det: MaxDet = None,
    per_layer: Annotated[bool, typer.Option("--per-layer", help="Compare each activation that both share.")] = False,
    find_worst: Annotated[bool, typer.Option("--find-worst", help="Name the node that adds most noise.")] = False,
    min_map: Annotated[Optional[float], typer.Option("--min-map", help="Gate: mAP50-95 (top-1, mIoU), 0 to 1.")] = None,
    max_drop: Annotated[Optional[float], typer.Option("--max-drop", help="Gate: points lost from the first.")] = None,
    min_cosine: Annotated[Optional[float], typer.Option("--min-cosine", help="Gate: cosine of any output.")] = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Measure accuracy, and how far other engines are from the first.

    Example: trtforge verify model.onnx out/ --images val/ --labels val/labels.json --max-drop 1
    """
    from trtforge import options, summary
    from trtforge.stages.verify import EVALUATION
    from trtforge.stages.verify import verify as measure

    spec = options.load_recipe(recipe) if recipe else None
    given = {"score": score, "iou": iou, "max_det": max_det}
    given = {name: value for name, value in given.items() if value is not None}
    report = measure(
        engines,
        images,
        labels=labels,
        recipe=spec,
        nms=options.nms(EVALUATION, given) if given else None,
        per_layer=per_layer or find_worst,
    )
    _result(as_json, report.document(), summary.verified(report, find_worst))
    options.gates(report, min_map, max_drop, min_cosine)


@app.command()
def sweep(
    model: Annotated[Path, typer.Argument(help="MODEL.onnx or RECIPE.yaml.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for sweep.json, sweep.csv, sweep.svg; with --pick, "
                                      "engine/.")],
    workspace: Annotated[Optional[str], typer.Option(help="Sizes, e.g. 64MiB,256MiB,1GiB.")] = None,
    precision: Annotated[str, typer.Option(help="fp32, fp16, int8, fp8.")] = "fp32,fp16",
    batch: Annotated[Optional[str], typer.Option(help="Largest batches, e.g. 1,8,16.")] = None,
    opt_level: Annotated[Optional[str], typer.Option(help="Optimisation levels 1 to 5, e.g. 3,5.")] = None,
    device: Annotated[Optional[str], typer.Option(help="Target; see `trtforge devices`.")] = None,
    backend: BackendName = "auto", calib: Calib = None, size: Size = None, recipe: RecipeName = None,
    images: Annotated[Optional[Path], typer.Option(help="Folder of images that accuracy is measured on.")] = None,
    labels: TruthFile = None,
    pick: Annotated[Optional[str], typer.Option(help="Build the best one's folder: latency, throughput or "
                                                "memory.")] = None,
    duration: Annotated[str, typer.Option(help="For each latency, where the engines can run here.")] = "1s",
    provider: Provider = "auto", as_json: AsJson = False,
) -> None:  # fmt: skip
    """Build engines over workspace, precision, batch and optimisation level, and compare them; failures are rows.

    Example: trtforge sweep yolov8n.onnx --workspace 32MiB,64MiB,1GiB --precision fp16,int8 --calib photos/
    --device rtx-4090 --pick memory -o sweep
    """
    from dataclasses import asdict

    from trtforge import options, present, summary
    from trtforge import sweep as sweeping
    from trtforge.backends.select import target as serving
    from trtforge.devices import device as known

    target, remark = serving(backend, known(device) if device else None)
    if remark:
        present.note(remark)
    job, asked, best = options.sweeping(model, workspace, precision, batch, opt_level, calib, size, recipe, images,
                                        labels, pick, duration, provider, target)  # fmt: skip
    store = _store(False, False)
    found = sweeping.sweep(job, target, store, asked)
    made = sweeping.write(found, out)
    if best:
        made.append(sweeping.deliver_best(found, best, job, target, store, out))
    _result(as_json, asdict(found), summary.swept(found, made))


@app.command()
def bench(
    engine: Annotated[Path, typer.Argument(help="ONNX, engine, prepared folder or bundle.")],
    batch: Annotated[Optional[str], typer.Option(help="Batch sizes, e.g. 1,8. Default: the engine's own.")] = None,
    streams: Annotated[str, typer.Option(help="Numbers of streams that run at once, e.g. 1,4.")] = "1",
    against: Annotated[Optional[str], typer.Option(help="Time these too: onnxruntime, onnxruntime-cuda, torch, "
                                                   "torch-half, torch-compile, torch-compile-half.")] = None,
    torch: Annotated[Optional[str], typer.Option(help="The PyTorch model: package.module:callable.")] = None,
    weights: Annotated[Optional[Path], typer.Option(help="Checkpoint for it.")] = None,
    provider: Annotated[str, typer.Option(help="Where graphs and PyTorch run: auto, cpu or cuda.")] = "auto",
    cuda_graph: Annotated[Optional[bool], typer.Option("--cuda-graph/--no-cuda-graph", help="Only with, or only "
                                                       "without. Default: both.")] = None,
    transfers: Annotated[bool, typer.Option("--transfers", help="Also with copies to the GPU and back.")] = False,
    warmup: Annotated[str, typer.Option(help="Before anything counts.")] = "200ms",
    duration: Annotated[str, typer.Option(help="For latency, and again for throughput.")] = "3s",
    csv: Annotated[Optional[Path], typer.Option(help="Write the rows here, too.")] = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Measure latency and throughput, beside other runtimes in the same run.

    Example: trtforge bench out/ --batch 1,8 --against onnxruntime-cuda,torch --torch mymodels.yolo:build
    """
    from dataclasses import asdict

    from trtforge import options
    from trtforge.stages import bench as stage
    from trtforge.timing import table

    asked = options.benchmark(batch, streams, against, torch, weights, provider, cuda_graph, transfers, warmup,
                              duration)  # fmt: skip
    found = stage.run(stage.subject(engine), asked)
    if csv:
        options.write_text(csv, table.as_csv(found.rows))
    _result(as_json, asdict(found), table.text(found))


@app.command()
def detect(
    engine: Annotated[Path, typer.Argument(help="ONNX, engine, prepared folder or bundle.")],
    images: Annotated[list[Path], typer.Argument(help="Images, or folders of them.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the pictures.")],
    labels: Labels = None, recipe: RecipeName = None, score: Score = None, iou: Iou = None, max_det: MaxDet = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Draw what an engine finds on images, and list it.

    Example: trtforge detect out/ street.jpg -o pictures
    """
    from trtforge import options, summary
    from trtforge.recipe import Nms
    from trtforge.stages.detect import detect as run

    spec = options.load_recipe(recipe) if recipe else None
    given = {"score": score, "iou": iou, "max_det": max_det}
    given = {name: value for name, value in given.items() if value is not None}
    options.nms(Nms(), given)  # out of range is said before any work
    found = run(engine, images, out, spec, labels, given)
    _result(as_json, found, summary.detected(found, out))


@app.command()
def devices(as_json: AsJson = False) -> None:
    """List the devices that engines can be built for.

    Example: trtforge devices
    """
    from dataclasses import asdict

    from trtforge import present
    from trtforge.devices import catalogue

    rows = [[device.name, device.title, f"SM{device.sm}", f"{device.memory_gib or '?'} GiB",
             " ".join(device.precisions), "yes" if device.rtx_serves else "on the device"]
            for device in catalogue().values()]  # fmt: skip
    header = ["name", "device", "SM", "memory", "precisions", "builds here without a GPU"]
    _result(as_json, [asdict(device) for device in catalogue().values()], present.table(rows, header))


recipes = typer.Typer(
    rich_markup_mode=None,
    help="List the recipes that come with trtforge, or show one.\n\nExample: trtforge recipes show yolov7",
)
app.add_typer(recipes, name="recipes")


@recipes.callback(invoke_without_command=True)
def _recipes(context: typer.Context, as_json: AsJson = False) -> None:
    """List the recipes that come with trtforge.

    Example: trtforge recipes
    """
    if context.invoked_subcommand:
        return
    from trtforge import present
    from trtforge import recipe as known

    found = [known.load(known.find(name)) for name in known.names()]
    rows = [[each.name, each.description] for each in found]
    _result(as_json, [each.model_dump(mode="json") for each in found], present.table(rows, ["name", "for"]))


@recipes.command()
def show(name: Annotated[str, typer.Argument(help="Name of the recipe.")], as_json: AsJson = False) -> None:
    """Print a recipe.

    Example: trtforge recipes show yolov7
    """
    from trtforge import recipe as known

    path = known.find(name)
    _result(as_json, known.load(path).model_dump(mode="json"), path.read_text(encoding="utf-8").rstrip())


def _store(dry_run: bool, force: bool) -> Store:
    from trtforge.store import Store, default_root

    return Store(default_root(), planning=dry_run, force=force)


def _result(as_json: bool, document: Any, text: str) -> None:
    print(json.dumps(document) if as_json else text)


def _report(store: Store, built: list[Any], dry_run: bool, as_json: bool) -> None:
    from trtforge import summary

    document = summary.document(store, built)
    _result(as_json, document, summary.plan(store) if dry_run else summary.text(store, built))


def main() -> None:
    """Entry point of the ``trtforge`` command."""
    app()
