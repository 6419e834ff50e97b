"""Make and edit ONNX graphs: export, fold, quantize, cast and patch run one stage each."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional, Union

from trtforge.options.nms import BestClass, ClassAgnostic, Implementation, Iou, MaxDet, Nms, Score
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
from trtforge.present import ProgressCallback, listening, note

if TYPE_CHECKING:
    from trtforge.api.results import FileResult
    from trtforge.bundle.facts import FoldFacts
    from trtforge.stages.cast import CastFacts
    from trtforge.stages.export import ExportFacts
    from trtforge.stages.patch import EditFacts, Listing
    from trtforge.stages.quantize import QuantizeFacts

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
) -> "FileResult[ExportFacts]":
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
        GateError: the ONNX model's results differ from PyTorch's.
        MachineError: PyTorch is not installed.
    """
    from trtforge import outfile
    from trtforge.api.results import FileResult
    from trtforge.pipeline import DEFAULT_SIZE
    from trtforge.stages import MODEL
    from trtforge.stages import export as stage

    target, file = Path(out), Path(source) if Path(source).is_file() else None
    axes = [parse_choice(axis, stage.DYNAMIC, "--dynamic") for axis in names_of(dynamic)]
    options = stage.ExportOptions(
        default_size=DEFAULT_SIZE,
        data=f"{target.name}.data",
        kwargs=parse_kwargs(kwargs),
        weights=path_of(weights),
        trusted=trust_pickle,
        batch=batch,
        size=parse_size(size),
        dynamic=tuple(dict.fromkeys(axes)),
        outputs=tuple(names_of(output)),
        opset=check_range(opset, stage.OPSETS[0], stage.OPSETS[-1], "--opset"),
        atol=atol,
        rtol=rtol,
        check=check,
    )
    with listening(progress):
        facts = outfile.single(
            lambda draft: stage.run(draft, file or source, options),
            MODEL,
            target,
            reads=[file, options.weights],
            beside=options.data,
        )
        remarks = stage.remarks(facts)
        for remark in remarks:
            note(remark)
    return FileResult(target, facts, stage.summarize(facts), remarks)


