"""From the command line's words to the pipeline's nouns."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pydantic import ValidationError

from trtforge import outfile, parse, prepared
from trtforge import recipe as recipes
from trtforge.devices import FIRST_SM, no_kernels
from trtforge.errors import ForgeError
from trtforge.job import CALIBRATORS, QUANTIZED, Job, Precision, Ready, Target
from trtforge.recipe import Nms, Recipe
from trtforge.store import Facts

if TYPE_CHECKING:
    from trtforge.stages.bench import Asked
    from trtforge.sweep import Asked as Sweep
    from trtforge.sweep.rows import Pick

METHODS = get_args(recipes.Method)
NMS_FORMS = ("auto", "none", "keep", "onnx", "efficientnms", "deepstream")
UNQUOTED = "#:;\n\r\t'\"\\"  # no quotes in nvinfer's dialects: these would end a value, or begin something else
NMS_IMPLS = ("auto", "plugin", "onnx")
PROVIDERS = ("auto", "cpu", "cuda")
MOST_STREAMS = 64
MOST_LEVEL = 5


def work(
    model: Path,
    *,
    fp32: bool,
    fp16: bool,
    int8: bool,
    calib: Path | None,
    batch: str | None,
    size: str | None,
    recipe: str | None,
    labels: Path | None,
    nms: str,
    nms_impl: str,
    score: float | None,
    iou: float | None,
    max_det: int | None,
    class_agnostic: bool,
    no_check: bool,
    fp8: bool = False,
    provider: str = "auto",
    keep: Sequence[str] = (),
    only: Sequence[str] = (),
    weak: bool | None = None,
    calibrator: str = "own",
) -> Job | Ready:
    """The job that the options describe, or what a prepared folder holds.

    Args:
        weak: see ``trtforge.builder_options.weakly_typed``.

    Raises:
        ForgeError: options contradict each other or the input, or a recipe is wrong.
    """
    if model.is_dir():
        asked = [weak is not None, calibrator != "own",
                 fp32, fp16, int8, fp8, calib, batch, size, recipe, labels, nms != "auto", nms_impl != "auto",
                 score is not None, iou is not None, max_det is not None, class_agnostic, keep, only]  # fmt: skip
        if any(asked):
            raise ForgeError(f"{model}: a prepared folder decides precision, calibration, batch, size, labels and NMS",
                             "drop those options, or build from the ONNX file")  # fmt: skip
        return prepared.read(model)
    if fp32 + fp16 + int8 + fp8 > 1:
        raise ForgeError("--fp32, --fp16, --int8 and --fp8 exclude each other", "give one of them")
    if calib and not (int8 or fp8):
        raise ForgeError("--calib is for INT8 and FP8", "add --int8 or --fp8, or drop --calib")
    check_nms(nms, {"nms-impl": nms_impl})  # the other figures go into the bundle, where `deepstream parser` reads them
    from_yaml = model.suffix.lower() in (".yaml", ".yml")
    if from_yaml and recipe:
        raise ForgeError(f"{model} is a recipe itself", "drop --recipe")
    spec = load_recipe(str(model) if from_yaml else recipe, labels=labels, score=score, iou=iou, max_det=max_det,
                       class_agnostic=class_agnostic, keep=keep, only=only)  # fmt: skip
    if from_yaml and spec.model is None:
        raise ForgeError(f"{model}: names no model", "add a line `model: FILE.onnx`, or give the ONNX and --recipe")
    if weak and fp8:
        raise ForgeError("--int8-mode implicit has no FP8", "give --int8")
    if parse.one_of(calibrator, CALIBRATORS, "--calibrator") != "own" and not (weak and int8):
        raise ForgeError(f"--calibrator {calibrator}: TensorRT calibrates implicit INT8 alone",
                         "add --int8 --int8-mode implicit")  # fmt: skip
    precision: Precision = "fp8" if fp8 else "int8" if int8 else "fp16" if fp16 else "fp32"
    return Job(
        model=spec.model if from_yaml and spec.model else model,
        recipe=spec,
        precision=precision,
        images=calib,
        batch=parse.batch(batch),
        size=parse.size(size),
        nms=parse.one_of(nms, NMS_FORMS, "--nms"),
        nms_impl=parse.one_of(nms_impl, NMS_IMPLS, "--nms-impl"),
        check=not no_check,
        provider=parse.one_of(provider, PROVIDERS, "--provider"),
        weak=bool(weak) and (int8 or fp16),
        calibrator=next(each for each in CALIBRATORS if each == calibrator),
    )


@dataclass(frozen=True)
class Calibration:
    """What ``trtforge calibrate`` was asked for: a model and images, or the tables of shards."""

    model: Path | None
    images: Path | None
    shards: list[Path]
    shard: tuple[int, int] | None
    observing: dict[str, Any]
    choosing: dict[str, Any]


def calibration(
    files: list[Path], calib: Path | None, merge: bool, shard: str | None, recipe: Recipe, method: str | None,
    taps: str, provider: str,
) -> Calibration:  # fmt: skip
    """Check the options of ``trtforge calibrate``.

    Raises:
        ForgeError: they contradict each other, or one is not known.
    """
    from trtforge.backends.onnxruntime import calibration_provider
    from trtforge.graph.taps import TAPS

    given = {"method": parse.one_of(method, METHODS, "--method")} if method else {}
    choosing = recipe.calibration.model_dump(exclude={"images", "refine"}) | given
    observing = {
        "preprocess": recipe.preprocess.model_dump(mode="json"),
        "taps": parse.one_of(taps, TAPS, "--taps"),
        "provider": parse.one_of(provider, PROVIDERS, "--provider"),
    }
    if merge:
        if calib or shard is not None:
            raise ForgeError("--merge takes tables, neither --calib nor --shard", "drop them")
        return Calibration(None, None, files, None, observing, choosing)
    images = calib or recipe.calibration.images
    if len(files) != 1:
        raise ForgeError(f"calibrate takes one model, not {len(files)} files", "tables of shards need --merge")
    if images is None:
        raise ForgeError("calibration needs photographs", "give --calib FOLDER")
    observing["provider"] = calibration_provider(provider)
    return Calibration(files[0], images, [], parse.shard(shard) if shard is not None else None, observing, choosing)


def benchmark(
    batch: str | None, streams: str, against: str | None, torch: str | None, weights: Path | None,
    provider: str, cuda_graph: bool | None, transfers: bool, warmup: str, duration: str,
) -> Asked:  # fmt: skip
    """What ``trtforge bench`` was asked for.

    Raises:
        ForgeError: an option is wrong, or the PyTorch model can't be loaded.
        MachineError: PyTorch is not installed.
    """
    from trtforge.stages.bench import AGAINST, TORCH, Asked

    names = parse.names(against, "--against", AGAINST) if against else []
    if torch and not set(names) & set(TORCH):
        raise ForgeError("--torch is for rows of PyTorch", "add --against torch")
    if weights and not torch:
        raise ForgeError("--weights belong to --torch", "give --torch package.module:callable")
    return Asked(
        batches=parse.numbers(batch, "--batch", parse.MOST_BATCH) if batch else [],
        streams=parse.numbers(streams, "--streams", MOST_STREAMS),
        against=names,
        provider=parse.one_of(provider, PROVIDERS, "--provider"),
        cuda_graph=cuda_graph,
        transfers=transfers,
        warmup=parse.seconds(warmup, "--warmup"),
        duration=parse.seconds(duration, "--duration"),
        module=_torch_module(torch, weights) if torch else None,
    )


def sweeping(
    model: Path, workspace: str | None, precision: str, batch: str | None, opt_level: str | None, calib: Path | None,
    size: str | None, recipe: str | None, images: Path | None, labels: Path | None, pick: str | None, duration: str,
    provider: str, target: Target,
) -> tuple[Job, Sweep, Pick | None]:  # fmt: skip
    """What ``trtforge sweep`` was asked for: the job that all cells share, the axes, and what to pick.

    Raises:
        ForgeError: an option is wrong, or they contradict each other.
    """
    from trtforge.sweep import Asked as Sweep
    from trtforge.sweep.rows import PICKS

    precisions: list[Any] = parse.names(precision, "--precision", get_args(Precision))
    quantized = set(precisions) & set(QUANTIZED)
    if calib and not quantized:
        raise ForgeError("--calib is for INT8 and FP8", "add int8 to --precision, or drop --calib")
    if (images is None) != (labels is None):
        raise ForgeError("accuracy needs both --images and --labels", "give both, or neither")
    job = work(model, fp32=False, fp16=False, int8=bool(quantized), calib=calib, batch=None, size=size, recipe=recipe,
               labels=None, nms="auto", nms_impl="auto", score=None, iou=None, max_det=None, class_agnostic=False,
               no_check=False, provider=provider)  # fmt: skip
    if not isinstance(job, Job):
        raise ForgeError(f"{model}: a prepared folder has one precision", "sweep the ONNX file")
    for each in precisions:
        check_precision(replace(job, precision=each), [target])
    asked = Sweep(
        precisions=precisions,
        batches=parse.numbers(batch, "--batch", parse.MOST_BATCH) if batch else [],
        workspaces=list(dict.fromkeys(parse.memory(part.strip()) for part in (workspace or "").split(",") if workspace))
        or [None],
        opt_levels=parse.numbers(opt_level, "--opt-level", MOST_LEVEL) if opt_level else [None],
        images=images, labels=labels, seconds=parse.seconds(duration, "--duration"),
    )  # fmt: skip
    best: Any = parse.one_of(pick, PICKS, "--pick") if pick else None
    return job, asked, best


def _torch_module(name: str, weights: Path | None) -> Any:
    from trtforge.stages.export import need_torch

    need_torch("--torch", "torch")
    from trtforge.export import source  # type: ignore[import-not-found,unused-ignore]

    with source.importable(os.getcwd()):
        return source.load(name, {}, weights, False).module


def check_cache(cache: Path, out: Path, shard: str | None, tensorrt: str, inputs: Sequence[Path | None]) -> None:
    """Refuse ``--cache`` before any work.

    Raises:
        ForgeError: there are no ranges yet, ``tensorrt`` is no version, or the cache can't be written there, or would
            take an input's place.
    """
    from trtforge.calibrate.cache import version_number

    if shard is not None:
        raise ForgeError("--cache needs ranges, a shard has none yet", "give it with --merge")
    version_number(tensorrt)
    if cache.absolute() == out.absolute():
        raise ForgeError(f"{cache}: is the table itself", "give another file with --cache")
    outfile.check(cache, *inputs)


def check_plots(plots: Path, shard: str | None, images: Path | None, others: Sequence[Path | None]) -> None:
    """Refuse ``--plots`` before any work.

    Args:
        others: what else is to be written.

    Raises:
        ForgeError: there are no ranges yet, or the folder can't be one of plots alone.
    """
    from trtforge.stages.plots import check

    if shard is not None:
        raise ForgeError("--plots needs ranges, a shard has none yet", "give it with --merge")
    check(plots)
    within = [other for other in others if other and other.resolve().is_relative_to(plots.resolve())]
    if within:
        raise ForgeError(f"{within[0]}: lies in {plots}, which holds plots alone", "give another folder with --plots")
    if images and plots.resolve().is_relative_to(images.resolve()):
        raise ForgeError(f"{plots}: lies among the images", "give another folder with --plots")


def load_recipe(
    name: str | None,
    *,
    labels: Path | None = None,
    score: float | None = None,
    iou: float | None = None,
    max_det: int | None = None,
    class_agnostic: bool = False,
    keep: Sequence[str] = (),
    only: Sequence[str] = (),
) -> Recipe:
    """The recipe of that name or file (None: the defaults), with the command line's word above it.

    Raises:
        ForgeError: see ``trtforge.recipe.load``; a value is out of its range.
    """
    found = recipes.load(recipes.find(name)) if name else Recipe()
    given = {"score": score, "iou": iou, "max_det": max_det, "class_agnostic": class_agnostic or None}
    changes: Facts = {"nms": found.nms.model_dump() | {key: value for key, value in given.items() if value is not None}}
    if labels:
        changes["labels"] = labels
    if keep or only:  # --keep adds to the recipe's, --only stands in its place
        own = found.precision
        changes["precision"] = own.model_dump() | {"keep": [*own.keep, *keep], "only": list(only or own.only)}
    try:
        return Recipe.model_validate(found.model_dump() | changes)
    except ValidationError as error:
        first = error.errors()[0]
        raise ForgeError(f"--{str(first['loc'][-1]).replace('_', '-')}: {first['msg'].lower()}", "") from error


def check_nms(form: str, given: Facts) -> None:
    """Refuse options about an NMS where none is put in.

    Args:
        given: value of each such option by its name; None, False and ``auto`` are no word.

    Raises:
        ForgeError: it names the first of them.
    """
    name = next(
        (name for name, value in given.items() if not (value is None or value is False or value == "auto")), None
    )
    if form in ("none", "keep") and name:
        raise ForgeError(f"--{name} is about the NMS that is put in, and --nms {form} puts in none",
                         f"drop it, or give another form than {form}")  # fmt: skip


def nms(base: Nms, given: Facts) -> Nms:
    """``base`` with the command line's word above it.

    Raises:
        ForgeError: a value is out of its range.
    """
    try:
        return Nms.model_validate(base.model_dump() | given)
    except ValidationError as error:
        first = error.errors()[0]
        raise ForgeError(f"--{str(first['loc'][-1]).replace('_', '-')}: {first['msg'].lower()}", "") from error


def check_precision(work: Job | Ready, targets: Sequence[Target]) -> None:
    """Refuse a precision that a target's GPU has no kernels for.

    Raises:
        ForgeError: it names the device and what it has.
    """
    for target in targets:
        device = target.device
        if work.precision == "fp8" and target.backend == "onnxruntime":
            raise ForgeError("ONNX Runtime has no FP8 convolutions on the CPU", "give --device, or --int8")
        if device and target.backend != "onnxruntime" and (why := no_kernels(device, work.precision)):
            first = next(sm for name, sm in FIRST_SM.items() if name == work.precision)
            raise ForgeError(why, f"{work.precision.upper()} needs SM{first} or newer")


def folders(out: Path | None, job: Job | Ready, targets: Sequence[Target]) -> list[Path]:
    """An output folder for each target: ``out`` itself for one, a folder a device under it for several."""
    name = job.name if isinstance(job, Ready) else job.model.stem
    if any(char in name for char in UNQUOTED) or name != name.strip():
        raise ForgeError(f"{name!r}: nvinfer's configuration can't hold that file name", "rename the model")
    places = [_place(target) for target in targets]
    if len(set(places)) < len(places):
        raise ForgeError(f"--device names {max(places, key=places.count)} twice", "name each device once")
    if out:
        outs = [out] if len(targets) == 1 else [out / place for place in places]
    else:
        outs = [Path(f"{name}-{place}-{job.precision}") for place in places]
    sources = {graph.path.parent.resolve() for graph in job.graphs.values()} if isinstance(job, Ready) else set()
    for each in outs:
        if each.resolve() in sources:
            raise ForgeError(f"{each}: is the prepared folder itself", "give another folder with -o")
    return outs


def _place(target: Target) -> str:
    """Of a folder's name: a prepared one never takes that of the bundle that is built from it."""
    if target.backend:
        return target.device.name if target.device else "cpu"
    return f"{target.device.name}-prepared" if target.device else "prepared"
