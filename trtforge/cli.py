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
from trtforge.deepstream.commands import app as deepstream_app
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
NmsName = Annotated[str, typer.Option("--nms", help="auto, none, keep, onnx, efficientnms, deepstream. TensorRT-RTX's "
                                      "own graph never has any: it can build none.")]  # fmt: skip
NmsImplName = Annotated[str, typer.Option("--nms-impl", help="What deepstream's NMS is made of: auto, plugin or onnx.")]
Score = Annotated[Optional[float], typer.Option(help="Least score of a detection, 0 to 1.")]
Iou = Annotated[Optional[float], typer.Option(help="Greatest overlap of two detections of a class, 0 to 1.")]
MaxDet = Annotated[Optional[int], typer.Option("--max-det", help="Most detections in an image.")]
ClassAgnostic = Annotated[bool, typer.Option("--class-agnostic", help="Suppress across classes.")]
Pools = Annotated[Optional[list[str]], typer.Option("--memory-pool", help="NAME=SIZE of another memory pool: dla-sram, "
                   "dla-local-dram, dla-global-dram, tactic-dram or tactic-shared-memory; repeatable.")]  # fmt: skip
Profiles = Annotated[Optional[list[str]], typer.Option("--profile", help="Shapes NAME=MIN:OPT:MAX of inputs, e.g. "
                     "images=1x3x640x640:4x3x640x640:8x3x640x640; repeatable: one profile each.")]  # fmt: skip
OptLevel = Annotated[Optional[int], typer.Option("--opt-level", min=0, max=5, help="How long TensorRT looks for faster "
                                                 "kernels.")]  # fmt: skip
Sparsity = Annotated[bool, typer.Option("--sparsity", help="Use weights of which two in four are zero.")]
VersionCompatible = Annotated[bool, typer.Option("--version-compatible", help="Loads in later TensorRTs, too.")]
HardwareCompatible = Annotated[bool, typer.Option("--hardware-compatible", help="Runs on Ampere and newer.")]
Refit = Annotated[bool, typer.Option("--refit", help="Weights can be changed in the engine.")]
StripWeights = Annotated[bool, typer.Option("--strip-weights", help="Leave the weights out, to be refitted.")]
Dla = Annotated[Optional[int], typer.Option("--dla", min=0, help="DLA core; what it can't compute runs on the GPU.")]
Tf32 = Annotated[Optional[bool], typer.Option("--tf32/--no-tf32", help="Round FP32 products to TF32 (TensorRT's "
                                              "default), or don't.")]  # fmt: skip
AuxStreams = Annotated[Optional[int], typer.Option("--aux-streams", min=0, help="Most streams beside the main one.")]
TacticSources = Annotated[Optional[str], typer.Option("--tactic-sources", help="Only these, by comma: "
                          "edge-mask-convolutions, jit-convolutions, cublas, cublas-lt, cudnn.")]  # fmt: skip
TimingCache = Annotated[Optional[Path], typer.Option("--timing-cache", help="File of measured kernels; default: one in "
                                                     "the store.")]  # fmt: skip
Int8Mode = Annotated[Optional[str], typer.Option("--int8-mode", help="explicit (Q/DQ in the graph, the default), or "
                     "implicit: FP32 graph and calibration cache, for TensorRT 10 and nvinfer.")]  # fmt: skip
