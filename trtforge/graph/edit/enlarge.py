"""Enlarge a coarse map of classes to the image's size.

nvinfer reads such a map at the network's own size. SegFormer's logits have a quarter of it, and its
own post-processing enlarges them in this way, too.
"""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from trtforge.graph.edit.nodes import add_node, first_image, unique
from trtforge.graph.ends import TYPED, ClassMap, class_map
from trtforge.graph.filled import stated_by
from trtforge.graph.tensors import sides


def coarse_map(graph: gs.Graph) -> ClassMap | None:
    """Return the map of classes that is a graph's only output, if it is coarser than the image."""
    image = first_image(graph)
    if image is None or len(graph.outputs) != 1:
        return None
    output = graph.outputs[0]
    end = output.inputs[0] if output.inputs else None
    while end is not None and end.op in TYPED and end.inputs:
        end = end.inputs[0].inputs[0] if end.inputs[0].inputs else None
    task = stated_by(graph).task
    if task is not None and task.value != "semantic":
        return None
    semantic = task is not None
    found = class_map(sides(image)[2:], sides(output), "" if end is None else end.op, semantic)
    return found if found is not None and found.step > 1 else None


def enlarge(graph: gs.Graph, found: ClassMap) -> None:
    """Enlarge the only output, by linear interpolation between the centres of cells, in place."""
    output = graph.outputs[0]
    name, shape = output.name, sides(output)
    output.name = unique(graph, f"{name}/coarse")
    axes = (1, 2) if found.channels_last else (2, 3)
    factors = [float(found.step) if axis in axes else 1.0 for axis in range(4)]
    empty = gs.Variable("")
    larger = add_node(
        graph,
        "Resize",
        [output, empty, np.array(factors, np.float32)],
        "enlarged",
        dtype=output.dtype,
        mode="linear",
        coordinate_transformation_mode="half_pixel",
    )
    larger.name = name
    larger.shape = [
        side * found.step if axis in axes and isinstance(side, int) else side
        for axis, side in enumerate(shape)
    ]
    graph.outputs = [larger]
