"""model -> model: the recipe's own patches, and deviations folded into the first convolution.

Only recipes that have either need this stage. nvinfer knows one scale for all channels, so a
deviation of each channel has to be in the weights before anything is measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trtforge.patches import Patch
from trtforge.recipe import Preprocess
from trtforge.stages import MODEL
from trtforge.store import File, Stage


@dataclass(frozen=True)
class AdaptInputs:
    """The user's model."""

    model: File


@dataclass(frozen=True)
class AdaptOptions:
    """The sections ``patches`` and ``preprocess`` of the recipe."""

    patches: tuple[Patch, ...]
    preprocess: Preprocess


@dataclass(frozen=True)
class AdaptFacts:
    """Changes to the graph.

    Attributes:
        patches: number of patches.
        std: deviations were folded into the first convolution.
    """

    patches: int = 0
    std: bool = False


def run(draft: Path, inputs: AdaptInputs, options: AdaptOptions) -> AdaptFacts:
    """Write ``draft/model.onnx``.

    Raises:
        ForgeError: a patch does not fit the model, or its first convolution can't be found.
    """
    import onnx

    from trtforge.graph.edit.patches import apply_patches
    from trtforge.graph.edit.preprocess import fold_std
    from trtforge.graph.filled import state_preprocess
    from trtforge.graph.fold.constants import lift
    from trtforge.graph.model import graph_of, load, model_of, save

    graph = graph_of(onnx.shape_inference.infer_shapes(load(inputs.model.path)))
    apply_patches(graph, options.patches)
    lift(graph)  # Paddle's exporter writes weights as Constant nodes
    left = fold_std(graph, options.preprocess)
    if left != options.preprocess:
        state_preprocess(graph, left)
    save(model_of(graph), draft / MODEL)
    return AdaptFacts(len(options.patches), options.preprocess.std is not None)


def summarize(facts: AdaptFacts) -> str:
    """Return the facts in a line for people."""
    folded = ", deviations folded into the first convolution" if facts.std else ""
    return f"{facts.patches} patches{folded}"


STAGE = Stage("adapt", 6, ("onnx", "onnx-graphsurgeon", "numpy"), run, AdaptFacts, summarize)
