"""Read from a graph's last nodes what an output is, where its shape alone does not say it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Union

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
COARSER = (2, 4, 8)  # pixels of the image for one of a class map; coarser maps are features
FARTHEST = 16  # nodes that are followed back; the file may be anybody's
Side = Union[int, str, None]
Makers = Mapping[str, "onnx.NodeProto"]


@dataclass(frozen=True)
class ClassMap:
    """A score of each class for each pixel, or for each cell of a coarser grid.

    Attributes:
        classes: number of classes; None where it is dynamic.
        channels_last: the classes are the last axis.
        step: pixels of the image along a side of a cell.
    """

    classes: int | None
    channels_last: bool
    step: int = 1


def class_map(
    image: Sequence[Side], output: Sequence[Side], end: str, semantic: bool
) -> ClassMap | None:
    """Return the map of classes that an output is; None where it is none.

    A map that is coarser than the image ends in what makes scores: features have the same shapes.

    Args:
        image: height and width of the image.
        output: dimensions of the output, with the batch.
        end: type of the node that computes it.
        semantic: the file says that it is such a map.
    """
    if len(output) != 4:
        return None
    for channels_last in (False, True):
        sides = output[1:3] if channels_last else output[2:]
        classes = output[3] if channels_last else output[1]
        known = classes if isinstance(classes, int) else None
        step = _step(image, sides)
        scores = end in MAPS and known is not None and known > 1 and step in COARSER
        if step is not None and (step == 1 or scores or semantic):
            return ClassMap(known, channels_last, step)
    return None


def _step(image: Sequence[Side], sides: Sequence[Side]) -> int | None:
    """Return how many pixels of the image one of a map has, along both axes; None if that varies."""
    if list(image) == list(sides):
        return 1
    numbers = [side for side in (*image, *sides) if isinstance(side, int) and side > 0]
    if len(numbers) != 4:
        return None
    height, width, rows, columns = numbers
    step = height // rows
    return step if step and (rows * step, columns * step) == (height, width) else None


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
