"""Fill in a recipe from what a graph says of itself and shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trtforge.graph.edit.preprocess import patch_side
from trtforge.graph.model import state
from trtforge.metadata import Metadata, by_metadata, complete, complete_nms, from_recipe, parse
from trtforge.metadata.complete import remarks as remarks_on
from trtforge.metadata.dialects import OWN
from trtforge.recipe import Preprocess, Recipe

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from trtforge.graph.detection import Detection


def fill(recipe: Recipe, graph: gs.Graph, detection: Detection | None) -> Recipe:
    """Return the recipe with what a graph says and shows, where the recipe leaves it open.

    Args:
        detection: the detector in the graph.
    """
    form = detection.form if detection else None
    stated = stated_by(graph)
    completed = complete(recipe.preprocess, stated, form, patch_side(graph))
    nms = complete_nms(recipe.nms, stated)
    return recipe.model_copy(update={"preprocess": completed.preprocess, "nms": nms})


def remarks(recipe: Recipe, graph: gs.Graph, detection: Detection | None) -> list[str]:
    """Return what ``fill`` does to the preprocessing, a line each."""
    form = detection.form if detection else None
    return remarks_on(complete(recipe.preprocess, stated_by(graph), form, patch_side(graph)))


def stated_by(graph: gs.Graph) -> Metadata:
    """Return what a graph says of itself."""
    return parse({entry.key: entry.value for entry in graph.about.metadata_props})


def state_preprocess(graph: gs.Graph, left: Preprocess) -> None:
    """Make a graph say what it takes now, if its metadata does not say that already."""
    left = left.model_copy(update={"size": None})
    stated = by_metadata(from_recipe(Preprocess()), stated_by(graph)).preprocess
    if stated.model_copy(update={"size": None}) != left:
        state(graph, OWN, left.model_dump_json(exclude={"size"}))
