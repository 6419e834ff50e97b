"""Measure engines: accuracy, speed, and what they detect on images."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional, Union

from trtforge.options.limits import Limits
from trtforge.options.nms import Iou, MaxDet, Score
from trtforge.options.option import Argument, Group, Option
from trtforge.options.shared import LabelFile, RecipeName, TruthFile
from trtforge.options.values import (
    LARGEST_BATCH,
    Duration,
    Names,
    Numbers,
    PathLike,
    parse_names,
    parse_numbers,
    parse_provider,
    parse_seconds,
    path_of,
    paths_of,
)
from trtforge.present import ProgressCallback, listening

if TYPE_CHECKING:
    import torch as pytorch

    from trtforge.evaluate.verification import Verification
    from trtforge.stages.detect import Detections
    from trtforge.timing.table import BenchResult

LARGEST_STREAMS = 64
Engine = Annotated[PathLike, Argument(help="ONNX, engine, prepared folder or bundle.", reads=Path)]


def verify(
    engines: Annotated[
        Union[PathLike, Sequence[PathLike]],
        Argument(
            help="One or more: ONNX, engine, prepared folder or bundle.", reads=Path, repeated=True
        ),
    ],
    images: Annotated[Optional[PathLike], Option(help="Folder of images.", reads=Path)] = None,
    *,
    labels: TruthFile = None,
    recipe: RecipeName = None,
    score: Score = None,
    iou: Iou = None,
    max_det: MaxDet = None,
    load_inputs: Annotated[
        Optional[PathLike],
        Option(
            ("--load-inputs",),
            help="Instead of --images: inputs in Polygraphy's JSON.",
            reads=Path,
        ),
    ] = None,
    save_inputs: Annotated[
        Optional[PathLike],
        Option(
            ("--save-inputs",),
            help="Write what the first engine takes, for polygraphy.",
            reads=Path,
        ),
    ] = None,
    save_outputs: Annotated[
        Optional[PathLike],
        Option(
            ("--save-outputs",), help="Write what the engines return, for polygraphy.", reads=Path
        ),
    ] = None,
    per_layer: Annotated[
        bool, Option(("--per-layer",), help="Compare each activation that both share.")
    ] = False,
    find_worst: Annotated[
        bool, Option(("--find-worst",), help="Name the node that adds most noise.")
    ] = False,
    limits: Annotated[Limits, Group(Limits)] = Limits(),
    progress: Optional[ProgressCallback] = None,
) -> "Verification":
    """Measure accuracy, and how far other engines are from the first.

    Args:
        engines: one or several of: ONNX file, engine, prepared folder or bundle.
        images: folder of images.
        labels: COCO JSON for detectors, CSV of name,class for classifiers, a folder of masks for
            segmentation.
        recipe: name or file.
        score, iou, max_det: thresholds for outputs without NMS.
        load_inputs: inputs in Polygraphy's JSON, instead of images; only outputs are compared.
        save_inputs: file for what the first engine takes, in Polygraphy's JSON.
        save_outputs: file for what each engine returns, in Polygraphy's JSON.
        per_layer: compare each activation that two graphs share.
        find_worst: as ``per_layer``; the node that adds most noise is the result's ``worst``.
        limits: what the accuracy is held to.
        progress: called with a label and the share that is done.

    Raises:
        ForgeError: an input is wrong.
        GateError: a limit is not met; the error's ``result`` is the verification.
    """
    from trtforge import gates, outfile
    from trtforge.api.recipes import load_recipe, thresholds
    from trtforge.errors import ForgeError
    from trtforge.evaluate import runs
    from trtforge.stages.verify import EVALUATION, rerun
    from trtforge.stages.verify import verify as run

    figures = {"score": score, "iou": iou, "max_det": max_det}
    given = any(value is not None for value in figures.values())
    files, folder, saved = paths_of(engines), path_of(images), path_of(load_inputs)
    if saved and folder:
        raise ForgeError("--load-inputs takes the place of images", "drop it, or --images")
    if saved and (labels or given):
        raise ForgeError(
            "--load-inputs holds no images: --labels and thresholds have no effect",
            "drop them, or give --images",
        )
    for out in (path_of(save_inputs), path_of(save_outputs)):
        if out:
            outfile.check(out, *files, folder, saved)
    kept = runs.Runs() if save_inputs or save_outputs else None
    chosen = load_recipe(recipe) if recipe else None
    layers = per_layer or find_worst
    with listening(progress):
        if saved:
            inputs = runs.load_inputs(saved)
            result = rerun(files, inputs, recipe=chosen, per_layer=layers, limits=limits, kept=kept)
        elif folder:
            result = run(
                files,
                folder,
                labels=path_of(labels),
                recipe=chosen,
                nms=thresholds(EVALUATION, figures) if given else None,
                per_layer=layers,
                limits=limits,
                kept=kept,
            )
        else:
            raise ForgeError("nothing to verify on", "give --images or --load-inputs")
    if kept and save_inputs:
        outfile.write_text(Path(save_inputs), runs.inputs_text(kept.inputs))
    if kept and save_outputs:
        outfile.write_text(Path(save_outputs), runs.outputs_text(result.engines, kept.outputs))
    with gates.carrying(result):
        gates.check_accuracy(result, limits)
    return result


def bench(
    engine: Engine,
    *,
    batch: Annotated[
        Optional[Numbers],
        Option(help="Batch sizes, e.g. 1,8. Default: the engine's own.", reads=str),
    ] = None,
    streams: Annotated[
        Numbers, Option(help="Numbers of streams that run at once, e.g. 1,4.", reads=str)
    ] = "1",
    against: Annotated[
        Optional[Names],
        Option(
            help="Time these too: onnxruntime, onnxruntime-cuda, torch, torch-half, torch-compile, "
            "torch-compile-half.",
            reads=str,
        ),
    ] = None,
    torch: Annotated[
        Union[str, "pytorch.nn.Module", None],
        Option(help="The PyTorch model: package.module:callable.", reads=str),
    ] = None,
    weights: Annotated[Optional[PathLike], Option(help="Checkpoint for it.", reads=Path)] = None,
    provider: Annotated[
        str, Option(help="Where graphs and PyTorch run: auto, cpu or cuda.")
    ] = "auto",
    cuda_graph: Annotated[
        Optional[bool],
        Option(
            ("--cuda-graph/--no-cuda-graph",),
            help="Only with, or only without. Default: both.",
        ),
    ] = None,
    transfers: Annotated[
        bool, Option(("--transfers",), help="Also with copies to the GPU and back.")
    ] = False,
    warmup: Annotated[Duration, Option(help="Before anything counts.", reads=str)] = "200ms",
    duration: Annotated[
        Duration, Option(help="For latency, and again for throughput.", reads=str)
    ] = "3s",
    csv: Annotated[Optional[PathLike], Option(help="Write the rows here, too.", reads=Path)] = None,
    max_latency: Annotated[
        Optional[Duration],
        Option(
            ("--max-latency",),
            help="Gate: median of the engine's fastest row, e.g. 5ms.",
            reads=str,
        ),
    ] = None,
    progress: Optional[ProgressCallback] = None,
) -> "BenchResult":
    """Measure latency and throughput, beside other runtimes in the same run.

    Args:
        engine: ONNX file, engine, prepared folder or bundle.
        batch: batch sizes; None: the engine's own.
        streams: numbers of streams that run at once.
        against: what is timed too: "onnxruntime", "onnxruntime-cuda", "torch", "torch-half",
            "torch-compile" or "torch-compile-half".
        torch: PyTorch model, as "package.module:callable".
        weights: checkpoint for it.
        provider: where graphs and PyTorch run: "auto", "cpu" or "cuda".
        cuda_graph: only with, or only without CUDA graphs; None: both.
        transfers: also with copies to the GPU and back.
        warmup: time before anything counts, as "200ms" or in seconds.
        duration: time for latency, and again for throughput.
        csv: file that the rows are written to.
        max_latency: limit for the median of the engine's fastest row.
        progress: called with a label and the share that is done.

    Raises:
        ForgeError: an input is wrong.
        MachineError: there is no GPU for an engine, or a package is missing.
        GateError: a pass takes too long; the error's ``result`` has the rows.
    """
    from trtforge import gates, outfile
    from trtforge.stages import bench as stage
    from trtforge.timing import table

    names = parse_names(against, "--against", stage.AGAINST) if against else []
    request = stage.BenchRequest(
        batches=parse_numbers(batch, "--batch", LARGEST_BATCH) if batch else [],
        streams=parse_numbers(streams, "--streams", LARGEST_STREAMS),
        against=names,
        provider=parse_provider(provider),
        cuda_graph=cuda_graph,
        transfers=transfers,
        warmup=parse_seconds(warmup, "--warmup"),
        duration=parse_seconds(duration, "--duration"),
        module=_torch_module(torch, path_of(weights), names),
    )
    limit = None if max_latency is None else parse_seconds(max_latency, "--max-latency")
    rows_file = path_of(csv)
    if rows_file:
        outfile.check(rows_file, Path(engine))
    with listening(progress):
        result = stage.run(stage.subject(Path(engine)), request)
    if rows_file:
        outfile.write_text(rows_file, table.as_csv(result.rows))
    with gates.carrying(result):
        gates.check_latency(result, limit)
    return result


def detect(
    engine: Engine,
    images: Annotated[
        Union[PathLike, Sequence[PathLike]],
        Argument(help="Images, or folders of them.", reads=Path, repeated=True),
    ],
    out: Annotated[PathLike, Option(("-o", "--out"), help="Folder for the pictures.", reads=Path)],
    *,
    labels: LabelFile = None,
    recipe: RecipeName = None,
    score: Score = None,
    iou: Iou = None,
    max_det: MaxDet = None,
    progress: Optional[ProgressCallback] = None,
) -> "Detections":
    """Draw and list the objects that an engine detects on images.

    Args:
        engine: ONNX file, engine, prepared folder or bundle.
        images: image files, or folders of them.
        out: folder for the pictures.
        labels: text file with one class a line.
        recipe: name or file.
        score, iou, max_det: thresholds for outputs without NMS.
        progress: called with a label and the share that is done.

    Raises:
        ForgeError: an input is wrong.
    """
    from trtforge.api.recipes import load_recipe, thresholds
    from trtforge.recipe import Nms
    from trtforge.stages.detect import detect as run

    figures = {"score": score, "iou": iou, "max_det": max_det}
    thresholds(Nms(), figures)  # refuses what is out of range before any work
    given = {name: value for name, value in figures.items() if value is not None}
    with listening(progress):
        return run(
            Path(engine),
            paths_of(images),
            Path(out),
            load_recipe(recipe) if recipe else None,
            path_of(labels),
            given,
        )


def _torch_module(
    torch: "str | pytorch.nn.Module | None", weights: Path | None, against: Sequence[str]
) -> "pytorch.nn.Module | None":
    """Return the PyTorch model that is timed beside the engine.

    Raises:
        ForgeError: it is not asked for, or can't be loaded.
        MachineError: PyTorch is not installed.
    """
    import os

    from trtforge.errors import ForgeError
    from trtforge.stages.bench import TORCH

    if torch is not None and not set(against) & set(TORCH):
        raise ForgeError("--torch has no effect without --against torch", "add --against torch")
    if weights and torch is None:
        raise ForgeError("--weights has no effect without --torch", "add --torch MODULE:CALLABLE")
    if not isinstance(torch, str):
        return torch
    from trtforge.stages.export import need_torch

    need_torch("--torch", "torch")
    from trtforge.exporting import source  # type: ignore[import-not-found,unused-ignore]

    with source.importable(os.getcwd()):
        module: pytorch.nn.Module = source.load(torch, {}, weights, False).module
    return module
