"""The way of a model, in one straight line: fold, calibrate, quantize, cast, patch, build, bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from trtforge.backends.onnxruntime import calibration_provider
from trtforge.backends.options import PLAIN, BuildOptions
from trtforge.bundle import manifest
from trtforge.bundle.prepared import Prepared, Target
from trtforge.cluster import Cell, Workers, this_process
from trtforge.deepstream.format.labels import labels
from trtforge.errors import ForgeError
from trtforge.names import BACKENDS, QUANTIZED
from trtforge.pipeline.job import Job
from trtforge.pipeline.targets import place
from trtforge.recipe import Recipe
from trtforge.stages import (
    MODEL,
    adapt,
    build,
    bundle,
    calibrate,
    cast,
    fold,
    observe,
    patch,
    quantize,
    refine,
)
from trtforge.store import Artifact, File, Store, source

# The form of the NMS in each backend's graph with --nms auto.
AUTO_NMS = {"tensorrt": "deepstream", "tensorrt-rtx": "none", "onnxruntime": "onnx"}
TENSORRT_8_OPSET = 17  # its parser's newest, and enough for a graph without Q/DQ
DEFAULT_SIZE = (640, 640)  # height and width of a dynamic input whose recipe names none


def prepare(job: Job, store: Store, backends: Sequence[str]) -> Prepared:
    """From the model to a ready graph for each of ``backends``; the DeepStream form is always among
    them.

    Raises:
        ForgeError: see the stages.
    """
    original = _model_source(job.model)
    table: File | None = None
    inputs: dict[str, Any] = {"model": {"name": job.model.name, "sha256": original.digest}}
    job, original = _adapted(job, original, store)
    recipe = job.recipe
    folded = _fold(job, original, store)
    if job.nms == "keep" and folded.facts["stripped_nms"]:
        own = folded.facts["stripped_nms"]
        raise ForgeError(
            f"{job.model}: --nms keep: its {own} runs in TensorRT alone, not where it is calibrated",
            "without --nms it is put back as each target needs it",
        )
    labels(
        recipe.labels, (folded.facts.get("detection") or {}).get("classes")
    )  # wrong ones are said before any work
    batch = _batch(job.batch, folded.facts.get("batch"))
    typed = plain = folded.file(MODEL)
    images: File | None = None
    remarks: list[str] = []
    if job.precision in QUANTIZED:
        images, inputs["images"] = _images_source(job)
    if job.implicit and images and job.calibrator == "own":
        ranges, remarks = _ranges(job, folded.file(MODEL), images, store)
        table = ranges["ranges"]
    elif images and not job.implicit:
        typed, plain, table, remarks = _quantized(job, folded.file(MODEL), images, store)
    elif not job.implicit:
        typed = plain = _float(job, folded.file(MODEL), store)
    graphs, patches = {}, {}
    for backend in dict.fromkeys(["tensorrt", *backends]):
        # ONNX Runtime's INT8 operators take no FP16 scales, and its CPU has no FP16 kernels to gain
        # from.
        graph = plain if backend == "onnxruntime" else typed
        patched = store.run(patch.STAGE, {"model": graph}, _patch_options(job, backend, folded))
        graphs[backend], patches[backend] = patched.file(MODEL), patched.facts
    return Prepared(
        job.model.stem,
        job.precision,
        batch,
        recipe,
        folded.facts,
        inputs,
        graphs,
        patches,
        table,
        remarks=tuple(remarks),
        implicit=job.implicit,
        images=None if table else images,
    )


def _adapted(job: Job, model: File, store: Store) -> tuple[Job, File]:
    """The model with the recipe's patches and deviations in it, and the job without them."""
    recipe = job.recipe
    if not recipe.patches and recipe.preprocess.std is None:
        return job, model
    wanted = recipe.model_dump(mode="json", include={"patches", "preprocess"})
    adapted = store.run(adapt.STAGE, {"model": model}, {"recipe": wanted}).file(MODEL)
    return replace(job, recipe=after_adapting(recipe)), adapted


def after_adapting(recipe: Recipe) -> Recipe:
    """What is left of a recipe for graphs of the pipeline: its patches are made, its deviations are
    in the weights.
    """
    return recipe.model_copy(
        update={"patches": (), "preprocess": recipe.preprocess.model_copy(update={"std": None})}
    )


def _float(job: Job, clean: File, store: Store) -> File:
    """The graph in FP32 as it is, or cast to FP16."""
    if job.precision == "fp32":
        return clean
    return store.run(cast.STAGE, {"model": clean}, {"keep": list(job.recipe.precision.keep)}).file(
        MODEL
    )


