"""Convert weights and activations to FP16; inputs, outputs and tensors that overflow stay FP32."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from trtforge.errors import ForgeError
from trtforge.graph.edit.names import names_of
from trtforge.graph.heads import decode
from trtforge.graph.moves import MOVES_ALL, MOVES_FIRST
from trtforge.graph.patterns import matching
from trtforge.graph.precision.normalise import normalising

VANISHING = 2.0**-25  # this and smaller numbers round to zero in FP16
LARGEST = float(np.finfo(np.float16).max)  # 65504
# Powers and sums over many elements can exceed FP16's range although their inputs do not.
OVERFLOWING = {
    "Pow",
    "Exp",
    "ReduceSum",
    "ReduceL2",
    "ReduceSumSquare",
    "ReduceLogSumExp",
    "CumSum",
    "Softplus",
}
# Operators whose output type is an attribute. They are rare and small, and stay as they are.
MAKES_TYPE = {
    "ConstantOfShape",
    "Range",
    "EyeLike",
    "RandomNormal",
    "RandomUniform",
    "RandomNormalLike",
    "RandomUniformLike",
    "Multinomial",
    "Bernoulli",
}
MOVES = (MOVES_ALL | MOVES_FIRST) - {"MaxPool", "Resize"}  # these two may compute new values


def to_half(graph: gs.Graph, keep: tuple[str, ...] = ()) -> gs.Graph:
    """Cast a float graph to FP16, in place; its inputs and outputs stay float32.

    The decode (everything behind the last learned operators) stays FP32 too: it holds pixel
    coordinates. Operators that only move the heads' outputs to the decode run in FP16: they
    move the same numbers in half the bytes.

    So do normalisations that are written out: see ``trtforge.graph.precision.normalise``.

    Args:
        graph: a folded float32 graph, with or without Q/DQ; tensor types are known.
        keep: patterns of the nodes that stay FP32 (see ``trtforge.graph.patterns``).

    Raises:
        ForgeError: the graph has subgraphs (If, Loop, Scan) or sequences, or a pattern in ``keep``
            matches no node.
    """
    for node in graph.nodes:
        if "Sequence" in node.op or any(
            isinstance(value, gs.Graph) for value in node.attrs.values()
        ):
            raise ForgeError(
                f"node {node.name!r} ({node.op}) holds a subgraph or a sequence: no FP16 form is known",
                "build it with --fp32, or export the model without control flow",
            )
    kept = matching(graph, keep, graph.nodes, "node")
    full = _computing(decode(graph)) | {id(node) for node in normalising(graph)}
    half = [
        node
        for node in graph.nodes
        if id(node) not in full and _can_be_half(node, graph.opset) and node.name not in kept
    ]
    casts = _Casts(graph, half)
    for node in list(graph.nodes):
        casts.apply(node)
    casts.finish()
    return graph


def _computing(nodes: Iterable[gs.Node]) -> set[int]:
    """Return the ids of nodes that compute, or move the result of one that computes."""
    found = {id(node) for node in nodes}
    waiting = [node for node in nodes if node.op in MOVES]
    while ready := [node for node in waiting if not _makers(node) & found]:
        found -= {id(node) for node in ready}
        waiting = [node for node in waiting if id(node) in found]
    return found


def _makers(node: gs.Node) -> set[int]:
    """Return the ids of the nodes whose values a node moves."""
    moved = node.inputs if node.op in MOVES_ALL else node.inputs[:1]
    return {id(maker) for tensor in moved for maker in tensor.inputs}


class _Casts:
    """Casts between FP32 and FP16: a tensor has its maker's type, and other readers share a Cast."""

    def __init__(self, graph: gs.Graph, half: list[gs.Node]) -> None:
        self.graph = graph
        self.half = {id(node) for node in half}
        self.native = {
            id(tensor): tensor for node in half for tensor in _half_outputs(node, graph.opset)
        }
        self.other: dict[tuple[int, bool], gs.Tensor] = {}
        self.names = names_of(graph)

    def apply(self, node: gs.Node) -> None:
        wants_half = id(node) in self.half
        flexible = _half_inputs(node, self.graph.opset) if wants_half else set()
        for index, tensor in enumerate(node.inputs):
            if _is_float(tensor):
                node.inputs[index] = self._typed(tensor, half=index in flexible)
        if wants_half and node.op == "Cast":
            node.attrs["to"] = onnx.TensorProto.FLOAT16

    def finish(self) -> None:
        for index, tensor in enumerate(self.graph.outputs):
            if id(tensor) in self.native:
                self._restore_output(index, tensor)
        for tensor in self.native.values():
            tensor.dtype = np.dtype(np.float16)

    def _typed(self, tensor: gs.Tensor, half: bool) -> gs.Tensor:
        if (id(tensor) in self.native) == half:
            return tensor
        key = (id(tensor), half)
        if key not in self.other:
            self.other[key] = self._converted(tensor, half)
        return self.other[key]

    def _converted(self, tensor: gs.Tensor, half: bool) -> gs.Tensor:
        if isinstance(tensor, gs.Constant):
            return gs.Constant(
                self.names.free(f"{tensor.name}.fp16"), tensor.values.astype(np.float16)
            )
        suffix, dtype = ("fp16", np.float16) if half else ("fp32", np.float32)
        converted = gs.Variable(self.names.free(f"{tensor.name}.{suffix}"), dtype, tensor.shape)
        self._cast(tensor, converted, half)
        return converted

    def _cast(self, tensor: gs.Tensor, converted: gs.Tensor, half: bool) -> None:
        to = onnx.TensorProto.FLOAT16 if half else onnx.TensorProto.FLOAT
        self.graph.nodes.append(
            gs.Node(
                "Cast", self.names.free(f"{converted.name}.cast"), {"to": to}, [tensor], [converted]
            )
        )

    def _restore_output(self, index: int, tensor: gs.Tensor) -> None:
        """Keep an output's name and FP32 type; its node writes to a half tensor beside it."""
        inner = gs.Variable(self.names.free(f"{tensor.name}.fp16"), np.float16, tensor.shape)
        producer = tensor.inputs[0]
        producer.outputs[[id(output) for output in producer.outputs].index(id(tensor))] = inner
        for reader in list(tensor.outputs):
            reader.inputs = [inner if read is tensor else read for read in reader.inputs]
        self._cast(inner, tensor, half=False)
        self.graph.outputs[index] = tensor
        del self.native[id(tensor)]


