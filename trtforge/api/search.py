"""Search for the best engine, and for the operators that INT8 harms."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional, Union

from trtforge.errors import ForgeError
from trtforge.options.option import Argument, Option
from trtforge.options.precision import Int8, Precision
from trtforge.options.shared import (
    BackendName,
    Calib,
    InputSize,
    On,
    OutFile,
    Provider,
    RecipeName,
    Timeout,
    TruthFile,
)
from trtforge.options.values import (
    LARGEST_BATCH,
    Duration,
    Memory,
    Names,
    Numbers,
    PathLike,
    parse_choice,
    parse_memory,
    parse_names,
    parse_numbers,
    parse_seconds,
    parse_timeout,
    path_of,
)
from trtforge.present import ProgressCallback, listening, note

if TYPE_CHECKING:
    from trtforge.api.results import SweepResult, TuneResult

HIGHEST_LEVEL = 5
ModelOrRecipe = Annotated[PathLike, Argument(help="MODEL.onnx or RECIPE.yaml.", reads=Path)]


def sweep(
    model: ModelOrRecipe,
    out: Annotated[
        PathLike,
        Option(
            ("-o", "--out"),
            help="Folder for sweep.json, sweep.csv, sweep.svg; with --pick, engine/.",
            reads=Path,
        ),
    ],
    *,
    workspace: Annotated[
        Union[Memory, list[Memory], tuple[Memory, ...], None],
        Option(help="Sizes, e.g. 64MiB,256MiB,1GiB.", reads=str),
    ] = None,
    precision: Annotated[Names, Option(help="fp32, fp16, int8, fp8.", reads=str)] = "fp32,fp16",
    batch: Annotated[
        Optional[Numbers], Option(help="Largest batches, e.g. 1,8,16.", reads=str)
    ] = None,
    opt_level: Annotated[
        Optional[Numbers], Option(help="Optimisation levels 0 to 5, e.g. 3,5.", reads=str)
    ] = None,
    device: Annotated[Optional[str], Option(help="Target; see `trtforge devices`.")] = None,
    backend: BackendName = "auto",
    calib: Calib = None,
    size: InputSize = None,
    recipe: RecipeName = None,
    images: Annotated[
        Optional[PathLike],
        Option(help="Folder of images that accuracy is measured on.", reads=Path),
    ] = None,
    labels: TruthFile = None,
    pick: Annotated[
        Optional[str],
        Option(help="Build the best one's folder: latency, throughput or memory."),
    ] = None,
    duration: Annotated[
        Duration, Option(help="For each latency, where the engines can run here.", reads=str)
    ] = "1s",
    provider: Provider = "auto",
    on: On = "local",
    timeout: Timeout = None,
    progress: Optional[ProgressCallback] = None,
) -> "SweepResult":
    """Build engines over workspace, precision, batch and optimisation level, and compare them.

    Args:
        model: ONNX file, or recipe that names one.
        out: folder for sweep.json, sweep.csv and sweep.svg; with ``pick``, engine/.
        workspace: sizes of the builder's scratch memory.
        precision: names of precisions.
        batch: largest batches.
        opt_level: optimisation levels 0 to 5.
        device: name of the target; None: this machine.
        backend: "auto", "tensorrt", "tensorrt-rtx" or "onnxruntime".
        calib: folder of photographs to calibrate INT8 and FP8 on.
        size: height and width of a dynamic input.
        recipe: name or file.
        images: folder of images that accuracy is measured on.
        labels: their labels, see ``verify``.
        pick: "latency", "throughput" or "memory": build the best one's folder.
        duration: time for each latency.
        provider: where calibration runs: "auto", "cpu" or "cuda".
        on: who works: "local", "local:N", "ray" or "ray://HOST:10001".
        timeout: how long to wait for a node of a cluster.
        progress: called with a label and the share that is done.

    Raises:
        ForgeError: an input is wrong. An engine that can't be built is a row.
    """
    from dataclasses import replace
    from typing import get_args

    from trtforge import sweeping
    from trtforge.api.jobs import check_precision, make_job
    from trtforge.api.results import SweepResult
    from trtforge.bundle.prepared import Prepared
    from trtforge.cluster import open_workers
    from trtforge.devices import device as find_device
    from trtforge.names import QUANTIZED
    from trtforge.names import Precision as PrecisionName
    from trtforge.pipeline import targets as choose
    from trtforge.store import opened
    from trtforge.sweeping.rows import PICKS

    folder = Path(out)
    sweeping.check(folder, engine=bool(pick))
    store, devices = opened(), [find_device(device)] if device else []
    with (
        listening(progress),
        open_workers(on, store, devices, parse_timeout(timeout)) as workers,
    ):
        (target,), notes = choose.targets(workers, backend, devices or [None])
        for text in notes:
            note(text)
        names: tuple[PrecisionName, ...] = get_args(PrecisionName)
        precisions = parse_names(precision, "--precision", names)
        quantized = bool(set(precisions) & set(QUANTIZED))
        if calib and not quantized:
            raise ForgeError(
                "--calib is for INT8 and FP8", "add int8 to --precision, or drop --calib"
            )
        if (images is None) != (labels is None):
            raise ForgeError("accuracy needs both --images and --labels", "give both, or neither")
        options = Precision(int8=quantized, calib=calib, provider=provider)
        job = make_job(model, options, size=size, recipe=recipe)
        if isinstance(job, Prepared):
            raise ForgeError(f"{model}: a prepared folder has one precision", "sweep the ONNX file")
        for name in precisions:
            check_precision(replace(job, precision=name), [target])
        request = sweeping.SweepRequest(
            precisions=precisions,
            batches=parse_numbers(batch, "--batch", LARGEST_BATCH) if batch else [],
            workspaces=_workspaces(workspace),
            opt_levels=parse_numbers(opt_level, "--opt-level", HIGHEST_LEVEL, smallest=0)
            if opt_level is not None
            else [None],
            images=path_of(images),
            labels=path_of(labels),
            seconds=parse_seconds(duration, "--duration"),
        )
        best = parse_choice(pick, PICKS, "--pick") if pick else None
        swept = sweeping.sweep(job, target, store, request, workers)
    files = sweeping.write(swept, folder)
    if best:
        files.append(sweeping.deliver_best(swept, best, job, target, store, folder))
    return SweepResult(swept, files)


def tune(
    model: ModelOrRecipe,
    out: OutFile,
    *,
    calib: Calib = None,
    images: Annotated[
        Optional[PathLike],
        Option(
            help="Images that accuracy is measured on; half to search, half to judge. Default: the "
            "calibration images.",
            reads=Path,
        ),
    ] = None,
    val: Annotated[
        Optional[PathLike],
        Option(
            ("--val",),
            help="Their labels: COCO JSON, or CSV of name,class. Without, FP32's own results.",
            reads=Path,
        ),
    ] = None,
    max_drop: Annotated[
        float, Option(("--max-drop",), low=0, help="Points that may be lost.")
    ] = 0.3,
    recipe: RecipeName = None,
    size: InputSize = None,
    probes: Annotated[int, Option(low=1, help="Images for the harm of each operator.")] = 8,
    time: Annotated[
        Duration,
        Option(help="After that no new measurement begins: 90s, 30m, 2h.", reads=str),
    ] = "2h",
    provider: Provider = "auto",
    progress: Optional[ProgressCallback] = None,
) -> "TuneResult":
    """Find which operators must stay float for INT8 to lose no more than a budget.

    Writes a recipe for ``build``, and beside it, under the same name with .svg, a picture of what
    was measured.

    Args:
        model: ONNX file, or recipe that names one.
        out: recipe to write.
        calib: folder of photographs to calibrate on.
        images: images that accuracy is measured on; None: the calibration images.
        val: their labels: COCO JSON, or CSV of name,class; None: the results of FP32.
        max_drop: points that may be lost.
        recipe: name or file.
        size: height and width of a dynamic input.
        probes: number of images for the harm of each operator.
        time: after that no new measurement begins.
        provider: where calibration runs: "auto", "cpu" or "cuda".
        progress: called with a label and the share that is done.

    Raises:
        ForgeError: an input is wrong.
        GateError: the budget can't be kept.
    """
    from trtforge import outfile
    from trtforge.api.jobs import make_job
    from trtforge.api.results import TuneResult
    from trtforge.bundle.prepared import Prepared
    from trtforge.options.nms import Nms
    from trtforge.store import opened
    from trtforge.tuning import fragment
    from trtforge.tuning import picture as drawing
    from trtforge.tuning import tune as search
    from trtforge.tuning.bench import bench as open_bench

    seconds, recipe_file, name = parse_seconds(time), Path(out), Path(model).name
    picture = recipe_file.with_suffix(".svg")
    if picture == recipe_file:
        raise ForgeError(f"{out}: the picture would replace the recipe", "call the recipe .yaml")
    for file in (recipe_file, picture):
        outfile.check(file, Path(model), *map(path_of, (calib, images, val)))
    options = Int8(calib, provider=provider)
    job = make_job(model, options, size=size, recipe=recipe, nms=Nms("none"))
    if isinstance(job, Prepared):
        raise ForgeError(f"{model}: a prepared folder is quantized already", "tune the ONNX file")
    with listening(progress):
        bench = open_bench(job, opened(), path_of(images), path_of(val), probes, seconds)
        tuned = search(bench, max_drop)
    how = (
        f"trtforge tune {name}: {tuned.drop:.2f} points lost, {tuned.share:.1%} of the MACs in INT8"
    )
    outfile.write_text(recipe_file, fragment(job.recipe, tuned, how))
    outfile.write_text(picture, drawing.render(tuned, max_drop, name))
    return TuneResult(tuned, max_drop, recipe_file, picture)


def _workspaces(
    value: Memory | list[Memory] | tuple[Memory, ...] | None,
) -> "list[int | None]":
    """Return the bytes of ``64MiB,1GiB``, without repetitions; [None] is the builder's default."""
    if not value:
        return [None]
    sizes = value.split(",") if isinstance(value, str) else value
    parts = [sizes] if isinstance(sizes, int) else list(sizes)
    return list(
        dict.fromkeys(
            parse_memory(part.strip() if isinstance(part, str) else part) for part in parts
        )
    )
