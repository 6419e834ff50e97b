"""Fill in the recipe of a job: from what the model's file says of itself, then from its graph."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from trtforge.bundle.facts import FoldFacts
from trtforge.metadata import (
    NOTHING,
    Completed,
    Metadata,
    by_metadata,
    by_structure,
    complete_nms,
    from_recipe,
)
from trtforge.metadata.check import contradictions
from trtforge.metadata.complete import FROM_RECIPE, describe
from trtforge.metadata.complete import remarks as remarks_on
from trtforge.pipeline.job import Job
from trtforge.recipe import Decode, Recipe

BEST_CLASS = "a box counts under its best class, as in Ultralytics' predict; --every-class counts all classes"
BY_DEFAULT = (
    "normalization: pixel / 255 (by default; what else the network was trained with, a recipe says)"
)
# RF-DETR's exporter calls its outputs so. It has a channel more than classes, which stands for none
# (its losses never reward it), but for the weights of COCO, whose channels are COCO's ids 0 to 90.
RF_DETR_OUTPUTS = {"dets", "labels"}
COCO_IDS = 91


@dataclass(frozen=True)
class Filled:
    """A job whose recipe is filled in.

    Attributes:
        stated: what the model's file says of itself.
        completed: its preprocessing, before a part of it went into the graph.
    """

    job: Job
    stated: Metadata = NOTHING
    completed: Completed = field(default_factory=Completed)

    def with_job(self, job: Job) -> Filled:
        """Return the same for a job that stages have gone on with."""
        return replace(self, job=job)


def for_file(recipe: Recipe, model: Path) -> tuple[Recipe, list[str]]:
    """Return a recipe with what an ONNX file says and shows, for a stage that is run alone.

    Returns:
        The recipe, and what was filled in, a line each.

    Raises:
        ForgeError: the file can't be read.
    """
    from trtforge.graph.detection import recognise
    from trtforge.graph.filled import fill
    from trtforge.graph.filled import remarks as filling
    from trtforge.graph.model import graph_of, load

    graph = graph_of(load(model))
    head = None if recipe.head == "none" else recognise(graph, recipe.head_hint, recipe.decode)
    return fill(recipe, graph, head), filling(recipe, graph, head)


def by_file(job: Job, stated: Metadata) -> Filled:
    """Return the job with what the file says, where neither options nor recipe say it."""
    completed = by_metadata(from_recipe(job.recipe.preprocess), stated)
    job = _with(job, completed)
    recipe = job.recipe.model_copy(update={"nms": complete_nms(job.recipe.nms, stated)})
    return Filled(replace(job, recipe=recipe), stated, completed)


def by_graph(filled: Filled, facts: FoldFacts) -> Filled:
    """Return the job with what its graph shows, where nothing else says it."""
    form = facts.detection.form if facts.detection else None
    shown = by_structure(filled.completed, form, facts.patches)
    if shown == filled.completed:
        return filled
    job = filled.job
    spec = job.recipe.preprocess
    if "normalization" not in filled.completed.origins:
        parts = shown.preprocess
        spec = spec.model_copy(
            update={"scale": parts.scale, "offsets": parts.offsets, "std": parts.std}
        )
    spec = spec.model_copy(update={"letterbox": shown.preprocess.letterbox})
    recipe = job.recipe.model_copy(update={"preprocess": spec})
    return Filled(replace(job, recipe=recipe), filled.stated, shown)


def without_none(job: Job, facts: FoldFacts) -> tuple[Job, FoldFacts]:
    """Return the job and the facts of an RF-DETR without the channel for none.

    Others keep all their channels: nothing in a graph shows that one is never meant.
    """
    found = facts.detection
    if found is None or found.form != "queries" or job.recipe.head != "auto":
        return job, facts
    if not found.classes or found.classes == COCO_IDS or facts.patches is None:
        return job, facts
    if not facts.outputs.keys() >= RF_DETR_OUTPUTS or job.recipe.decode != Decode():
        return job, facts
    figures = Decode(activation="sigmoid", background="last")
    recipe = job.recipe.model_copy(update={"head": "queries", "decode": figures})
    why = f"{found.why}; as RF-DETR's files have it, the last channel is none"
    fewer = replace(found, classes=found.classes - 1, why=why)
    return replace(job, recipe=recipe), replace(facts, detection=fewer)


def origins(filled: Filled, facts: FoldFacts) -> dict[str, str]:
    """Return where each part of the preprocessing is from, with its value, for the manifest."""
    found = describe(filled.completed)
    found.pop("size", None)
    if facts.size is None or facts.image is None:
        return found
    size = "x".join(map(str, facts.size))
    if facts.frozen is None:
        origin = "fixed in the graph"
    elif filled.job.size:
        origin = "--size"
    else:
        origin = filled.completed.origins.get("size", "by default; --size HxW gives another")
    return {"size": f"{size} ({origin})", **found}


def remarks(filled: Filled, facts: FoldFacts) -> tuple[str, ...]:
    """Return what the user should know: what was not the recipe's, and what the graph denies."""
    form = facts.detection.form if facts.detection else None
    lines = tuple(remarks_on(filled.completed))
    by_recipe = filled.completed.origins.get("size") == FROM_RECIPE
    if facts.frozen and filled.job.size is None and not by_recipe:
        lines = (f"size: {origins(filled, facts)['size']}", *lines)
    if "normalization" not in filled.completed.origins and not facts.detection:
        lines += (BY_DEFAULT,)
    best = filled.stated.best_class and filled.job.recipe.nms.best_class
    if best and facts.detection and facts.detection.form != "ranked":
        lines += (BEST_CLASS,)
    return lines + tuple(contradictions(filled.stated, facts.image, facts.size, form))


def _with(job: Job, completed: Completed) -> Job:
    recipe = job.recipe.model_copy(update={"preprocess": completed.preprocess})
    return replace(job, recipe=recipe)