CalibratorName = Annotated[str, typer.Option("--calibrator", help="Of implicit INT8: own, or TensorRT's entropy or "
                                             "minmax on the target.")]  # fmt: skip
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
    nms: NmsName = "auto", nms_impl: NmsImplName = "auto", score: Score = None, iou: Iou = None,
    max_det: MaxDet = None, class_agnostic: ClassAgnostic = False, deepstream: DeepStream = None,
    memory_pool: Pools = None, profile: Profiles = None, opt_level: OptLevel = None, sparsity: Sparsity = False,
    version_compatible: VersionCompatible = False, hardware_compatible: HardwareCompatible = False,
    refit: Refit = False, strip_weights: StripWeights = False, dla: Dla = None, tf32: Tf32 = None,
    aux_streams: AuxStreams = None, tactic_sources: TacticSources = None, timing_cache: TimingCache = None,
    int8_mode: Int8Mode = None, calibrator: CalibratorName = "own",
    provider: Provider = "auto", out: Out = None, no_check: NoCheck = False, force: Force = False,
    dry_run: DryRun = False, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Build engines, and a folder that DeepStream runs, for one or more devices.

    Example: trtforge build yolov7.onnx --int8 --calib photos/ --device rtx-4090 -o out
    """
    from trtforge import devices, options, present
    from trtforge.backends.select import check, target
    from trtforge.builder_options import builder, weakly_typed
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
        weak=weakly_typed(int8_mode, int8, targets), calibrator=calibrator,
    )  # fmt: skip
    options.check_precision(work, targets)
    outs = options.folders(out, work, targets)
    version = options.parse_version(deepstream)
    how = builder(
        workspace, memory_pool or (), profile or (), tactic_sources, timing_cache, opt_level=opt_level,
        sparsity=sparsity, version_compatible=version_compatible, hardware_compatible=hardware_compatible, refit=refit,
        strip_weights=strip_weights, dla_core=dla, tf32=tf32, aux_streams=aux_streams, calibrator=calibrator,
    )  # fmt: skip
    for remark in check(targets, work, how, version):
        present.note(remark)
    store = _store(dry_run, force)
    built = deliver(work, targets, outs, store, options=how, deepstream=version, force=force)
    _report(store, built, dry_run, as_json)


@app.command()
def prepare(
    model: Annotated[Path, typer.Argument(help="MODEL.onnx or RECIPE.yaml.")],
    fp32: FP32 = False, fp16: FP16 = False, int8: INT8 = False, fp8: FP8 = False, calib: Calib = None,
    keep: Keep = None, only: Only = None,
    device: Annotated[Optional[str], typer.Option(help="Target, for the versions it runs.")] = None,
    batch: Batch = None, size: Size = None, recipe: RecipeName = None, labels: Labels = None,
    nms: NmsName = "auto", nms_impl: NmsImplName = "auto", score: Score = None, iou: Iou = None,
    max_det: MaxDet = None, class_agnostic: ClassAgnostic = False, deepstream: DeepStream = None,
    int8_mode: Int8Mode = None, provider: Provider = "auto", out: Out = None, no_check: NoCheck = False,
    force: Force = False, dry_run: DryRun = False, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Do everything that needs no GPU: `build` then takes the folder on each target.

    Example: trtforge prepare yolov7.onnx --int8 --calib photos/ --device orin-nx -o prepared
    """
    from trtforge import devices, options
    from trtforge.builder_options import weakly_typed
    from trtforge.job import Target
    from trtforge.pipeline import deliver

    targets = [Target(None, devices.device(device) if device else None)]
    work = options.work(
        model, fp32=fp32, fp16=fp16, int8=int8, fp8=fp8, calib=calib, batch=batch, size=size, recipe=recipe,
        labels=labels, nms=nms, nms_impl=nms_impl, score=score, iou=iou, max_det=max_det, class_agnostic=class_agnostic,
        no_check=no_check, provider=provider, keep=keep or (), only=only or (),
        weak=weakly_typed(int8_mode, int8, targets),
    )  # fmt: skip
    version = options.parse_version(deepstream)
    store = _store(dry_run, force)
    options.check_precision(work, targets)
    outs = options.folders(out, work, targets)
    built = deliver(work, targets, outs, store, deepstream=version, force=force)
    _report(store, built, dry_run, as_json)


