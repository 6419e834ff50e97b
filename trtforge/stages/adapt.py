"""model -> model: the user's own patches, and deviations of channels folded into the first
convolution.

Only for recipes that have either: nvinfer knows one scale for all channels, so a deviation of each
has to be in the
weights before anything is measured.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trtforge.stages import MODEL
from trtforge.store import Facts, Stage


def run(draft: Path, model: Path, *, recipe: dict[str, Any]) -> Facts:
    """Write ``draft/model.onnx``.

    Args:
        recipe: its sections ``patches`` and ``preprocess``.

    Raises:
        ForgeError: a patch does not fit the model, or its first convolution can't be found.
    """
    import onnx

    from trtforge.graph.edit.patches import apply_patches
    from trtforge.graph.edit.preprocess import fold_std
    from trtforge.graph.model import graph_of, load, model_of, save
    from trtforge.recipe import Recipe

    spec = Recipe.model_validate(recipe)
    graph = graph_of(onnx.shape_inference.infer_shapes(load(model)))
    apply_patches(graph, spec.patches)
    fold_std(graph, spec.preprocess)
    save(model_of(graph), draft / MODEL)
    return {"patches": len(spec.patches), "std": spec.preprocess.std is not None}


def say(facts: Facts) -> str:
    return f"{facts['patches']} patches" + (
        ", deviations folded into the first convolution" if facts["std"] else ""
    )


STAGE = Stage("adapt", 1, ("onnx", "onnx-graphsurgeon", "numpy"), run, say)