def _quantized(
    job: Job, clean: File, images: File, store: Store
) -> tuple[File, File, File, list[str]]:
    """The graph with Q/DQ: cast to FP16 elsewhere as the recipe says, and FP32 elsewhere; the
    ranges; remarks.
    """
    recipe = job.recipe
    where = {
        "keep": list(recipe.precision.keep),
        "only": list(recipe.precision.only),
        "float_heads": recipe.precision.heads == "float",
        "form": job.precision,
    }
    inputs, remarks = _ranges(job, clean, images, store)
    plain = store.run(quantize.STAGE, inputs, where).file(MODEL)
    typed = plain
    if recipe.precision.rest == "fp16":
        typed = store.run(cast.STAGE, {"model": plain}, {"keep": []}).file(MODEL)
    return typed, plain, inputs["ranges"], remarks


def calibrated(job: Job, store: Store) -> dict[str, File]:
    """What ``quantize`` reads: the folded model, its ranges, and its refined weights if the recipe
    wants them.

    The model takes images as ``after_adapting`` says.

    Raises:
        ForgeError: see the stages.
    """
    job, original = _adapted(job, _model_source(job.model), store)
    folded = _fold(job, original, store)
    return _ranges(job, folded.file(MODEL), _images_source(job)[0], store)[0]


def _fold(job: Job, original: File, store: Store) -> Artifact:
    recipe = job.recipe
    return store.run(
        fold.STAGE,
        {"model": original},
        {
            "size": job.size and list(job.size),
            "default_size": list(recipe.preprocess.size or DEFAULT_SIZE),
            "head": recipe.head,
            "check": job.check,
            "decode": recipe.decode.model_dump(mode="json"),
            **({"opset": TENSORRT_8_OPSET} if job.implicit else {}),
        },
    )


def _ranges(job: Job, clean: File, images: File, store: Store) -> tuple[dict[str, File], list[str]]:
    """What ``quantize`` reads, and remarks."""
    recipe = job.recipe
    histograms = store.run(
        observe.STAGE,
        {"model": clean, "images": images},
        {
            "preprocess": recipe.preprocess.model_dump(mode="json"),
            "provider": calibration_provider(job.provider),
            **({"taps": "implicit"} if job.implicit else {}),
        },
    ).file(observe.TABLE)
    choosing = recipe.calibration.model_dump(exclude={"images", "refine"})
    chosen = store.run(calibrate.STAGE, {"histograms": histograms}, choosing)
    found = {"model": clean, "ranges": chosen.file(calibrate.TABLE)}
    if job.precision == "int8" and recipe.calibration.refine and not job.implicit:
        refined = store.run(refine.STAGE, {**found, "images": images}, {})
        found |= {"ranges": refined.file(calibrate.TABLE), "weights": refined.file(refine.WEIGHTS)}
    return found, calibrate.remarks(chosen.facts)


def forge(ready: Prepared, target: Target, store: Store, options: BuildOptions) -> Artifact:
    """The engine for a target with a backend.

    Raises:
        ForgeError: the prepared folder holds no graph for the backend.
        BuildError: the builder refuses the graph.
    """
    assert target.backend
    if target.backend not in ready.graphs:
        raise ForgeError(
            f"prepared without a graph for {target.backend}", "make it with `trtforge prepare`"
        )
    device = target.device
    timed = target.backend == "tensorrt"
    inputs = {"model": ready.graphs[target.backend]}
    if ready.implicit and ready.precision == "int8":
        options = replace(options, implicit=ready.recipe.precision.rest)
        inputs |= {"ranges": ready.table} if ready.table else {}
        inputs |= {"images": ready.images} if ready.images else {}
    arguments = {
        "backend": target.backend,
        "sm": device.sm if device and target.backend != "onnxruntime" else None,
        "gpu": device.title if device and timed else None,
        "batch": list(ready.batch),
        "size": ready.facts.get("size"),
        "options": asdict(options),
        **(
            {"preprocess": ready.recipe.preprocess.model_dump(mode="json")}
            if "images" in inputs
            else {}
        ),
    }
    return store.run(build.stage(target.backend), inputs, arguments)


def to_build(ready: Prepared, target: Target, options: BuildOptions, store: Store) -> Cell:
    """What ``build_cell`` needs to build for a target: no more than its own graph travels."""
    graphs: dict[str, File] = {
        name: graph for name, graph in ready.graphs.items() if name == target.backend
    }
    only = (
        replace(ready, graphs=graphs)
        if ready.implicit
        else replace(ready, graphs=graphs, table=None, images=None)
    )
    planned = forge(ready, target, replace(store, planning=True, ran=[]), options)
    return Cell(
        (only, target, options),
        place(target),
        alone=target.backend == "tensorrt",
        known=(planned,) if planned.cached else (),
    )


def build_cell(arguments: tuple[Prepared, Target, BuildOptions], store: Store) -> None:
    """``forge``, wherever the target's engine is built."""
    ready, target, options = arguments
    forge(ready, target, store, options)


