"""Read from a graph's last nodes what an output is, where its shape alone does not say it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

TYPED = {"Cast", "Identity", "QuantizeLinear", "DequantizeLinear"}
SHAPED = TYPED | {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Expand", "Transpose"}
# What may lie between a sum of squares and the division by its root.
ROOT = SHAPED | {"Sqrt", "Pow", "Clip", "Max", "Add", "Reciprocal", "Mul"}
SQUARES = {"ReduceL2", "ReduceSumSquare"}
POOLS = {"GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "AveragePool"}
# A vector that ends in one of these is handed to another layer, or compared with others.
ACTIVATIONS = {"Relu", "PRelu", "LeakyRelu", "HardSwish", "Gelu", "Elu"}
FEATURES = ACTIVATIONS | {"BatchNormalization", "LayerNormalization"}
GATES = {"Sigmoid", "HardSigmoid"}
MAPS = {"Conv", "ConvTranspose", "Resize", "Softmax", "LogSoftmax", "Sigmoid"}
FARTHEST = 16  # nodes that are followed back; the file may be anybody's
Makers = Mapping[str, "onnx.NodeProto"]


def makers_of(graph: onnx.GraphProto) -> dict[str, onnx.NodeProto]:
    """Return the node that makes each tensor, by the tensor's name."""
    return {name: node for node in graph.node for name in node.output}


def end_of(name: str, makers: Makers, passes: set[str] = TYPED) -> onnx.NodeProto | None:
    """Return the node that computes a tensor, behind those that only change its type (or shape)."""
    node = makers.get(name)
    for _ in range(FARTHEST):
        if node is None or node.op_type not in passes or not node.input:
            return node
        node = makers.get(node.input[0])
    return None


def is_features(name: str, makers: Makers) -> bool:
    """Tell whether a vector describes a picture (an embedding), and holds no scores of classes.

    It has length 1, or ends in an activation or a normalisation, or in the mean of a feature map.
    The mean of what a convolution makes may be a classifier's: SqueezeNet ends so.
    """
    end = end_of(name, makers, SHAPED | {"Gather", "Slice"})
    if end is None:
        return False
    if end.op_type in FEATURES or _is_gated(end, makers) or _has_length_one(end, makers):
        return True
    if end.op_type not in POOLS:
        return False
    before = end_of(end.input[0], makers, TYPED | {"Relu"})
    return before is not None and before.op_type != "Conv"


def _is_gated(node: onnx.NodeProto, makers: Makers) -> bool:
    """Tell whether a node ends a Swish, which multiplies a value with its own sigmoid."""
    if node.op_type != "Mul" or len(node.input) != 2:
        return False
    for one, other in (node.input, reversed(node.input)):
        gate = makers.get(other)
        if gate is not None and gate.op_type in GATES and gate.input[0] == one:
            return True
    return False


def _has_length_one(node: onnx.NodeProto, makers: Makers) -> bool:
    """Tell whether a vector is divided by the root of the sum of its squares."""
    if node.op_type == "LpNormalization":
        return True
    if node.op_type == "Div":
        return _reads_squares(node.input[1], makers)
    if node.op_type != "Mul":
        return False
    return any(_reads_squares(name, makers, inverse=True) for name in node.input)


def _reads_squares(name: str, makers: Makers, inverse: bool = False) -> bool:
    """Tell whether a factor comes from a sum of squares; ``inverse``: by way of 1 / x."""
    divided = not inverse
    for node in _back(name, makers):
        divided |= node.op_type == "Reciprocal" or (
            node.op_type == "Div" and node.input[0] not in makers
        )
        if node.op_type in SQUARES:
            return divided
        if node.op_type == "ReduceSum":
            square = makers.get(node.input[0])
            return divided and square is not None and _is_square(square)
    return False


def _back(name: str, makers: Makers) -> Iterator[onnx.NodeProto]:
    """Yield the nodes behind a factor, as long as they only take its root, limit or shape it."""
    for _ in range(FARTHEST):
        if name not in makers:
            return
        node = makers[name]
        yield node
        computed = [name for name in node.input if name in makers]
        if node.op_type == "Div" and computed:
            name = computed[-1]
        elif node.op_type in ROOT and computed:
            name = computed[0]
        else:
            return


def _is_square(node: onnx.NodeProto) -> bool:
    same = node.op_type == "Mul" and node.input[0] == node.input[1]
    return same or node.op_type == "Pow"
