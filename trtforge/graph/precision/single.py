"""Convert an FP16 graph to FP32, whose numbers are the same: calibration and INT8 start from there."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from trtforge.graph.model import graph_of, model_of
from trtforge.graph.tensors import values_of

HALF, FLOAT = np.dtype(np.float16), np.dtype(np.float32)
TYPE_ATTRIBUTES = ("to", "dtype")  # of Cast, EyeLike, RandomNormal ...


def to_single(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model without FP16: weights, inputs and outputs are FP32. Others are returned as is."""
    if not _has_half(model):
        return model
    graph = graph_of(model)
    _widen(graph)
    for body in graph.subgraphs(recursive=True):
        _widen(body)
    return model_of(graph)


def _has_half(model: onnx.ModelProto) -> bool:
    half = onnx.TensorProto.FLOAT16
    values = [*model.graph.input, *model.graph.output]
    return (
        any(tensor.data_type == half for tensor in model.graph.initializer)
        or any(value.type.tensor_type.elem_type == half for value in values)
        or any(
            attribute.i == half
            for node in model.graph.node
            for attribute in node.attribute
            if attribute.name in TYPE_ATTRIBUTES
        )
        or any(
            attribute.t.data_type == half
            for node in model.graph.node
            for attribute in node.attribute
        )
    )


def _widen(graph: gs.Graph) -> None:
    for tensor in graph.tensors().values():
        if tensor.dtype != HALF:
            continue
        if isinstance(tensor, gs.Constant):
            tensor.values = values_of(tensor).astype(FLOAT)
        else:
            tensor.dtype = FLOAT
    for node in graph.nodes:
        for name, value in node.attrs.items():
            if name in TYPE_ATTRIBUTES and value == onnx.TensorProto.FLOAT16:
                node.attrs[name] = int(onnx.TensorProto.FLOAT)
            elif isinstance(value, gs.Constant) and value.dtype == HALF:
                value.values = value.values.astype(FLOAT)
