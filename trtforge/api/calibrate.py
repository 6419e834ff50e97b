"""Find the ranges that INT8 has to represent."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional, Union

from trtforge.errors import ForgeError
from trtforge.options.option import Argument, Option
from trtforge.options.shared import Calib, On, OutFile, Provider, RecipeName, Timeout
from trtforge.options.values import (
    PathLike,
    parse_choice,
    parse_provider,
    parse_shard,
    parse_timeout,
    path_of,
    paths_of,
)
from trtforge.present import ProgressCallback, listening, note

if TYPE_CHECKING:
    from trtforge.api.results import FileResult
    from trtforge.recipe import Recipe
    from trtforge.stages.calibrate import CalibrateFacts, CalibrateOptions
    from trtforge.stages.observe import ObserveFacts, ObserveOptions


def calibrate(
    model: Annotated[
        Union[PathLike, Sequence[PathLike]],
        Argument(
            help="Folded FP32 MODEL.onnx; with --merge, tables of its shards.",
            reads=Path,
            repeated=True,
        ),
    ],
    calib: Calib = None,
    out: OutFile = Path("calibration.json"),
    *,
    recipe: RecipeName = None,
    method: Annotated[Optional[str], Option(help="entropy, percentile, mse or minmax.")] = None,
    taps: Annotated[
        str,
        Option(
            help="explicit: what carries Q/DQ; implicit: all that TensorRT 10's own INT8 needs."
        ),
    ] = "explicit",
    shard: Annotated[
        Union[str, tuple[int, int], None],
        Option(help="Observe the I-th of N parts of the folder, I/N.", reads=str),
    ] = None,
    merge: Annotated[
        bool, Option(("--merge",), help="Ranges from the tables of all shards.")
    ] = False,
    provider: Provider = "auto",
    cache: Annotated[
        Optional[PathLike],
        Option(help="Write TensorRT's calibration cache here, too.", reads=Path),
    ] = None,
    tensorrt: Annotated[
        Optional[str],
        Option(help="Version in the cache's header; default: that of DeepStream 9.1."),
    ] = None,
    preview: Annotated[
        Optional[PathLike],
        Option(("--preview",), help="Folder for pictures of what the network sees.", reads=Path),
    ] = None,
    plots: Annotated[
        Optional[PathLike],
        Option(help="Folder for a picture of each histogram with its range.", reads=Path),
    ] = None,
    on: On = "local",
    timeout: Timeout = None,
    progress: Optional[ProgressCallback] = None,
) -> "FileResult[CalibrateFacts] | FileResult[ObserveFacts]":
    """Find the range of values that INT8 represents in each tensor, from a folder of images.

    Args:
        model: folded FP32 ONNX file; with ``merge``, the tables of all shards.
        calib: folder of photographs.
        out: calibration table to write.
        recipe: name or file.
        method: "entropy", "percentile", "mse" or "minmax".
        taps: "explicit" (tensors that carry Q/DQ nodes) or "implicit" (all tensors).
        shard: I and N: observe only the I-th of N parts of the folder.
        merge: make ranges from the tables of all shards.
        provider: where ONNX Runtime computes: "auto", "cpu" or "cuda".
        cache: calibration cache of TensorRT to write, too.
        tensorrt: version in the header of the cache; None: that of DeepStream 9.1.
        preview: folder for pictures of what the network sees.
        plots: folder for a picture of each histogram with its range.
        on: who works: "local", "local:N", "ray" or "ray://HOST:10001".
        timeout: how long to wait for a node of a cluster.
        progress: called with a label and the share that is done.

    Raises:
        ForgeError: an input is wrong.
    """
    from trtforge import outfile
    from trtforge.api.recipes import load_recipe
    from trtforge.api.results import FileResult
    from trtforge.devices import stacks
    from trtforge.names import CACHE
    from trtforge.pipeline.fill import for_file
    from trtforge.stages import calibrate as stage
    from trtforge.stages import plots as plotting
    from trtforge.stages import viewed

    if on != "local" and (shard is not None or merge):
        raise ForgeError("--on makes and merges the shards itself", "drop --shard and --merge")
    spec, files, table = load_recipe(recipe), paths_of(model), Path(out)
    tensorrt = tensorrt or stacks.tensorrt_for(stacks.default_deepstream(), None)
    request = calibration_request(files, path_of(calib), merge, shard, spec, method, taps, provider)
    cache_file, plot_folder, preview_folder = path_of(cache), path_of(plots), path_of(preview)
    if cache_file:
        _check_cache(cache_file, table, request.shard, tensorrt, [*files, request.images])
    if plot_folder:
        others = [table, cache_file, preview_folder]
        _check_plots(plot_folder, request.shard, request.images, others)
    outfile.check(table, *files, request.images)
    with listening(progress):
        preprocess = spec.preprocess
        if request.model:
            spec, lines = for_file(spec, request.model)
            for line in lines:
                note(line)
            preprocess = spec.preprocess
            observing = replace(request.observing, preprocess=preprocess)
            request = replace(request, observing=observing)
        if preview_folder:
            viewed.write(request.model, request.images, preview_folder, preprocess)
        if request.shard:
            return _observe_shard(request, request.shard, table)
        facts = _choose_ranges(request, table, on, parse_timeout(timeout))
        if cache_file:
            outfile.single(
                lambda draft: stage.write_cache(draft, table, tensorrt),
                CACHE,
                cache_file,
                reads=[table],
            )
        drawn = ""
        if plot_folder:
            facts = replace(facts, plots=plotting.write(table, plot_folder))
            drawn = f"\n{plot_folder}: {facts.plots} plots"
        remarks = stage.remarks(facts)
        for remark in remarks:
            note(remark)
    return FileResult(table, facts, stage.summarize(facts) + drawn, remarks)


@dataclass(frozen=True)
class CalibrationRequest:
    """A model and its images, or the tables of shards, and how to observe and choose ranges."""

    model: Path | None
    images: Path | None
    shards: list[Path]
    shard: tuple[int, int] | None
    observing: "ObserveOptions"
    choosing: "CalibrateOptions"


def calibration_request(
    files: list[Path],
    calib: Path | None,
    merge: bool,
    shard: str | tuple[int, int] | None,
    recipe: "Recipe",
    method: str | None,
    taps: str,
    provider: str,
) -> CalibrationRequest:
    """Return what the options of ``calibrate`` ask for.

    Raises:
        ForgeError: an option is wrong, or two contradict each other.
    """
    from typing import get_args

    from trtforge.backends.onnxruntime import calibration_provider
    from trtforge.graph.quantize.taps import TAPS
    from trtforge.recipe import Method
    from trtforge.stages.calibrate import CalibrateOptions
    from trtforge.stages.observe import ObserveOptions

    methods: tuple[Method, ...] = get_args(Method)
    spec = recipe.calibration
    choosing = CalibrateOptions(
        method=parse_choice(method, methods, "--method") if method else spec.method,
        percentile=spec.percentile,
        methods=spec.methods,
    )
    observing = ObserveOptions(
        preprocess=recipe.preprocess,
        taps=parse_choice(taps, TAPS, "--taps"),
        provider=parse_provider(provider),
    )
    if merge:
        if calib or shard is not None:
            raise ForgeError("--merge takes tables, neither --calib nor --shard", "drop them")
        return CalibrationRequest(None, None, files, None, observing, choosing)
    images = calib or spec.images
    if len(files) != 1:
        raise ForgeError(
            f"calibrate takes one model, not {len(files)} files", "tables of shards need --merge"
        )
    if images is None:
        raise ForgeError("calibration needs photographs", "give --calib FOLDER")
    observing = replace(observing, provider=calibration_provider(provider))
    part = None if shard is None else parse_shard(shard)
    return CalibrationRequest(files[0], images, [], part, observing, choosing)


def _observe_shard(
    request: CalibrationRequest, shard: tuple[int, int], table: Path
) -> "FileResult[ObserveFacts]":
    """Write the histograms of one shard of the images."""
    from trtforge import outfile
    from trtforge.api.results import FileResult
    from trtforge.stages import observe
    from trtforge.store import File

    model, images = _model_and_images(request)
    inputs = observe.ObserveInputs(File(model), File(images))
    options = replace(request.observing, shard=shard)
    facts = outfile.single(
        lambda draft: observe.run(draft, inputs, options),
        observe.TABLE,
        table,
        reads=[model, images],
    )
    return FileResult(table, facts, observe.summarize(facts))


def _choose_ranges(
    request: CalibrationRequest, table: Path, on: str, timeout: float | None
) -> "CalibrateFacts":
    """Write the ranges of all images, or of the shards."""
    from trtforge import outfile
    from trtforge.cluster import open_workers
    from trtforge.names import TABLE
    from trtforge.stages import calibrate as stage
    from trtforge.store import opened

    with open_workers(on, opened(), timeout=timeout) as workers:

        def write(draft: Path) -> "CalibrateFacts":
            if request.shards:
                return stage.calibrate_shards(draft, request.shards, request.choosing)
            model, images = _model_and_images(request)
            helpers = None if on == "local" else workers
            return stage.calibrate_images(
                draft, model, images, request.observing, request.choosing, helpers
            )

        reads = [request.model, request.images, *request.shards]
        return outfile.single(write, TABLE, table, reads=reads)


def _model_and_images(request: CalibrationRequest) -> tuple[Path, Path]:
    if request.model is None or request.images is None:
        raise ForgeError("calibration needs a model and photographs", "give both")
    return request.model, request.images


def _check_cache(
    cache: Path,
    out: Path,
    shard: tuple[int, int] | None,
    tensorrt: str,
    inputs: Sequence[Path | None],
) -> None:
    """Refuse ``--cache`` before any work.

    Raises:
        ForgeError: a shard has no ranges, ``tensorrt`` is no version, or the cache would replace
            another file.
    """
    from trtforge import outfile
    from trtforge.calibration.cache import version_number

    if shard is not None:
        raise ForgeError("--cache needs ranges, and a shard has none", "give it with --merge")
    version_number(tensorrt)
    if cache.absolute() == out.absolute():
        raise ForgeError(f"{cache}: is the table itself", "give another file with --cache")
    outfile.check(cache, *inputs)


def _check_plots(
    plots: Path,
    shard: tuple[int, int] | None,
    images: Path | None,
    others: Sequence[Path | None],
) -> None:
    """Refuse ``--plots`` before any work.

    Args:
        others: what else will be written.

    Raises:
        ForgeError: a shard has no ranges, or something else lies in the folder.
    """
    from trtforge.stages.plots import check

    if shard is not None:
        raise ForgeError("--plots needs ranges, and a shard has none", "give it with --merge")
    check(plots)
    folder = plots.resolve()
    for other in others:
        if other and other.resolve().is_relative_to(folder):
            raise ForgeError(
                f"{other}: lies in {plots}, which holds only plots",
                "give another folder with --plots",
            )
    if images and folder.is_relative_to(images.resolve()):
        raise ForgeError(f"{plots}: lies among the images", "give another folder with --plots")
