"""Make and edit ONNX graphs, one stage each: export, fold, quantize, cast, patch."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional, Union

from trtforge.options.nms import ClassAgnostic, Implementation, Iou, MaxDet, Nms, Score
from trtforge.options.option import Argument, Option
from trtforge.options.shared import (
    CheckFolding,
    InputSize,
    Keep,
    Only,
    OutFile,
    RecipeName,
)
from trtforge.options.values import (
    Names,
    PathLike,
    Size,
    check_range,
    names_of,
    parse_choice,
    parse_kwargs,
    parse_size,
    path_of,
)
from trtforge.present import ProgressCallback, listening

if TYPE_CHECKING:
    from trtforge.api.results import FileResult

OnnxModel = Annotated[PathLike, Argument(help="MODEL.onnx.", reads=Path)]


def export(
    source: Annotated[
        str, Argument(help="package.module:callable, or a TorchScript or .pt2 file.", reads=str)
    ],
    out: OutFile,
    *,
    kwargs: Annotated[
        Union[dict[str, object], str, None],
        Option(help="Arguments for the callable, as JSON.", reads=str),
    ] = None,
    weights: Annotated[
        Optional[PathLike],
        Option(help="Checkpoint for the model that the callable makes.", reads=Path),
    ] = None,
    trust_pickle: Annotated[
        bool, Option(("--trust-pickle",), help="Load files that can run any code.")
    ] = False,
    batch: Annotated[Optional[int], Option(low=1, help="Images in the traced batch.")] = None,
    size: Annotated[
        Optional[Size], Option(help="Height and width of the images, HxW.", reads=str)
    ] = None,
    dynamic: Annotated[
        Names, Option(help="batch, height or width; repeatable.", reads=str, repeated=True)
    ] = (),
    output: Annotated[
        Names,
        Option(help="Output to keep, repeatable; without it, all.", reads=str, repeated=True),
    ] = (),
    opset: Annotated[
        int, Option(help="ONNX opset; dynamo writes 18 and up, TensorRT 10 reads 9 to 20.")
    ] = 18,
    atol: Annotated[
        float, Option(low=0, help="Largest difference from PyTorch, plus --rtol.")
    ] = 1e-3,
    rtol: Annotated[float, Option(low=0, help="The same as a share of PyTorch's value.")] = 1e-3,
    check: Annotated[
        bool,
        Option(("--no-check",), help="Don't compare with PyTorch in ONNX Runtime.", inverted=True),
    ] = True,
    progress: Optional[ProgressCallback] = None,
) -> "FileResult":
    """Export a PyTorch model to ONNX, and compare it with PyTorch.

    Args:
        source: "package.module:callable", or a TorchScript or .pt2 file.
        out: ONNX file to write.
        kwargs: arguments for the callable.
        weights: checkpoint for the model that the callable makes.
        trust_pickle: load files that can run any code.
        batch: images in the traced batch.
        size: height and width of the images.
        dynamic: "batch", "height" or "width", or several.
        output: outputs to keep; none: all.
        opset: ONNX opset.
        atol, rtol: largest absolute and relative difference from PyTorch.
        check: compare with PyTorch in ONNX Runtime.
        progress: called with a label and the share that is done.

    Raises:
        ForgeError: an input is wrong.
        GateError: the ONNX model computes something else than PyTorch.
        MachineError: PyTorch is not installed.
    """
    from trtforge import outfile
    from trtforge.api.results import FileResult
    from trtforge.pipeline import DEFAULT_SIZE
    from trtforge.stages import MODEL
    from trtforge.stages import export as stage

    target = Path(out)
    axes = [parse_choice(axis, stage.DYNAMIC, "--dynamic") for axis in names_of(dynamic)]
    with listening(progress):
        facts = outfile.single(
            stage.run,
            MODEL,
            target,
            beside=f"{target.name}.data",
            data=f"{target.name}.data",
            source=Path(source) if Path(source).is_file() else source,
            kwargs=parse_kwargs(kwargs),
            weights=path_of(weights),
            trusted=trust_pickle,
            batch=batch,
            size=parse_size(size),
            default_size=DEFAULT_SIZE,
            dynamic=list(dict.fromkeys(axes)),
            wanted=names_of(output),
            opset=check_range(opset, stage.OPSETS[0], stage.OPSETS[-1], "--opset"),
            atol=atol,
            rtol=rtol,
            check=check,
        )
    return FileResult(target, facts, stage.say(facts), stage.remarks(facts))


def fold(
    model: OnnxModel,
    out: OutFile,
    *,
    size: InputSize = None,
    batch: Annotated[Optional[int], Option(low=1, help="Fix a dynamic batch to N.")] = None,
    check: CheckFolding = True,
    progress: Optional[ProgressCallback] = None,
) -> "FileResult":
    """Fold constants and shape arithmetic; the results stay the same, and are compared.

    Args:
        model: ONNX file.
        out: ONNX file to write.
        size: height and width of a dynamic input.
        batch: what a dynamic batch is fixed to.
        check: compare the folded model with the original.
        progress: called with a label and the share that is done.

    Raises:
        ForgeError: an input is wrong.
    """
    from trtforge import outfile
    from trtforge.api.results import FileResult
    from trtforge.pipeline import DEFAULT_SIZE
    from trtforge.stages import MODEL
    from trtforge.stages import fold as stage

    sides = parse_size(size)
    with listening(progress):
        facts = outfile.single(
            stage.run,
            MODEL,
            Path(out),
            model=Path(model),
            size=sides and list(sides),
            head="auto",
            default_size=list(DEFAULT_SIZE),
            check=check,
            batch=batch,
            image=False,
        )
    return FileResult(Path(out), facts, stage.say(facts))


def quantize(
    model: Annotated[PathLike, Argument(help="Folded FP32 MODEL.onnx.", reads=Path)],
    calibration: Annotated[
        PathLike,
        Option(help="Table of `trtforge calibrate`, or a cache that TensorRT wrote.", reads=Path),
    ],
    out: OutFile,
    *,
    calib: Annotated[
        Optional[PathLike],
        Option(
            help="The table's folder of images: refines ranges and weights by the errors they "
            "make.",
            reads=Path,
        ),
    ] = None,
    recipe: RecipeName = None,
    keep: Keep = (),
    only: Only = (),
    fp8: Annotated[bool, Option(("--fp8",), help="FP8 (E4M3) instead of INT8.")] = False,
    progress: Optional[ProgressCallback] = None,
) -> "FileResult":
    """Put Q/DQ nodes where TensorRT's INT8 fusions want them.

    Args:
        model: folded FP32 ONNX file.
        calibration: table of ``calibrate``, or a cache that TensorRT wrote.
        out: ONNX file to write.
        calib: the table's folder of images, to refine ranges and weights on.
        recipe: name or file.
        keep: patterns of the names of nodes that stay in higher precision.
        only: patterns of the names of nodes: nothing else is quantized.
        fp8: FP8 (E4M3) instead of INT8.
        progress: called with a label and the share that is done.

    Raises:
        ForgeError: an input is wrong.
    """
    from trtforge import outfile
    from trtforge.api.recipes import load_recipe
    from trtforge.api.results import FileResult
    from trtforge.stages import MODEL
    from trtforge.stages import quantize as stage

    spec = load_recipe(recipe, keep=keep, only=only)
    refine = calib is not None and not fp8
    images: dict[str, Any] = {"images": path_of(calib)} if refine else {}
    with listening(progress):
        facts = outfile.single(
            stage.refined if refine else stage.run,
            MODEL,
            Path(out),
            model=Path(model),
            ranges=Path(calibration),
            **images,
            keep=list(spec.precision.keep),
            only=list(spec.precision.only),
            float_heads=spec.precision.heads == "float",
            form="fp8" if fp8 else "int8",
        )
    return FileResult(Path(out), facts, stage.say(facts))


def cast(
    model: Annotated[PathLike, Argument(help="MODEL.onnx, with or without Q/DQ.", reads=Path)],
    out: OutFile,
    *,
    keep: Annotated[
        Names, Option(help="Pattern of node names that stay FP32.", reads=str, repeated=True)
    ] = (),
    progress: Optional[ProgressCallback] = None,
) -> "FileResult":
    """Cast what is float to FP16; inputs, outputs and decode stay FP32.

    Args:
        model: ONNX file, with or without Q/DQ nodes.
        out: ONNX file to write.
        keep: patterns of the names of nodes that stay FP32.
        progress: called with a label and the share that is done.

    Raises:
        ForgeError: an input is wrong.
    """
    from trtforge import outfile
    from trtforge.api.results import FileResult
    from trtforge.stages import MODEL
    from trtforge.stages import cast as stage

    with listening(progress):
        facts = outfile.single(stage.run, MODEL, Path(out), model=Path(model), keep=names_of(keep))
    return FileResult(Path(out), facts, stage.say(facts))


def patch(
    model: OnnxModel,
    out: Annotated[
        Optional[PathLike], Option(("-o", "--out"), help="File to write.", reads=Path)
    ] = None,
    *,
    nms: Annotated[
        Optional[str],
        Option(
            help="deepstream (the default), onnx, efficientnms, none, or keep (the default with "
            "the next three)."
        ),
    ] = None,
    preprocess: Annotated[bool, Option(("--preprocess",), help="Take uint8 NHWC frames.")] = False,
    fold_normalization: Annotated[
        bool,
        Option(
            ("--fold-normalization",),
            help="Put the recipe's means and deviations into the first convolution.",
        ),
    ] = False,
    input_format: Annotated[
        Optional[str], Option(help="rgb or bgr: channel order to take.")
    ] = None,
    nms_impl: Implementation = "auto",
    recipe: RecipeName = None,
    score: Score = None,
    iou: Iou = None,
    max_det: MaxDet = None,
    class_agnostic: ClassAgnostic = False,
    progress: Optional[ProgressCallback] = None,
) -> "FileResult":
    """Edit a graph: NMS in the form that the target reads, preprocessing, and a recipe's patches.

    Args:
        model: ONNX file.
        out: ONNX file to write.
        nms: "deepstream" (the default), "onnx", "efficientnms", "none", or "keep" (the default
            with an option of the input).
        preprocess: take uint8 NHWC frames.
        fold_normalization: put the recipe's means and deviations into the first convolution.
        input_format: "rgb" or "bgr": channel order to take.
        nms_impl: what the NMS for DeepStream is made of: "auto", "plugin" or "onnx".
        recipe: name or file.
        score, iou, max_det, class_agnostic: thresholds of the NMS.
        progress: called with a label and the share that is done.

    Raises:
        ForgeError: an input is wrong.
    """
    from trtforge import outfile
    from trtforge.api.recipes import NMS_FORMS, check_nms, load_recipe
    from trtforge.api.results import FileResult
    from trtforge.errors import ForgeError
    from trtforge.stages import MODEL
    from trtforge.stages import patch as stage

    options = Nms("auto", nms_impl, score, iou, max_det, class_agnostic)
    spec = load_recipe(recipe, nms=options)
    if out is None:
        raise ForgeError("patch writes a file", "give it with -o, or look with --list")
    edits_input = preprocess or fold_normalization or input_format is not None
    default = "keep" if edits_input else "deepstream"
    form = parse_choice(nms or default, NMS_FORMS[1:], "--nms")
    check_nms(
        form,
        {
            "nms-impl": nms_impl,
            "score": score,
            "iou": iou,
            "max-det": max_det,
            "class-agnostic": class_agnostic,
        },
    )
    orders = ("rgb", "bgr")
    color = parse_choice(input_format, orders, "--input-format") if input_format else None
    with listening(progress):
        facts = outfile.single(
            stage.edit,
            MODEL,
            Path(out),
            model=Path(model),
            form=form,
            impl=nms_impl,
            recipe=spec,
            front=preprocess,
            normalization=fold_normalization,
            color=color,
        )
    return FileResult(Path(out), facts, stage.say(facts))


def describe_graph(
    model: PathLike,
    *,
    recipe: PathLike | None = None,
    score: float | None = None,
    iou: float | None = None,
    max_det: int | None = None,
    class_agnostic: bool = False,
) -> Mapping[str, object]:
    """Return what ``patch`` would work on: tensors, NMS, the detector that the outputs are.

    Raises:
        ForgeError: an input is wrong.
    """
    from trtforge.api.recipes import load_recipe
    from trtforge.stages import patch as stage

    options = Nms("auto", "auto", score, iou, max_det, class_agnostic)
    return stage.listed(Path(model), load_recipe(recipe, nms=options))
