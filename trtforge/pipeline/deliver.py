"""Deliver: prepare a model once, build an engine for every target, and write the folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trtforge.backends.options import PLAIN, BuildOptions
from trtforge.bundle.facts import BuildFacts, EngineCheck
from trtforge.bundle.folder import check_output
from trtforge.bundle.prepared import Prepared, Target
from trtforge.cluster import Workers, this_process
from trtforge.errors import BuildError
from trtforge.names import Backend
from trtforge.pipeline.blame import with_blame
from trtforge.pipeline.build import build_in_cell, engine_cell
from trtforge.pipeline.check import check_engine
from trtforge.pipeline.job import Job
from trtforge.pipeline.prepare import prepare
from trtforge.stages import build, bundle
from trtforge.store import Artifact, Store
from trtforge.traits import DEEPSTREAM, TRAITS

Engine = Artifact[BuildFacts]


@dataclass(frozen=True)
class Built:
    """The outcome for one target.

    Attributes:
        out: the folder.
        wrote: the folder had to be written.
        engine: the built engine; None for a prepared folder.
        check: the engine beside FP32; None where it was not run.
        remarks: what the user should know.
    """

    target: Target
    out: Path
    wrote: bool
    engine: Engine | None
    check: EngineCheck | None
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
    """Make the folder of every target: a bundle, or a prepared folder.

    The model is prepared and calibrated once, whatever the number of targets. While the store is
    only planning, nothing is written.

    Args:
        outs: the folder of each target.
        deepstream: the version that the configuration is for; None is each device's newest.
        force: replace files that were changed by hand.
        workers: build the engines; None is this process.

    Raises:
        ForgeError: see ``prepare`` and ``build_engine``; an output folder that can't be used is
            refused before any work.
    """
    for out in outs:
        check_output(out, force)
    if isinstance(work, Job):
        prepared = prepare(work, store, _backends(targets, work.implicit))
    else:
        prepared = work
    engines = _engines(prepared, targets, store, options, workers or this_process(store))
    checks = [
        check_engine(work, prepared, target, engine, options, store) if engine else (None, "")
        for target, engine in zip(targets, engines, strict=True)
    ]
    if store.planning:
        return []
    built = []
    for target, engine, (check, word), out in zip(targets, engines, checks, outs, strict=True):
        written = bundle.write(
            out, prepared, target, engine, check, deepstream, force, options.dla_core
        )
        unused = build.remark(engine.facts) if engine else ""
        remarks = [*_remarks(prepared), *written.remarks, *filter(None, (unused, word))]
        built.append(Built(target, out, written.changed, engine, check, remarks))
    return built


def _backends(targets: Sequence[Target], implicit: bool) -> list[Backend]:
    """Return the backends that need a graph: those of the targets, or all for a prepared folder."""
    backends: list[Backend] = []
    for target in targets:
        if target.backend:
            backends.append(target.backend)
        else:
            backends += [name for name in TRAITS if TRAITS[name].implicit or not implicit]
    return backends


def _engines(
    prepared: Prepared,
    targets: Sequence[Target],
    store: Store,
    options: BuildOptions,
    workers: Workers,
) -> list[Engine | None]:
    """Build the engine of every target; None for a target that gets none."""
    numbers = [number for number, target in enumerate(targets) if target.backend]
    cells = [engine_cell(prepared, targets[number], options, store) for number in numbers]
    engines: list[Engine | None] = [None] * len(targets)
    label = f"building {len(cells)} engines"
    for done in workers.run_with_progress(build_in_cell, cells, label):
        try:
            done.result()
        except BuildError as error:
            raise with_blame(error, prepared, targets[numbers[done.number]], options) from error
        engines[numbers[done.number]] = done.made[-1].with_facts(BuildFacts)
    return engines


def _unserved(prepared: Prepared) -> list[str]:
    """Return what nvinfer can't build of a graph that another tool quantized."""
    from trtforge.graph.model import graph_of, load
    from trtforge.graph.quantize.obstacle import unserved_pair

    if not prepared.facts.typed or DEEPSTREAM not in prepared.graphs:
        return []
    found = unserved_pair(graph_of(load(prepared.graphs[DEEPSTREAM].path)))
    return [f"DeepStream can't use the graph: {found[0]}"] if found else []


def _remarks(prepared: Prepared) -> list[str]:
    """Return what the user should know about the model."""
    remarks = [*prepared.remarks, *_unserved(prepared)]
    facts = prepared.facts
    if facts.detection:
        remarks.append(f"detector: {facts.detection.why}")
    elif facts.kept_nms:
        remarks.append(
            f"the model suppresses boxes itself ({facts.kept_nms}): its outputs stay as they are"
        )
    elif facts.likely:
        remarks.append(f"no decoded detector recognised, so no NMS; {facts.likely}")
    elif prepared.recipe.head != "none":
        remarks.append("no decoded detector recognised: outputs stay as they are, without NMS")
    oriented = facts.detection is not None and "angle" in facts.detection.extras
    if oriented and prepared.patches[DEEPSTREAM].form == "onnx":
        remarks.append(
            "oriented boxes: DeepStream's stock parser reads upright ones only, so nvinfer attaches "
            "boxes and angles to frames as tensors"
        )
    step = prepared.patches[DEEPSTREAM].enlarged
    if step > 1:
        remarks.append(
            f"for DeepStream, the map of classes is made {step} times larger, the image's size"
        )
    if facts.stripped_nms:
        put_back = prepared.patches[DEEPSTREAM].form != "none"
        back = " and is put back as the target needs it" if put_back else ""
        remarks.append(f"the model's own NMS ({facts.stripped_nms}) was cut away{back}")
    return remarks
