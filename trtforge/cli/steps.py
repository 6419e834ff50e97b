"""Commands for single stages, in the order in which a model passes them."""

from pathlib import Path
from typing import Annotated, Optional

import typer

from trtforge.cli.arguments import (
    AsJson,
    Calib,
    ClassAgnostic,
    Iou,
    Keep,
    MaxDet,
    NmsImplName,
    NoCheck,
    On,
    Only,
    OutFile,
    Provider,
    RecipeName,
    Score,
    Size,
    Timeout,
)
from trtforge.cli.output import open_store, result
from trtforge.errors import ForgeError


def export(
    source: Annotated[
        str, typer.Argument(help="package.module:callable, or a TorchScript or .pt2 file.")
    ],
    out: OutFile,
    kwargs: Annotated[
        Optional[str], typer.Option(help="Arguments for the callable, as JSON.")
    ] = None,
    weights: Annotated[
        Optional[Path], typer.Option(help="Checkpoint for the model that the callable makes.")
    ] = None,
    trust_pickle: Annotated[
        bool, typer.Option("--trust-pickle", help="Load files that can run any code.")
    ] = False,
    batch: Annotated[Optional[int], typer.Option(min=1, help="Images in the traced batch.")] = None,
    size: Annotated[
        Optional[str], typer.Option(help="Height and width of the images, HxW.")
    ] = None,
    dynamic: Annotated[
        Optional[list[str]], typer.Option(help="batch, height or width; repeatable.")
    ] = None,
    output: Annotated[
        Optional[list[str]], typer.Option(help="Output to keep, repeatable; without it, all.")
    ] = None,
    opset: Annotated[
        int, typer.Option(help="ONNX opset; dynamo writes 18 and up, TensorRT 10 reads 9 to 20.")
    ] = 18,
    atol: Annotated[
        float, typer.Option(min=0, help="Largest difference from PyTorch, plus --rtol.")
    ] = 1e-3,
    rtol: Annotated[
        float, typer.Option(min=0, help="The same as a share of PyTorch's value.")
    ] = 1e-3,
    no_check: Annotated[
        bool, typer.Option("--no-check", help="Don't compare with PyTorch in ONNX Runtime.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Export a PyTorch model to ONNX, and compare it with PyTorch.

    The current folder comes first on Python's path. Without --size, images are 640x640. Outputs are
    called after their keys where the model returns a dict, and output0, output1 ... where it
    returns a tuple or list.

    Example: trtforge export mymodels.yolo:build --weights best.pt --dynamic batch -o yolo.onnx
    """
    from trtforge import outfile, parse, present
    from trtforge.pipeline import DEFAULT_SIZE
    from trtforge.stages import MODEL
    from trtforge.stages import export as stage
    from trtforge.store import to_json

    axes = list(
        dict.fromkeys(parse.one_of(each, stage.DYNAMIC, "--dynamic") for each in dynamic or [])
    )
    options = stage.ExportOptions(
        default_size=DEFAULT_SIZE,
        data=f"{out.name}.data",
        kwargs=parse.kwargs(kwargs),
        weights=weights,
        trusted=trust_pickle,
        batch=batch,
        size=parse.size(size),
        dynamic=tuple(axes),
        outputs=tuple(output or ()),
        opset=parse.in_range(opset, stage.OPSETS, "--opset"),
        atol=atol,
        rtol=rtol,
        check=not no_check,
    )
    file = Path(source) if Path(source).is_file() else None
    facts = outfile.single(
        lambda draft: stage.run(draft, file or source, options),
        MODEL,
        out,
        reads=[file, weights],
        beside=options.data,
    )
    for remark in stage.remarks(facts):
        present.note(remark)
    result(as_json, to_json(facts), f"{out}\n{stage.summarize(facts)}")


def fold(
    model: Annotated[Path, typer.Argument(help="MODEL.onnx.")],
    out: OutFile,
    size: Size = None,
    batch: Annotated[Optional[int], typer.Option(min=1, help="Fix a dynamic batch to N.")] = None,
    no_check: NoCheck = False,
    as_json: AsJson = False,
) -> None:
    """Fold constants and shape arithmetic; the results stay the same, and are compared.

    Example: trtforge fold yolov7.onnx -o clean.onnx --size 640x640 --batch 1
    """
    from trtforge import outfile, parse
    from trtforge.pipeline import DEFAULT_SIZE
    from trtforge.recipe import Decode
    from trtforge.stages import MODEL
    from trtforge.stages import fold as stage
    from trtforge.store import File, to_json

    options = stage.FoldOptions(
        size=parse.size(size),
        default_size=DEFAULT_SIZE,
        decode=Decode(),
        check=not no_check,
        batch=batch,
        image=False,
    )
    inputs = stage.FoldInputs(File(model))
    facts = outfile.single(
        lambda draft: stage.run(draft, inputs, options), MODEL, out, reads=[model]
    )
    result(as_json, to_json(facts), f"{out}: {stage.summarize(facts)}")


def calibrate(
    files: Annotated[
        list[Path],
        typer.Argument(help="Folded FP32 MODEL.onnx; with --merge, tables of its shards."),
    ],
    calib: Calib = None,
    out: OutFile = Path("calibration.json"),
    recipe: RecipeName = None,
    method: Annotated[
        Optional[str], typer.Option(help="entropy, percentile, mse or minmax.")
    ] = None,
    taps: Annotated[
        str,
        typer.Option(
            help="explicit: what carries Q/DQ; implicit: all that TensorRT 10's own INT8 needs."
        ),
    ] = "explicit",
    shard: Annotated[
        Optional[str], typer.Option(help="Observe the I-th of N parts of the folder, I/N.")
    ] = None,
    merge: Annotated[
        bool, typer.Option("--merge", help="Ranges from the tables of all shards.")
    ] = False,
    provider: Provider = "auto",
    cache: Annotated[
        Optional[Path], typer.Option(help="Write TensorRT's calibration cache here, too.")
    ] = None,
    tensorrt: Annotated[
        Optional[str],
        typer.Option(help="Version in the cache's header; default: that of DeepStream 9.1."),
    ] = None,
    preview_to: Annotated[
        Optional[Path],
        typer.Option("--preview", help="Folder for pictures of what the network sees."),
    ] = None,
    plots: Annotated[
        Optional[Path], typer.Option(help="Folder for a picture of each histogram with its range.")
    ] = None,
    on: On = "local",
    timeout: Timeout = None,
    as_json: AsJson = False,
) -> None:
    """Find the ranges that INT8 has to represent, on a folder of photographs.

    Example: trtforge calibrate clean.onnx --calib photos/ -o calibration.json

    On two machines: trtforge calibrate clean.onnx --calib photos/ --shard 1/2 -o one.json,
    the same with 2/2, then trtforge calibrate --merge one.json two.json -o calibration.json

    On all nodes of a Ray cluster: trtforge calibrate clean.onnx --calib photos/ --on ray://head:10001
    """
    from dataclasses import replace

    from trtforge import outfile, parse, present
    from trtforge.calibration import CACHE, TABLE
    from trtforge.cluster import open_workers
    from trtforge.devices import stacks
    from trtforge.options import calibrate as options
    from trtforge.options import recipe as recipes
    from trtforge.stages import calibrate as stage
    from trtforge.stages import observe, viewed
    from trtforge.stages import plots as drawn
    from trtforge.store import File, to_json

    if on != "local" and (shard or merge):
        raise ForgeError("--on makes and merges the shards itself", "drop --shard and --merge")
    spec = recipes.load(recipe)
    tensorrt = tensorrt or stacks.tensorrt_for(stacks.default_deepstream(), None)
    asked = options.asked(files, calib, merge, shard, spec, method, taps, provider)
    if cache:
        options.check_cache(cache, out, shard, tensorrt, [*files, asked.images])
    if plots:
        options.check_plots(plots, shard, asked.images, [out, cache, preview_to])
    outfile.check(out, *files, asked.images)
    if preview_to:
        viewed.write(asked.model, asked.images, preview_to, spec.preprocess)
    if asked.shard and asked.model and asked.images:
        observing = replace(asked.observing, shard=asked.shard)
        inputs = observe.ObserveInputs(File(asked.model), File(asked.images))
        seen_facts = outfile.single(
            lambda draft: observe.run(draft, inputs, observing),
            observe.TABLE,
            out,
            reads=[asked.model, asked.images],
        )
        return result(as_json, to_json(seen_facts), f"{out}: {observe.summarize(seen_facts)}")
    with open_workers(on, open_store(), timeout=parse.timeout(timeout)) as staff:

        def write(draft: Path) -> stage.CalibrateFacts:
            if asked.model is None or asked.images is None:
                return stage.calibrate_shards(draft, asked.shards, asked.choosing)
            return stage.calibrate_images(
                draft,
                asked.model,
                asked.images,
                asked.observing,
                asked.choosing,
                None if on == "local" else staff,
            )

        reads = [asked.model, asked.images, *asked.shards]
        facts = outfile.single(write, TABLE, out, reads=reads)
    if cache:
        outfile.single(
            lambda draft: stage.write_cache(draft, out, tensorrt), CACHE, cache, reads=[out]
        )
    if plots:
        facts = replace(facts, plots=drawn.write(out, plots))
    for remark in stage.remarks(facts):
        present.note(remark)
    made = f"\n{plots}: {facts.plots} plots" if plots else ""
    return result(as_json, to_json(facts), f"{out}: {stage.summarize(facts)}{made}")


def quantize(
    model: Annotated[Path, typer.Argument(help="Folded FP32 MODEL.onnx.")],
    calibration: Annotated[
        Path, typer.Option(help="Table of `trtforge calibrate`, or a cache that TensorRT wrote.")
    ],
    out: OutFile,
    calib: Annotated[
        Optional[Path],
        typer.Option(
            help="The table's folder of images: refines ranges and weights by the errors they make."
        ),
    ] = None,
    recipe: RecipeName = None,
    keep: Keep = None,
    only: Only = None,
    fp8: Annotated[bool, typer.Option("--fp8", help="FP8 (E4M3) instead of INT8.")] = False,
    as_json: AsJson = False,
) -> None:
    """Put Q/DQ nodes where TensorRT's INT8 fusions want them.

    Example: trtforge quantize clean.onnx --calibration calibration.json --calib photos/ -o
    int8.onnx
    """
    from trtforge import outfile
    from trtforge.options import recipe as recipes
    from trtforge.stages import MODEL
    from trtforge.stages import quantize as stage
    from trtforge.stages.refine import RefineInputs
    from trtforge.store import File, to_json

    spec = recipes.load(recipe, keep=keep or (), only=only or ())
    options = stage.QuantizeOptions(
        keep=spec.precision.keep,
        only=spec.precision.only,
        float_heads=spec.precision.heads == "float",
        form="fp8" if fp8 else "int8",
    )
    inputs = stage.QuantizeInputs(File(model), File(calibration))
    images = calib if not fp8 else None

    def write(draft: Path) -> stage.QuantizeFacts:
        if images is None:
            return stage.run(draft, inputs, options)
        refining = RefineInputs(inputs.model, inputs.ranges, File(images))
        return stage.refine_and_quantize(draft, refining, options)

    facts = outfile.single(write, MODEL, out, reads=[model, calibration, images])
    result(as_json, to_json(facts), f"{out}: {stage.summarize(facts)}")


def cast(
    model: Annotated[Path, typer.Argument(help="MODEL.onnx, with or without Q/DQ.")],
    out: OutFile,
    keep: Annotated[
        Optional[list[str]], typer.Option(help="Pattern of node names that stay FP32.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Cast what is float to FP16; inputs, outputs and decode stay FP32.

    Example: trtforge cast clean.onnx -o fp16.onnx
    """
    from trtforge import outfile
    from trtforge.stages import MODEL
    from trtforge.stages import cast as stage
    from trtforge.store import File, to_json

    inputs, options = stage.CastInputs(File(model)), stage.CastOptions(tuple(keep or ()))
    facts = outfile.single(
        lambda draft: stage.run(draft, inputs, options), MODEL, out, reads=[model]
    )
    result(as_json, to_json(facts), f"{out}: {stage.summarize(facts)}")


def patch(
    model: Annotated[Path, typer.Argument(help="MODEL.onnx.")],
    out: Annotated[Optional[Path], typer.Option("-o", "--out", help="File to write.")] = None,
    nms: Annotated[
        Optional[str],
        typer.Option(
            help="deepstream (the default), onnx, efficientnms, none, or keep (the "
            "default with the next three)."
        ),
    ] = None,
    preprocess: Annotated[
        bool, typer.Option("--preprocess", help="Take uint8 NHWC frames.")
    ] = False,
    normalization: Annotated[
        bool,
        typer.Option(
            "--fold-normalization",
            help="Put the recipe's means and deviations into the first convolution.",
        ),
    ] = False,
    input_format: Annotated[
        Optional[str], typer.Option(help="rgb or bgr: channel order to take.")
    ] = None,
    nms_impl: NmsImplName = "auto",
    recipe: RecipeName = None,
    score: Score = None,
    iou: Iou = None,
    max_det: MaxDet = None,
    class_agnostic: ClassAgnostic = False,
    list_: Annotated[
        bool, typer.Option("--list", help="Show what is there, and write nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Edit a graph: NMS in the form that the target reads, preprocessing, and a recipe's own
    patches.

    Example: trtforge patch int8.onnx --nms onnx -o ready.onnx
    """
    from trtforge import outfile, parse, summary
    from trtforge.options import recipe as recipes
    from trtforge.stages import MODEL
    from trtforge.stages import patch as stage
    from trtforge.store import to_json

    spec = recipes.load(
        recipe, score=score, iou=iou, max_det=max_det, class_agnostic=class_agnostic
    )
    if list_:
        found = stage.listed(model, spec)
        result(as_json, found.document(), summary.listed(found))
        return
    if out is None:
        raise ForgeError("patch writes a file", "give it with -o, or look with --list")
    alone = preprocess or normalization or input_format is not None
    form = parse.one_of(nms or ("keep" if alone else "deepstream"), recipes.NMS_FORMS[1:], "--nms")
    recipes.check_nms(
        form,
        {
            "nms-impl": nms_impl,
            "score": score,
            "iou": iou,
            "max-det": max_det,
            "class-agnostic": class_agnostic,
        },
    )
    color = parse.one_of(input_format, ("rgb", "bgr"), "--input-format") if input_format else None
    options = stage.EditOptions(form, nms_impl, spec, preprocess, normalization, color)
    facts = outfile.single(
        lambda draft: stage.edit(draft, model, options), MODEL, out, reads=[model]
    )
    text = f"{out}: {stage.summarize(facts)}; {summary.feed(facts.feed)}"
    result(as_json, to_json(facts), text)
