"""Constant folding: what does not depend on an input's values is computed once, here."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx_graphsurgeon.exporters.onnx_exporter import OnnxExporter

from trtforge.graph.edit.rewire import kept, remove
from trtforge.graph.shapes import Shapes
from trtforge.graph.symbols import numbers

# Bytes of a result. A larger one is not folded, unless it is no larger than its inputs.
LIMIT = 16 << 20
# Random results; the quantization of weights, which a builder wants to see; what `lift` leaves.
KEPT = {
    "DequantizeLinear",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "Multinomial",
    "Bernoulli",
    "Constant",
}
# The size of their results is unknown, but at most a small multiple of their inputs.
BOUNDED = {"NonZero", "Unique", "Compress"}
TYPES = {
    "FLOAT",
    "FLOAT16",
    "DOUBLE",
    "BOOL",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "UINT8",
    "UINT16",
    "UINT32",
    "UINT64",
}
# A weight that is NaN makes what they compute NaN. Masks hold infinities by design, and choices may
# hold anything.
LEARNED = {
    "Conv",
    "ConvTranspose",
    "Gemm",
    "MatMul",
    "BatchNormalization",
    "InstanceNormalization",
    "LayerNormalization",
    "GroupNormalization",
    "PRelu",
    "LSTM",
    "GRU",
    "RNN",
    "QuantizeLinear",
    "DequantizeLinear",
    "Add",
    "Sub",
    "Mul",
    "Div",
}


def nan_weight(model: onnx.ModelProto) -> tuple[str, str] | None:
    """Return the first node that computes with a NaN among its weights, and the weights' name."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        for name in node.input if node.op_type in LEARNED else ():
            if name in weights and _has_nan(weights[name]):
                return node.name, name
    return None


def _has_nan(tensor: onnx.TensorProto) -> bool:
    values = onnx.numpy_helper.to_array(tensor)
    return values.dtype.kind == "f" and bool(np.isnan(values).any())


def lift(graph: gs.Graph) -> None:
    """Turn Constant nodes into initializers, in place; tensors that must stay keep their node."""
    outputs = kept(graph)
    for node in graph.nodes:
        values = _attribute(node) if node.op == "Constant" else None
        if values is not None and id(node.outputs[0]) not in outputs:
            remove(node)[0].to_constant(values)
    graph.nodes = [node for node in graph.nodes if node.outputs]


def fold_constants(graph: gs.Graph, shapes: Shapes) -> bool:
    """Replace every tensor that does not depend on an input's values, in place.

    A tensor that must stay, such as an output of the graph, is made by an Identity then.

    Returns:
        Whether there was one.
    """
    outputs = kept(graph)
    known = _known(graph, shapes)
    waiting: list[gs.Node] = []
    fixed = set(known)
    for node in graph.nodes:
        if not _names(node) <= fixed and _constant(node, fixed) and not _oversized(node, shapes):
            waiting.append(node)
            fixed |= _names(node)
    known |= _compute(graph, waiting, known, outputs)
    changed = False
    for node in graph.nodes:
        if not node.outputs or not _names(node) <= set(known):
            continue
        if any(id(tensor) in outputs for tensor in node.outputs):
            changed |= _fix_output(node, known)
        else:
            for tensor in remove(node):
                tensor.to_constant(known[tensor.name])
            changed = True
    graph.nodes = [node for node in graph.nodes if node.outputs]
    return changed


def left_alone(graph: gs.Graph, shapes: Shapes) -> list[str]:
    """Return the names of the nodes that are constant, but too large to be stored."""
    return [
        node.name for node in graph.nodes if _constant(node, set()) and _oversized(node, shapes)
    ]


def _names(node: gs.Node) -> set[str]:
    return {tensor.name for tensor in node.outputs if tensor.name}


def _known(graph: gs.Graph, shapes: Shapes) -> dict[str, np.ndarray]:
    """Return what shape arithmetic has found out about a tensor."""
    found = {}
    for node in graph.nodes:
        name = node.outputs[0].name if len(node.outputs) == 1 else ""
        elements = numbers(shapes.values.get(name))
        if elements is not None:
            kind = onnx.helper.tensor_dtype_to_np_dtype(shapes.dtype[name])
            found[name] = np.array(elements, kind).reshape(shapes.values[name].shape)
    return found


def _constant(node: gs.Node, fixed: set[str]) -> bool:
    """Tell whether a node computes the same at every run."""
    return (
        node.op not in KEPT
        and not any(isinstance(value, gs.Graph) for value in node.attrs.values())
        and all(
            not tensor.name or isinstance(tensor, gs.Constant) or tensor.name in fixed
            for tensor in node.inputs
        )
    )