def _patch_options(job: Job, backend: str, folded: Artifact) -> dict[str, Any]:
    recognised = folded.facts.get("detection") is not None
    form = AUTO_NMS[backend] if job.nms == "auto" else job.nms
    if backend == "tensorrt-rtx":
        # It can build no NMS (the DeepStream form beside it has it), but a TopK for models that
        # need no more.
        ranked = recognised and folded.facts["detection"]["form"] in ("queries", "ranked")
        form = "onnx" if ranked and form not in ("none", "keep") else "none"
    elif backend == "onnxruntime" and job.nms in ("deepstream", "efficientnms"):
        form = "onnx"  # the same outputs as the plugin's
    if job.nms == "auto" and not recognised:
        form = "keep"
    return {
        "form": form,
        "impl": job.nms_impl,
        "head": job.recipe.head,
        "nms": job.recipe.nms.model_dump(),
        "decode": job.recipe.decode.model_dump(mode="json"),
    }


def _model_source(model: Path) -> File:
    from trtforge.graph.model import external_files

    if not model.is_file():
        raise ForgeError(f"{model}: no such file", "give the path of an .onnx file")
    return source(model, *(path for path in external_files(model) if path.is_file()))


def _images_source(job: Job) -> tuple[File, dict[str, Any]]:
    """The images folder with one digest over names and contents."""
    from trtforge.calibration.images import folder_digest, image_digests, list_images

    folder = job.images or job.recipe.calibration.images
    if folder is None:
        raise ForgeError(
            f"{job.precision.upper()} needs photographs to calibrate on",
            "give --calib FOLDER, or build with --fp16",
        )
    digests = image_digests(list_images(folder), folder)
    return File(folder, folder_digest(digests)), {
        "count": len(digests),
        "sha256": folder_digest(digests),
    }


def _batch(asked: tuple[int, int, int] | None, fixed: int | None) -> tuple[int, int, int]:
    if asked is None:
        return (fixed or 1,) * 3
    if fixed is not None and asked[2] != fixed:
        raise ForgeError(
            f"the model's batch is fixed at {fixed}, not {':'.join(map(str, asked))}",
            "drop --batch, or export the model with a dynamic batch",
        )
    return asked if fixed is None else (fixed,) * 3


@dataclass(frozen=True)
class Built:
    """The outcome for one target.

    Attributes:
        out: the folder.
        wrote: whether it had to be written.
        engine: the built engine; None for a prepared folder.
        remarks: what the user should know.
    """

    target: Target
    out: Path
    wrote: bool
    engine: Artifact | None
    remarks: list[str]


def deliver(
    work: Job | Prepared,
    targets: Sequence[Target],
    outs: Sequence[Path],
    store: Store,
    *,
    options: BuildOptions = PLAIN,
    deepstream: str | None,
    force: bool,
    workers: Workers | None = None,
) -> list[Built]:
    """Build, or prepare, for every target into its folder.

    Args:
        workers: who builds; None is this process.

    The graph is prepared and calibrated once, whatever the number of targets. While the store is
    only planning, nothing is written.

    Raises:
        ForgeError: see ``prepare`` and ``forge``; an output folder that can't be used is refused
            before any work.
    """
    for out in outs:
        manifest.check_output(out, force)
    every = ("tensorrt",) if work.implicit else BACKENDS
    backends = [
        each for target in targets for each in ([target.backend] if target.backend else every)
    ]
    ready = prepare(work, store, backends) if isinstance(work, Job) else work
    engines = _engines(ready, targets, store, options, workers or this_process(store))
    if store.planning:
        return []
    built = []
    for target, engine, out in zip(targets, engines, outs, strict=True):
        wrote, remarks = bundle.write(
            out, ready, target, engine, deepstream, force, options.dla_core
        )
        unused = build.remark(engine.facts) if engine else ""
        built.append(
            Built(
                target,
                out,
                wrote,
                engine,
                [*_remarks(ready), *remarks, *([unused] if unused else [])],
            )
        )
    return built


def _engines(
    ready: Prepared,
    targets: Sequence[Target],
    store: Store,
    options: BuildOptions,
    workers: Workers,
) -> list[Artifact | None]:
    numbers = [number for number, target in enumerate(targets) if target.backend]
    cells = [to_build(ready, targets[number], options, store) for number in numbers]
    engines: list[Artifact | None] = [None] * len(targets)
    for done in workers.run_with_progress(build_cell, cells, f"building {len(cells)} engines"):
        done.result()
        engines[numbers[done.number]] = done.made[-1]
    return engines


def _remarks(ready: Prepared) -> list[str]:
    found = list(ready.remarks)
    detection = ready.facts.get("detection")
    if detection:
        found.append(f"detector: {detection['why']}")
    elif ready.facts.get("likely"):
        found.append(f"no decoded detector recognised, so no NMS; {ready.facts['likely']}")
    elif ready.recipe.head != "none":
        found.append("no decoded detector recognised: outputs stay as they are, without NMS")
    if ready.facts.get("stripped_nms"):
        back = (
            " and is put back as the target needs it"
            if ready.patches["tensorrt"]["form"] != "none"
            else ""
        )
        found.append(f"the model's own {ready.facts['stripped_nms']} was cut away{back}")
    return found