def _can_be_half(node: gs.Node, opset: int) -> bool:
    if node.op in OVERFLOWING or node.op in MAKES_TYPE or _schema(node, opset) is None:
        return False
    if node.op == "Cast":
        return bool(node.attrs["to"] == onnx.TensorProto.FLOAT)
    positions = _half_inputs(node, opset)
    if any(
        _is_float(tensor) and index not in positions and not isinstance(tensor, gs.Constant)
        for index, tensor in enumerate(node.inputs)
    ):
        return False  # an activation that this operator takes in float32 only
    constants = [
        tensor
        for tensor in (node.inputs[index] for index in positions)
        if isinstance(tensor, gs.Constant)
    ]
    return bool(positions) and all(_fits(constant.values) for constant in constants)


def _half_inputs(node: gs.Node, opset: int) -> set[int]:
    """Return the indices of float inputs that may be FP16, as the operator's ONNX schema says."""
    schema = _schema(node, opset)
    return {
        index
        for index, tensor in enumerate(node.inputs)
        if node.op != "Cast"
        and schema
        and _is_float(tensor)
        and _allows_half(schema, schema.inputs[min(index, len(schema.inputs) - 1)].type_str)
    }


def _half_outputs(node: gs.Node, opset: int) -> list[gs.Tensor]:
    schema = _schema(node, opset)
    return [
        tensor
        for index, tensor in enumerate(node.outputs)
        if schema
        and _is_float(tensor)
        and _allows_half(schema, schema.outputs[min(index, len(schema.outputs) - 1)].type_str)
    ]


def _schema(node: gs.Node, opset: int) -> onnx.defs.OpSchema | None:
    try:
        return onnx.defs.get_schema(node.op, opset, node.domain or "")
    except onnx.defs.SchemaError:
        return None


def _allows_half(schema: onnx.defs.OpSchema, type_str: str) -> bool:
    return any(
        "tensor(float16)" in constraint.allowed_type_strs
        for constraint in schema.type_constraints
        if constraint.type_param_str == type_str
    )


def _is_float(tensor: gs.Tensor) -> bool:
    return (
        not tensor.is_empty() and tensor.dtype is not None and np.dtype(tensor.dtype) == np.float32
    )


def _fits(values: np.ndarray) -> bool:
    """Tell whether FP16 can hold a constant; a scalar that would become zero guards a division."""
    finite = np.abs(values[np.isfinite(values)])
    if finite.size == 0:
        return True
    vanishes = values.size == 1 and 0 < finite.max() <= VANISHING
    return bool(finite.max() <= LARGEST and not vanishes)
