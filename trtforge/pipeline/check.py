"""Run a built engine on a few images beside FP32, where its GPU is here."""

from __future__ import annotations

from dataclasses import replace

from trtforge.backends.options import BuildOptions
from trtforge.bundle.facts import BuildFacts, EngineCheck
from trtforge.bundle.prepared import Prepared, Target
from trtforge.devices import this_machine
from trtforge.errors import ForgeError
from trtforge.names import Backend
from trtforge.pipeline.job import Job
from trtforge.pipeline.prepare import prepare
from trtforge.pipeline.sources import calibration_images
from trtforge.stages import build, engine_check
from trtforge.store import Artifact, File, Store
from trtforge.traits import TRAITS


def check_engine(
    work: Job | Prepared,
    prepared: Prepared,
    target: Target,
    engine: Artifact[BuildFacts],
    builder: BuildOptions,
    store: Store,
) -> tuple[EngineCheck | None, str]:
    """Compare an engine with the FP32 graph, or, for a folder without one, with its own graph.

    Returns:
        The figures, None where the engine was not run; and what the user should know.
    """
    backend, device, here = target.backend, target.device, this_machine()
    if backend is None or device is None or not TRAITS[backend].on_gpu:
        return None, ""
    if here is None or here.sm != device.sm:
        return None, ""
    if why := _why_not(prepared, builder, store.planning):
        return None, f"the engine was not run: {why}"
    built = engine.file(build.ENGINE)
    try:
        graph, words = _reference(work, prepared, backend, store)
        inputs = engine_check.CheckInputs(built, graph, _images(work))
        options = engine_check.CheckOptions(
            prepared.recipe, prepared.built_precision, words, device.title
        )
        facts = store.run(engine_check.STAGE, inputs, options).facts
    except ForgeError as error:
        return None, f"the engine was not checked: {error.problem.removeprefix(f'{built.path}: ')}"
    return facts, "" if store.planning else engine_check.remark(facts)


def _why_not(prepared: Prepared, builder: BuildOptions, planning: bool) -> str:
    if builder.strip_weights:
        return "it has no weights yet"
    if builder.version_compatible:
        return "it carries code of its own"
    if prepared.facts.size is None and not planning:
        return "its input is no image"
    return ""


def _reference(
    work: Job | Prepared, prepared: Prepared, backend: Backend, store: Store
) -> tuple[File, str]:
    """Return the graph that is right by definition, and what it is, in words."""
    own = prepared.graphs[backend]
    if prepared.implicit or prepared.built_precision == "fp32":
        return own, "FP32"
    if isinstance(work, Job) and work.precision != "fp32":
        job, unseen = replace(work, precision="fp32", images=None), replace(store, ran=[])
        return prepare(job, unseen, [backend]).graphs[backend], "FP32"
    return own, "its graph in ONNX Runtime"


def _images(work: Job | Prepared) -> File | None:
    if not isinstance(work, Job):
        return None
    folder = work.images or work.recipe.calibration.images
    return calibration_images(work).folder if folder and folder.is_dir() else None
