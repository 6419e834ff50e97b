"""Compute FP16 as hardware does: round every result to FP16, and let it overflow.

ONNX Runtime's CPU kernels compute most FP16 operators in FP32, and round where the graph ends.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from trtforge.graph.edit.names import Names, names_of
from trtforge.graph.model import graph_of, model_of
from trtforge.graph.tensors import values_of

FLOAT, HALF = int(onnx.TensorProto.FLOAT), int(onnx.TensorProto.FLOAT16)


def has_half(model: onnx.ModelProto) -> bool:
    """Tell whether a model computes in FP16, outside of bodies of If and Loop."""
    weights = any(weight.data_type == HALF for weight in model.graph.initializer)
    inputs = any(value.type.tensor_type.elem_type == HALF for value in model.graph.input)
    return weights or inputs or any(_casts_to_half(node) for node in model.graph.node)


def _casts_to_half(node: onnx.NodeProto) -> bool:
    return node.op_type == "Cast" and any(each.i == HALF for each in node.attribute)


def round_halves(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model in which FP16 is FP32 that is rounded after every operator.

    Names of tensors stay. FP16 inputs and outputs of the model become FP32. Bodies of If and Loop
    are left as they are.
    """
    graph = graph_of(onnx.shape_inference.infer_shapes(model))
    names = names_of(graph)
    for tensor in graph.inputs:
        if _is_half(tensor):
            tensor.dtype = np.dtype(np.float32)
    for node in list(graph.nodes):
        for index, tensor in enumerate(node.inputs):
            if isinstance(tensor, gs.Constant) and _is_half(tensor):
                wide = values_of(tensor).astype(np.float32)
                node.inputs[index] = gs.Constant(names.free(f"{tensor.name}.fp32"), wide)
        if node.op == "Cast" and node.attrs["to"] == HALF:
            node.attrs["to"] = FLOAT
        for name, value in node.attrs.items():
            if isinstance(value, gs.Tensor) and _is_half(value):
                wide = values_of(value).astype(np.float32)
                node.attrs[name] = gs.Constant(value.name, wide)
        for index, tensor in enumerate(node.outputs):
            if _is_half(tensor):
                _round(graph, node, index, names)
    return model_of(graph.toposort())


def _is_half(tensor: gs.Tensor) -> bool:
    return tensor.dtype is not None and np.dtype(tensor.dtype) == np.float16


def _round(graph: gs.Graph, node: gs.Node, index: int, names: Names) -> None:
    """Round an output of a node.

    A Cast to FP16 and one back, side by side, would be taken out by ONNX Runtime: a maximum of the
    tensor and itself keeps them apart.
    """
    rounded = node.outputs[index]
    rounded.dtype = np.dtype(np.float32)
    exact = gs.Variable(names.free(f"{rounded.name}.exact"), np.float32, rounded.shape)
    half = gs.Variable(names.free(f"{rounded.name}.half"), np.float16, rounded.shape)
    same = gs.Variable(names.free(f"{rounded.name}.same"), np.float16, rounded.shape)
    node.outputs[index] = exact
    for op, attrs, inputs, output in (
        ("Cast", {"to": HALF}, [exact], half),
        ("Max", {}, [half, half], same),
        ("Cast", {"to": FLOAT}, [same], rounded),
    ):
        graph.nodes.append(gs.Node(op, names.free(f"{output.name}:round"), attrs, inputs, [output]))