def fold(
    model: OnnxModel,
    out: OutFile,
    *,
    size: InputSize = None,
    batch: Annotated[Optional[int], Option(low=1, help="Fix a dynamic batch to N.")] = None,
    check: CheckFolding = True,
    progress: Optional[ProgressCallback] = None,
) -> "FileResult[FoldFacts]":
    """Fold constants and shape arithmetic, and check that the results stay the same.

    Args:
        model: ONNX file.
        out: ONNX file to write.
        size: height and width of a dynamic input; None takes them from the file's metadata, or
            640x640.
        batch: batch size to which a dynamic batch is fixed.
        check: compare the folded model with the original.
        progress: called with a label and the share that is done.

    Raises:
        ForgeError: an input is wrong.
    """
    from trtforge import outfile
    from trtforge.api.results import FileResult
    from trtforge.metadata import of_file
    from trtforge.pipeline import DEFAULT_SIZE
    from trtforge.recipe import Decode
    from trtforge.stages import MODEL
    from trtforge.stages import fold as stage
    from trtforge.store import File

    metadata = of_file(Path(model))
    options = stage.FoldOptions(
        size=parse_size(size),
        default_size=metadata.size.value if metadata.size else DEFAULT_SIZE,
        decode=Decode(),
        check=check,
        batch=batch,
        image=False,
    )
    source, target = Path(model), Path(out)
    inputs = stage.FoldInputs(File(source))
    with listening(progress):
        facts = outfile.single(
            lambda draft: stage.run(draft, inputs, options), MODEL, target, reads=[source]
        )
        remarks = stage.remarks(facts, options, metadata)
        for remark in remarks:
            note(remark)
    return FileResult(target, facts, stage.summarize(facts), remarks)


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
) -> "FileResult[QuantizeFacts]":
    """Insert Q/DQ nodes at the places that TensorRT's INT8 fusions need.

    Args:
        model: folded FP32 ONNX file.
        calibration: table of ``calibrate``, or a cache that TensorRT wrote.
        out: ONNX file to write.
        calib: folder of the images that the table was made from, to refine ranges and weights.
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
    from trtforge.stages.refine import RefineInputs
    from trtforge.store import File

    spec = load_recipe(recipe, keep=keep, only=only)
    options = stage.QuantizeOptions(
        keep=spec.precision.keep,
        only=spec.precision.only,
        float_heads=spec.precision.heads == "float",
        form="fp8" if fp8 else "int8",
    )
    source, table, target = Path(model), Path(calibration), Path(out)
    inputs = stage.QuantizeInputs(File(source), File(table))
    images = None if fp8 else path_of(calib)

    def write(draft: Path) -> stage.QuantizeFacts:
        if images is None:
            return stage.run(draft, inputs, options)
        refining = RefineInputs(inputs.model, inputs.ranges, File(images))
        return stage.refine_and_quantize(draft, refining, options)

    with listening(progress):
        facts = outfile.single(write, MODEL, target, reads=[source, table, images])
    return FileResult(target, facts, stage.summarize(facts))


def cast(
    model: Annotated[PathLike, Argument(help="MODEL.onnx, with or without Q/DQ.", reads=Path)],
    out: OutFile,
    *,
    keep: Annotated[
        Names, Option(help="Pattern of node names that stay FP32.", reads=str, repeated=True)
    ] = (),
    progress: Optional[ProgressCallback] = None,
) -> "FileResult[CastFacts]":
    """Cast float tensors to FP16; inputs, outputs and the decoding of boxes stay FP32.

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
    from trtforge.store import File

    source, target = Path(model), Path(out)
    inputs, options = stage.CastInputs(File(source)), stage.CastOptions(tuple(names_of(keep)))
    with listening(progress):
        facts = outfile.single(
            lambda draft: stage.run(draft, inputs, options), MODEL, target, reads=[source]
        )
    return FileResult(target, facts, stage.summarize(facts))


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
    best_class: BestClass = None,
    progress: Optional[ProgressCallback] = None,
) -> "FileResult[EditFacts]":
    """Edit a graph: NMS in the form that the target reads, preprocessing, a recipe's patches.

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
        score, iou, max_det, class_agnostic, best_class: thresholds of the NMS.
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

    options = Nms("auto", nms_impl, score, iou, max_det, class_agnostic, best_class)
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
            "best-class": best_class,
        },
    )
    orders = ("rgb", "bgr")
    color = parse_choice(input_format, orders, "--input-format") if input_format else None
    edits = stage.EditOptions(form, nms_impl, spec, preprocess, fold_normalization, color)
    source, target = Path(model), Path(out)
    with listening(progress):
        facts = outfile.single(
            lambda draft: stage.edit(draft, source, edits), MODEL, target, reads=[source]
        )
    return FileResult(target, facts, stage.summarize(facts))


def describe_graph(
    model: OnnxModel,
    *,
    recipe: RecipeName = None,
    score: Score = None,
    iou: Iou = None,
    max_det: MaxDet = None,
    class_agnostic: ClassAgnostic = False,
    best_class: BestClass = None,
) -> "Listing":
    """Return what ``patch`` can edit: tensors, NMS, and the detector whose head the outputs form.

    Args:
        model: ONNX file.
        recipe: name or file.
        score, iou, max_det, class_agnostic, best_class: thresholds of the NMS.

    Raises:
        ForgeError: an input is wrong.
    """
    from trtforge.api.recipes import load_recipe
    from trtforge.stages import patch as stage

    options = Nms("auto", "auto", score, iou, max_det, class_agnostic, best_class)
    return stage.list_graph(Path(model), load_recipe(recipe, nms=options))
