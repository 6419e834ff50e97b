"""Rewrite the mean of a distribution (DFL, arXiv 2006.04388) as sums that fuse with Softmax."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from trtforge.graph.edit.nodes import unique
from trtforge.graph.heads import is_expectation
from trtforge.graph.tensors import values_of

AXES_AS_INPUT = 13  # opset from which ReduceSum takes its axes as an input


def fuse_expectations(graph: gs.Graph) -> int:
    """Replace convolutions that take the mean of a Softmax by a product and a sum, in place.

    As a convolution with one output channel it is a layer of its own, which reads all probabilities
    back from memory; a product and a sum run in the Softmax's kernel. The results are the same but
    for the order of one sum.

    Returns:
        The number of convolutions that were replaced.
    """
    means: list[gs.Node] = []
    if graph.opset >= AXES_AS_INPUT:
        means = [node for node in graph.nodes if is_expectation(node) and _is_plain(node)]
    for node in means:
        weights = values_of(node.inputs[1])
        (probabilities, *_), (mean,) = node.inputs, node.outputs
        product = gs.Variable(
            unique(graph, f"{mean.name}.product"), probabilities.dtype, probabilities.shape
        )
        bins = gs.Constant(unique(graph, f"{node.name}.bins"), weights.reshape(1, -1, 1, 1))
        axes = gs.Constant(unique(graph, f"{node.name}.axes"), np.array([1], np.int64))
        node.outputs.clear()
        graph.nodes.append(
            gs.Node(
                "Mul", unique(graph, f"{node.name}.product"), {}, [probabilities, bins], [product]
            )
        )
        graph.nodes.append(
            gs.Node("ReduceSum", node.name, {"keepdims": 1}, [product, axes], [mean])
        )
        graph.nodes.remove(node)
    graph.toposort()
    return len(means)


def _is_plain(node: gs.Node) -> bool:
    """Tell whether a convolution is only a weighted sum of the channels at each place."""
    weights = node.inputs[1]
    plain = (
        isinstance(weights, gs.Constant)
        and weights.values.ndim == 4
        and weights.values.shape[0] == 1
    )
    strides, pads = node.attrs.get("strides", [1, 1]), node.attrs.get("pads", [0, 0, 0, 0])
    return bool(
        plain
        and values_of(weights).shape[2:] == (1, 1)
        and len(node.inputs) == 2
        and set(strides) == {1}
        and not any(pads)
        and node.attrs.get("group", 1) == 1
    )
