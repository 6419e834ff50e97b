"""Find from structure, never from names, where the learned part ends and the decode begins."""

from __future__ import annotations

from collections.abc import Iterable

import onnx_graphsurgeon as gs

from trtforge.graph.edit.nodes import upstream

LEARNED = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
RECURRENT = {"LSTM", "GRU", "RNN"}
LAYOUT = {"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Identity"}


def learned(graph: gs.Graph) -> list[gs.Node]:
    """Return convolutions and matrix products with constant weights, in graph order.

    A convolution fed by a Softmax holds fixed weights: it takes the mean of YOLOv8's distribution
    of box distances
    (DFL, arXiv 2006.04388) and belongs to the decode.
    """
    return [
        node
        for node in graph.nodes
        if node.op in LEARNED and has_weights(node) and not is_expectation(node)
    ]


def has_weights(node: gs.Node) -> bool:
    """Tell whether the second input is constant, stored as it is or behind Q/DQ."""
    if len(node.inputs) < 2:
        return False
    weights = node.inputs[1]
    while not isinstance(weights, gs.Constant) and len(weights.inputs) == 1:
        if weights.inputs[0].op not in ("QuantizeLinear", "DequantizeLinear", "Cast"):
            return False
        weights = weights.inputs[0].inputs[0]
    return isinstance(weights, gs.Constant)


def last_learned(graph: gs.Graph) -> list[gs.Node]:
    """Return the learned operators that no other one follows: the last of each branch."""
    backbone = {id(node) for node in upstream(*_inputs(learned(graph)))}
    return [node for node in learned(graph) if id(node) not in backbone]


def decode(graph: gs.Graph) -> list[gs.Node]:
    """Return every node that no learned operator follows: what turns head outputs into results.

    Box coordinates are pixels there: FP16 has steps of half a pixel above 512. Recurrent layers are
    learned, too, though nothing here quantizes them.
    """
    ends = [*learned(graph), *(node for node in graph.nodes if node.op in RECURRENT)]
    before = {id(node) for node in upstream(*_inputs(ends))} | {id(node) for node in ends}
    return [node for node in graph.nodes if id(node) not in before] if ends else []


def _inputs(nodes: Iterable[gs.Node]) -> list[gs.Tensor]:
    return [tensor for node in nodes for tensor in node.inputs]


def is_expectation(node: gs.Node) -> bool:
    """Tell whether a convolution takes the mean of a Softmax's distribution."""
    if node.op != "Conv":
        return False
    producer = node.inputs[0].inputs[0] if node.inputs[0].inputs else None
    while producer is not None and producer.op in LAYOUT:
        producer = producer.inputs[0].inputs[0] if producer.inputs[0].inputs else None
    return producer is not None and producer.op == "Softmax"
