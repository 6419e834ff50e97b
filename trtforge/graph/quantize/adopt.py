"""Rewrite the Q/DQ nodes of other tools into those that TensorRT takes, with the same numbers.

TensorRT computes with signed 8-bit integers around zero point 0. What other tools write differently
and can be said so is rewritten; ``obstacle`` names what can't:

1. Q/DQ of onnxruntime's own domain are ONNX's operators.
2. A constant behind DQ that is not the weights of a learned operator is a float: int32 biases,
   scalars that an Add or Mul reads.
3. Weights of any integer type and zero point are int8 around 0, if the differences fit.
4. A clip of integers between Q and DQ is a clip of floats before Q.
5. Unsigned integers around 128 are signed ones around 0, also where something moves them between Q
   and DQ.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from trtforge.graph.edit.rewire import Scope, bypass, constant, scope, standard
from trtforge.graph.heads import LEARNED
from trtforge.graph.moves import MOVES_ALL, MOVES_FIRST
from trtforge.graph.shapes import Shapes
from trtforge.graph.tensors import Array, values_of

PAIR = QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
RUNTIME_DOMAIN = "com.microsoft"
INT8, UINT8 = np.dtype(np.int8), np.dtype(np.uint8)
WHOLE = (INT8, UINT8, *map(np.dtype, (np.int16, np.uint16, np.int32)))
MIDDLE = 128  # of uint8: int8's 0
# What keeps integers as they are, wherever zero lies. A padding or a mean would not.
MOVES = (MOVES_ALL | MOVES_FIRST | {"Gather", "Expand", "Tile"}) - {"Resize"}
BIAS = 2  # the input of a learned operator that is no weights
CLIP_OPSET = 11  # Clip reads its bounds from inputs
AXIS_OPSET = 13  # QuantizeLinear and DequantizeLinear take an axis


def adopt(graph: gs.Graph, shapes: Shapes) -> bool:
    """Rewrite a graph in place as the module says; tell whether anything changed."""
    known = scope(graph, shapes)
    changed = False
    for node in list(graph.nodes):
        if node.domain == RUNTIME_DOMAIN and node.op in PAIR:
            if graph.opset >= AXIS_OPSET:
                node.domain = ""
                changed = True
        elif node.op == DEQUANTIZE and standard(node):
            changed |= _constant(node, known)
        elif node.op == QUANTIZE and standard(node):
            changed |= _clip(graph, node, known) or _signed(node, known)
    return changed


@dataclass(frozen=True)
class _Integers:
    """A constant behind DQ: differences from the zero point, and their scale.

    Attributes:
        differences: int64, of the constant's shape.
        scale: as the node reads it: a number, or one of each row along ``axis``.
        spread: the scale in a shape that goes with the differences.
    """

    differences: Array
    scale: Array
    spread: Array
    axis: int

    @property
    def floats(self) -> Array:
        product = self.differences.astype(np.float32) * self.spread.astype(np.float32)
        return np.asarray(product, self.scale.dtype)  # NumPy makes numbers of arrays of rank 0


def _integers(node: gs.Node) -> _Integers | None:
    """Return what a DQ reads, if that is a constant of whole numbers with a scale a row or one."""
    if node.inputs[0].dtype not in WHOLE or node.attrs.get("block_size"):
        return None
    stored, scale, zero = (constant(node, index) for index in range(3))
    if stored is None or scale is None or (len(node.inputs) > 2 and zero is None):
        return None
    axis = int(node.attrs.get("axis", 1))
    shape = [1] * stored.ndim
    if scale.size > 1:
        if not -stored.ndim <= axis < stored.ndim or scale.shape != (stored.shape[axis],):
            return None
        shape[axis] = -1
    wide = stored.astype(np.int64)
    if zero is not None:
        wide = wide - zero.astype(np.int64).reshape(shape if zero.size > 1 else [1] * stored.ndim)
    return _Integers(wide, scale, scale.reshape(shape), axis)


def _constant(node: gs.Node, known: Scope) -> bool:
    integers = _integers(node)
    if integers is None:
        return False
    made = node.outputs[0]
    if not _weights(made):
        return bypass(node, known.constant(f"{made.name}.float", integers.floats), known.keep)
    # A row that is zero may have the scale 0, which TensorRT refuses.
    sign = np.sign(integers.spread)
    differences = np.asarray(integers.differences * sign, np.int64)
    scale = np.asarray(
        np.where(integers.scale == 0, 1, np.abs(integers.scale)), integers.scale.dtype
    )
    zero = constant(node, 2)
    plain = values_of(node.inputs[0]).dtype == INT8 and (zero is None or not zero.any())
    if plain and (sign > 0).all():
        return False
    if differences.min(initial=0) < -MIDDLE or differences.max(initial=0) >= MIDDLE:
        return False
    values = [np.asarray(differences, np.int8), scale, np.zeros(scale.shape, np.int8)]
    names = ("int8", "scale", "zero_point")
    node.inputs = [
        known.constant(f"{made.name}.{name}", each)
        for name, each in zip(names, values, strict=True)
    ]
    return True


def _weights(tensor: gs.Tensor) -> bool:
    """Tell whether a learned operator or a table reads a tensor as its weights, moved or not."""
    return any(
        (reader.op in LEARNED and reader.inputs.index(tensor) < BIAS)
        or reader.op == "Gather"
        or (reader.op in {*MOVES, "Cast"} and _weights(reader.outputs[0]))
        for reader in tensor.outputs
    )


def _clip(graph: gs.Graph, node: gs.Node, known: Scope) -> bool:
    """Move a clip of integers behind Q before it, where it clips floats."""
    stored = node.outputs[0]
    reader = stored.outputs[0] if known.private(stored) else None
    scale, zero = constant(node, 1), constant(node, 2)
    if reader is None or reader.op != "Clip" or not standard(reader) or graph.opset < CLIP_OPSET:
        return False
    if scale is None or zero is None or scale.size > 1 or zero.size > 1:
        return False
    limits = np.iinfo(zero.dtype)
    bounds = []
    for index, default in ((1, limits.min), (2, limits.max)):
        given = len(reader.inputs) > index and reader.inputs[index].name
        bound = constant(reader, index) if given else np.array(default)
        if bound is None:
            return False
        steps = np.float32(int(bound) - int(zero.reshape(())))
        bounds.append(np.asarray(steps * scale.astype(np.float32), scale.dtype).reshape(()))
    source = node.inputs[0]
    if not bypass(reader, stored, known.keep):
        return False
    clipped = gs.Variable(known.free(f"{source.name}.clipped"), source.dtype, source.shape)
    limited = [
        known.constant(f"{clipped.name}.{name}", bound)
        for name, bound in zip(("least", "most"), bounds, strict=True)
    ]
    name = known.free(f"{node.name or node.outputs[0].name}.clip")
    at = next(index for index, each in enumerate(graph.nodes) if each is node)
    graph.nodes.insert(at, gs.Node("Clip", name, {}, [source, *limited], [clipped]))
    node.inputs[0] = clipped
    return True


def _signed(node: gs.Node, known: Scope) -> bool:
    """Make unsigned integers around 128 signed, from a Q to all of their readers."""
    if not _around_middle(node):
        return False
    nodes: dict[int, gs.Node] = {}
    waiting = [node]
    while waiting:
        each = waiting.pop()
        if id(each) in nodes:
            continue
        nodes[id(each)] = each
        if each.op in PAIR:
            if not _around_middle(each):
                return False
        elif each.op not in MOVES or not standard(each):
            return False
        read = [] if each.op == QUANTIZE else _moved(each)
        if each.op not in PAIR and any(isinstance(tensor, gs.Constant) for tensor in read):
            return False  # TensorRT takes constant integers before DQ alone
        made = _made(each)
        if any(id(tensor) in known.keep for tensor in made):
            return False
        waiting += [maker for tensor in read for maker in tensor.inputs]
        waiting += [
            reader
            for tensor in (*made, *(tensor for tensor in read if tensor.inputs))
            for reader in tensor.outputs
        ]
    for each in nodes.values():
        _make_signed(each, known)
    return True


def _moved(node: gs.Node) -> list[gs.Tensor]:
    """Return the inputs of a move or a DQ that hold integers."""
    return list(node.inputs) if node.op in MOVES_ALL else list(node.inputs[:1])


def _made(node: gs.Node) -> list[gs.Tensor]:
    """Return the outputs of a move or a Q that hold integers."""
    if node.op == "MaxPool":
        return list(node.outputs[:1])
    return [] if node.op == DEQUANTIZE else list(node.outputs)


def _make_signed(node: gs.Node, known: Scope) -> None:
    if node.op in PAIR:
        zero = values_of(node.inputs[2])
        name = f"{node.outputs[0].name}.zero_point"
        node.inputs[2] = known.constant(name, np.zeros(zero.shape, np.int8))
    for tensor in _made(node):
        tensor.dtype = INT8


def _around_middle(node: gs.Node) -> bool:
    zero = constant(node, 2)
    return zero is not None and zero.dtype == UINT8 and bool((zero == MIDDLE).all())