@app.command()
def export(
    source: Annotated[str, typer.Argument(help="package.module:callable, or a TorchScript or .pt2 file.")],
    out: OutFile,
    kwargs: Annotated[Optional[str], typer.Option(help="Arguments for the callable, as JSON.")] = None,
    weights: Annotated[Optional[Path], typer.Option(help="Checkpoint for the model that the callable makes.")] = None,
    trust_pickle: Annotated[bool, typer.Option("--trust-pickle", help="Load files that can run any code.")] = False,
    batch: Annotated[Optional[int], typer.Option(min=1, help="Images in the traced batch.")] = None,
    size: Annotated[Optional[str], typer.Option(help="Height and width of the images, HxW.")] = None,
    dynamic: Annotated[Optional[list[str]], typer.Option(help="batch, height or width; repeatable.")] = None,
    output: Annotated[Optional[list[str]], typer.Option(help="Output to keep, repeatable; without it, all.")] = None,
    opset: Annotated[int, typer.Option(help="ONNX opset; dynamo writes 18 and up, TensorRT 10 reads 9 to 20.")] = 18,
    atol: Annotated[float, typer.Option(min=0, help="Largest difference from PyTorch, plus --rtol.")] = 1e-3,
    rtol: Annotated[float, typer.Option(min=0, help="The same as a share of PyTorch's value.")] = 1e-3,
    no_check: Annotated[bool, typer.Option("--no-check", help="Don't compare with PyTorch in ONNX Runtime.")] = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Export a PyTorch model to ONNX, and compare it with PyTorch.

    The current folder comes first on Python's path. Without --size, images are 640x640. Outputs are called after
    their keys where the model returns a dict, and output0, output1 ... where it returns a tuple or list.

    Example: trtforge export mymodels.yolo:build --weights best.pt --dynamic batch -o yolo.onnx
    """
    from trtforge import options, present
    from trtforge.pipeline import DEFAULT_SIZE
    from trtforge.stages import MODEL
    from trtforge.stages import export as stage

    axes = list(dict.fromkeys(options.one_of(each, stage.DYNAMIC, "--dynamic") for each in dynamic or []))
    facts = options.single(
        stage.run, MODEL, out, beside=f"{out.name}.data", data=f"{out.name}.data",
        source=Path(source) if Path(source).is_file() else source, kwargs=options.parse_kwargs(kwargs), weights=weights,
        trusted=trust_pickle, batch=batch, size=options.parse_size(size), default_size=DEFAULT_SIZE, dynamic=axes,
        wanted=output or [], opset=options.in_range(opset, stage.OPSETS, "--opset"), atol=atol, rtol=rtol,
        check=not no_check,
    )  # fmt: skip
    for remark in stage.remarks(facts):
        present.note(remark)
    _result(as_json, facts, f"{out}\n{stage.say(facts)}")


@app.command()
def fold(
    model: Annotated[Path, typer.Argument(help="MODEL.onnx.")],
    out: OutFile, size: Size = None,
    batch: Annotated[Optional[int], typer.Option(min=1, help="Fix a dynamic batch to N.")] = None,
    no_check: NoCheck = False, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Fold constants and shape arithmetic; the results stay the same, and are compared.

    Example: trtforge fold yolov7.onnx -o clean.onnx --size 640x640 --batch 1
    """
    from trtforge import options
    from trtforge.pipeline import DEFAULT_SIZE
    from trtforge.stages import MODEL
    from trtforge.stages import fold as stage

    wanted = options.parse_size(size)
    facts = options.single(stage.run, MODEL, out, model=model, size=wanted and list(wanted), head="auto",
                           default_size=list(DEFAULT_SIZE), check=not no_check, batch=batch, image=False)  # fmt: skip
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
    from trtforge.stages import observe, seen

    spec = options.load_recipe(recipe)
    asked = options.calibration(files, calib, merge, shard, spec, method, taps, provider)
    if cache:
        options.check_cache(cache, out, shard, tensorrt)
    if preview_to:
        seen.write(asked.model, asked.images, preview_to, spec.preprocess)
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
    out: OutFile,
    calib: Annotated[Optional[Path], typer.Option(help="The table's folder of images: refines ranges and weights by "
                                                  "the errors they make.")] = None,
    recipe: RecipeName = None, keep: Keep = None, only: Only = None,
    fp8: Annotated[bool, typer.Option("--fp8", help="FP8 (E4M3) instead of INT8.")] = False, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Put Q/DQ nodes where TensorRT's INT8 fusions want them.

    Example: trtforge quantize clean.onnx --calibration calibration.json --calib photos/ -o int8.onnx
    """
    from trtforge import options
    from trtforge.stages import MODEL
    from trtforge.stages import quantize as stage

    spec = options.load_recipe(recipe, keep=keep or (), only=only or ())
    run = stage.refined if calib and not fp8 else stage.run
    images: dict[str, Any] = {"images": calib} if calib and not fp8 else {}
    facts = options.single(run, MODEL, out, model=model, ranges=calibration, **images, keep=list(spec.precision.keep),
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
    model: Annotated[Path, typer.Argument(help="MODEL.onnx.")],
    out: Annotated[Optional[Path], typer.Option("-o", "--out", help="File to write.")] = None,
    nms: Annotated[Optional[str], typer.Option(help="deepstream (the default), onnx, efficientnms, none, or keep (the "
                                               "default with the next three).")] = None,
    preprocess: Annotated[bool, typer.Option("--preprocess", help="Take uint8 NHWC frames.")] = False,
    normalization: Annotated[bool, typer.Option("--fold-normalization", help="Put the recipe's means and deviations "
                                                "into the first convolution.")] = False,
    input_format: Annotated[Optional[str], typer.Option(help="rgb or bgr: channel order to take.")] = None,
    nms_impl: NmsImplName = "auto", recipe: RecipeName = None, score: Score = None, iou: Iou = None,
    max_det: MaxDet = None, class_agnostic: ClassAgnostic = False,
    list_: Annotated[bool, typer.Option("--list", help="Show what is there, and write nothing.")] = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Edit a graph: NMS in the form that the target reads, preprocessing, and a recipe's own patches.

    Example: trtforge patch int8.onnx --nms onnx -o ready.onnx
    """
    from trtforge import options, summary
    from trtforge.stages import MODEL
    from trtforge.stages import patch as stage

    spec = options.load_recipe(recipe, score=score, iou=iou, max_det=max_det, class_agnostic=class_agnostic)
    if list_:
        found = stage.listed(model, spec)
        _result(as_json, found, summary.listed(found))
        return
    if out is None:
        raise ForgeError("patch writes a file", "give it with -o, or look with --list")
    alone = preprocess or normalization or input_format is not None
    form = options.one_of(nms or ("keep" if alone else "deepstream"), options.NMS_FORMS[1:], "--nms")
    color = options.one_of(input_format, ("rgb", "bgr"), "--input-format") if input_format else None
    facts = options.single(stage.edit, MODEL, out, model=model, form=form, impl=nms_impl, recipe=spec,
                           front=preprocess, normalization=normalization, color=color)  # fmt: skip
    _result(as_json, facts, f"{out}: {stage.say(facts)}; {summary.feed(facts['feed'])}")


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
def report(
    source: Annotated[Path, typer.Argument(help="Bundle, layers.json, trtexec's list of layers, TensorRT-RTX's build "
                                           "log, TensorRT engine, or ONNX model (run by ONNX Runtime).")],
    onnx: Annotated[Optional[Path], typer.Option(help="Graph that the engine was built from.")] = None,
    layers: Annotated[Optional[Path], typer.Option(help="List of layers by trtexec --exportLayerInfo.")] = None,
    profile: Annotated[Optional[Path], typer.Option(help="Times, by trtexec --exportProfile or ONNX Runtime.")] = None,
    accuracy: Annotated[Optional[Path], typer.Option(help="What `trtforge verify --json` wrote.")] = None,
    device: Annotated[Optional[str], typer.Option(help="Device whose roofline is drawn.")] = None,
    out: Annotated[Optional[Path], typer.Option("-o", "--out", help="Folder for JSON, Markdown and HTML.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Markdown on stdout, for a pull request.")] = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Tell which ONNX nodes became which engine layer, in which precision, and what that costs.

    Example: trtforge report out/ --profile profile.json -o report
    """
    from trtforge import devices
    from trtforge.report.markdown import markdown as written
    from trtforge.report.text import text
    from trtforge.stages import report as stage

    if out:
        stage.check(out)
    found, context = stage.read(source, onnx=onnx, layers=layers, profile=profile, accuracy=accuracy,
                                device=devices.device(device) if device else None)  # fmt: skip
    if out:
        stage.write(out, found, context)
    if markdown and not as_json:
        print(written(found, context.title), end="")
    else:
        _result(as_json, found.model_dump(mode="json"), text(found, context.title, out))


@app.command()
def diff(
    one: Annotated[Path, typer.Argument(help="Bundle, layers.json, or whatever `trtforge report` takes.")],
    other: Annotated[Path, typer.Argument(help="The engine to hold against it.")],
    max_slower: Annotated[Optional[str], typer.Option("--max-slower", help="Gate: percent that all layers may take "
                                                      "longer, e.g. 3%.")] = None,
    no_new_reformat: Annotated[bool, typer.Option("--no-new-reformat", help="Gate: no layer that only converts or "
                                                  "copies comes in.")] = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Tell what differs between two engines: layers, precisions, kernels, times and fusions.

    Example: trtforge diff fp16/ int8/ --no-new-reformat
    """
    from trtforge import options
    from trtforge.report import diff as compare
    from trtforge.stages.report import read

    limit = options.parse_percent(max_slower, "--max-slower")
    found = compare.diff(read(one)[0], read(other)[0])
    _result(as_json, found.document(), compare.text(found))
    compare.gates(found, limit, no_new_reformat)


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


app.add_typer(deepstream_app, name="deepstream")


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
