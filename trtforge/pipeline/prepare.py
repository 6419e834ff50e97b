"""Prepare a model: every stage that needs no GPU, in order.

adapt -> fold -> observe -> calibrate -> refine -> quantize or cast -> patch
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from trtforge.bundle.facts import FoldFacts, PatchFacts
from trtforge.bundle.manifest import Sources
from trtforge.bundle.prepared import Form, Prepared
from trtforge.deepstream.format.labels import labels
from trtforge.errors import ForgeError
from trtforge.metadata import of_file
from trtforge.names import QUANTIZED, Backend
from trtforge.pipeline import fill
from trtforge.pipeline.calibrate import Calibrated, calibrate_model
from trtforge.pipeline.job import Job
from trtforge.pipeline.nms import patch_options
from trtforge.pipeline.precision import apply_precision
from trtforge.pipeline.sources import calibration_images, model_entry, model_file
from trtforge.recipe import Recipe
from trtforge.stages import MODEL, adapt, fold, patch
from trtforge.store import Artifact, File, Store
from trtforge.traits import DEEPSTREAM, TRAITS

TENSORRT_8_OPSET = 17  # its parser's newest, and enough for a graph without Q/DQ
DEFAULT_SIZE = (640, 640)  # height and width of a dynamic input whose recipe names none


def prepare(job: Job, store: Store, backends: Sequence[Backend]) -> Prepared:
    """Run every stage that needs no GPU.

    Args:
        backends: a graph is made for each of them; the DeepStream form is always among the graphs.

    Raises:
        ForgeError: see the stages.
    """
    ready = _clean(job, store)
    job, clean, facts = ready.filled.job, ready.model, ready.facts
    _check(job, facts)
    job = _with_own_limits(job, facts)
    batch = _batch(job.batch, facts.batch)
    images = calibration_images(job) if job.precision in QUANTIZED else None
    typed = apply_precision(job, clean, images.folder if images else None, store)
    made = [*ready.forms, *typed.stages]
    forms: dict[Backend, tuple[Form, ...]] = {}
    graphs: dict[Backend, File] = {}
    patches: dict[Backend, PatchFacts] = {}
    for backend in dict.fromkeys((DEEPSTREAM, *backends)):
        graph = typed.graph if TRAITS[backend].half else typed.cpu_graph
        options = patch_options(job, backend, facts)
        patched = store.run(patch.STAGE, patch.PatchInputs(graph), options)
        graphs[backend], patches[backend] = patched.file(MODEL), patched.facts
        forms[backend] = tuple(made[: 1 + [form.model for form in made].index(graph)])
    return Prepared(
        name=job.model.stem,
        precision=job.precision,
        batch=batch,
        recipe=job.recipe,
        facts=facts,
        sources=Sources(model_entry(ready.forms[0].model), images.entry if images else None),
        graphs=graphs,
        patches=patches,
        table=typed.table,
        remarks=typed.remarks + fill.remarks(ready.filled, facts),
        implicit=job.implicit,
        images=typed.images,
        origins=fill.origins(ready.filled, facts),
        forms=forms,
    )


def calibrated_model(job: Job, store: Store) -> tuple[Calibrated, Recipe]:
    """Run the stages up to calibration, for a search that quantizes by itself.

    Returns:
        The model with its ranges, and what is left of the recipe for it, filled in.

    Raises:
        ForgeError: see the stages.
    """
    ready = _clean(job, store)
    job = ready.filled.job
    calibrated = calibrate_model(job, ready.model, calibration_images(job).folder, store)
    return calibrated, job.recipe


def after_adapting(recipe: Recipe) -> Recipe:
    """Return what is left of a recipe for the graphs of the pipeline.

    The patches are made, and the deviations are in the weights.
    """
    preprocess = recipe.preprocess.model_copy(update={"std": None})
    return recipe.model_copy(update={"patches": (), "preprocess": preprocess})


@dataclass(frozen=True)
class _Clean:
    """A folded model that takes what nvinfer can make of a frame, and its job."""

    filled: fill.Filled
    model: File
    facts: FoldFacts
    forms: tuple[Form, ...]


def _clean(job: Job, store: Store) -> _Clean:
    """Fold the user's model, and fill in the recipe with what the file and the graph say."""
    forms = [Form("", model_file(job.model))]

    def adapt_last(job: Job) -> Job:
        job, model = _adapt(job, forms[-1].model, store)
        if model is not forms[-1].model:
            forms.append(Form("adapt", model))
        return job

    filled = fill.by_file(job, of_file(job.model))
    filled = filled.with_job(adapt_last(filled.job))
    folded = _fold(filled.job, forms[-1].model, store)
    forms.append(Form("fold", folded.file(MODEL)))
    filled = fill.by_graph(filled, folded.facts)
    # Deviations that only the graph shows are folded in as late as here.
    job, facts = fill.without_none(adapt_last(filled.job), folded.facts)
    return _Clean(filled.with_job(job), forms[-1].model, facts, tuple(forms))


def _adapt(job: Job, model: File, store: Store) -> tuple[Job, File]:
    """Work the recipe's patches and deviations into the model; the returned job has them no more."""
    recipe = job.recipe
    if not recipe.patches and recipe.preprocess.std is None:
        return job, model
    options = adapt.AdaptOptions(recipe.patches, recipe.preprocess)
    adapted = store.run(adapt.STAGE, adapt.AdaptInputs(model), options)
    return replace(job, recipe=after_adapting(recipe)), adapted.file(MODEL)


def _fold(job: Job, model: File, store: Store) -> Artifact[FoldFacts]:
    options = fold.FoldOptions(
        size=job.size,
        default_size=job.recipe.preprocess.size or DEFAULT_SIZE,
        head=job.recipe.head,
        check=job.check,
        decode=job.recipe.decode,
        opset=TENSORRT_8_OPSET if job.implicit else None,
        widen=job.precision in QUANTIZED or job.implicit,
        strip=job.nms != "keep",
    )
    return store.run(fold.STAGE, fold.FoldInputs(model), options)


def _check(job: Job, facts: FoldFacts) -> None:
    """Refuse, before any longer work, what the folded model does not go with.

    Raises:
        ForgeError: an NMS plugin is to be kept; the labels are wrong, or not as many as classes.
    """
    if job.nms == "keep" and facts.stripped_nms:
        raise ForgeError(
            f"{job.model}: --nms keep: its {facts.stripped_nms} runs in TensorRT alone, not where "
            "it is calibrated",
            "without --nms it is put back as each target needs it",
        )
    labels(job.recipe.labels, facts.detection.classes if facts.detection else None)


def _with_own_limits(job: Job, facts: FoldFacts) -> Job:
    """Return the job with the thresholds of the NMS that was cut away, where the user names none."""
    if facts.stripped_limits is None:
        return job
    nms = job.recipe.nms.with_defaults(vars(facts.stripped_limits))
    return replace(job, recipe=job.recipe.model_copy(update={"nms": nms}))


def _batch(batch: tuple[int, int, int] | None, fixed: int | None) -> tuple[int, int, int]:
    """Return smallest, best and largest batch.

    Args:
        batch: what the user gave.
        fixed: the model's own batch; None if it is dynamic.

    Raises:
        ForgeError: the two differ.
    """
    if batch is None:
        return (fixed or 1,) * 3
    if fixed is None:
        return batch
    if batch[2] != fixed:
        raise ForgeError(
            f"the model's batch is fixed at {fixed}, not {':'.join(map(str, batch))}",
            "drop --batch, or export the model with a dynamic batch",
        )
    return (fixed,) * 3
