"""Outputs that hold no boxes: a classifier's, and a map of classes."""

from __future__ import annotations

from typing import Any

import onnx_graphsurgeon as gs

from trtforge.graph.detection import overrides
from trtforge.graph.detection.concrete import concrete
from trtforge.graph.detection.sources import known
from trtforge.graph.tensors import fixed_shape

_COARSEST = 8  # pixels of the input for one of a class map; coarser maps are features


def without_boxes(graph: gs.Graph) -> str | None:
    """Return the task of a model with one output and no boxes; None where that is not clear."""
    shaped = concrete(graph)
    if shaped is None or len(shaped.fixed.outputs) != 1 or not known(shaped.fixed.outputs[0]):
        return None
    tensor, (height, width) = shaped.fixed.outputs[0], shaped.size
    name, shape = f"{tensor.name} {overrides.shown(tensor)}", list(fixed_shape(tensor))
    if (len(shape) == 2 or shape[2:] == [1, 1]) and shape[1] > 1:
        return f"{name} is a classifier's with {shape[1]} classes"
    if len(shape) == 4 and shape[1] > 1 and _scales(shape[2:], (height, width)):
        return f"{name} is a map of {shape[1]} classes for each pixel (semantic segmentation)"
    one_channel = len(shape) == 4 and shape[1] == 1
    sides = shape[-2:] if len(shape) == 3 or one_channel else []
    if sides == [height, width] and any(node.op == "ArgMax" for node in shaped.fixed.nodes):
        return f"{name} is the class of each pixel (semantic segmentation)"
    return None


def _scales(shape: Any, size: tuple[int, int]) -> bool:
    """Tell whether a map has the image's size, or a whole fraction of it."""
    return any(list(shape) == [size[0] // step, size[1] // step] for step in (1, 2, 4, _COARSEST))