def _oversized(node: gs.Node, shapes: Shapes) -> bool:
    """Tell whether a constant result is too large to store, or of a size that nobody knows."""
    size = 0
    for name in _names(node):
        kind, shape = shapes.dtype.get(name), shapes.shape.get(name)
        if kind is None or onnx.TensorProto.DataType.Name(kind) not in TYPES:
            return True
        sizes = [dim for dim in shape or [] if isinstance(dim, int)]
        if shape is not None and len(sizes) == len(shape):
            size += prod(sizes) * onnx.helper.tensor_dtype_to_np_dtype(kind).itemsize
        elif node.op not in BOUNDED:
            return True
    return size > max(LIMIT, sum(_bytes(tensor) for tensor in node.inputs))


def _bytes(tensor: gs.Tensor) -> int:
    return (
        prod(tensor.shape) * np.dtype(tensor.dtype).itemsize
        if isinstance(tensor, gs.Constant)
        else 0
    )


def _compute(
    graph: gs.Graph, waiting: list[gs.Node], known: dict[str, np.ndarray], outputs: set[int]
) -> dict[str, np.ndarray]:
    """Return the values that ``waiting`` nodes hand to others, from one run of ONNX Runtime."""
    inner = {id(node) for node in waiting}
    made = [tensor for node in waiting for tensor in node.outputs if tensor.name]
    wanted = [
        tensor
        for tensor in made
        if id(tensor) in outputs or any(id(reader) not in inner for reader in tensor.outputs)
    ]
    if not wanted:
        return {}
    try:
        return _run(graph, waiting, known, wanted)
    except Exception:  # it has classes of errors of its own: an operator or a type without a kernel
        found: dict[str, np.ndarray] = {}
        for tensor in wanted:
            with contextlib.suppress(Exception):
                found |= _run(graph, _needed(tensor, waiting), known, [tensor])
        return found


def _needed(tensor: gs.Tensor, nodes: list[gs.Node]) -> list[gs.Node]:
    """Return, in order, the nodes that compute a tensor."""
    found = {tensor.name}
    needed = []
    for node in reversed(nodes):
        if _names(node) & found:
            needed.append(node)
            found |= {read.name for read in node.inputs}
    return needed[::-1]


def _run(
    graph: gs.Graph, nodes: list[gs.Node], known: dict[str, np.ndarray], wanted: list[gs.Tensor]
) -> dict[str, np.ndarray]:
    import onnxruntime

    made = {name for node in nodes for name in _names(node)}
    read = {
        tensor.name: tensor
        for node in nodes
        for tensor in node.inputs
        if tensor.name and tensor.name not in made
    }
    constants = [
        OnnxExporter.export_tensor_proto(tensor)
        if isinstance(tensor, gs.Constant)
        else onnx.numpy_helper.from_array(known[name], name)
        for name, tensor in read.items()
    ]
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            [OnnxExporter.export_node(node) for node in nodes],
            "constants",
            [],
            [onnx.helper.make_empty_tensor_value_info(tensor.name) for tensor in wanted],
            constants,
        ),
        opset_imports=graph.import_domains,
        ir_version=10,
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return dict(zip((tensor.name for tensor in wanted), session.run(None, {}), strict=True))


def _fix_output(node: gs.Node, known: dict[str, np.ndarray]) -> bool:
    """Put an Identity of a constant in a node's place; tell whether it was another node."""
    if node.op == "Identity":
        return False
    tensor = node.outputs[0]
    value = gs.Constant(f"{tensor.name}.value", known[tensor.name])
    node.op, node.domain, node.attrs, node.inputs, node.outputs = (
        "Identity",
        None,
        {},
        [value],
        [tensor],
    )
    return True


def _attribute(node: gs.Node) -> Any:
    """Return the values of a Constant node; None for strings and sparse tensors."""
    kind, value = next(iter(node.attrs.items()))
    if kind == "value":
        return value._values  # not read yet: it may be large
    types = {
        "value_float": np.float32,
        "value_floats": np.float32,
        "value_int": np.int64,
        "value_ints": np.int64,
    }
    return np.array(value, types[kind]) if kind in types else None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence ONNX Runtime, which warns of optimisations that it leaves out."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)
    try:
        yield
    finally:
        onnxruntime.set_default_logger_severity(int(os.environ.get("ORT_LOG_SEVERITY", "2")))
