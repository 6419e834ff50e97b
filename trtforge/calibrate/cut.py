"""The part of a network that makes some of its tensors, ready for ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx_graphsurgeon.ir.tensor import LazyValues

from trtforge.graph.model import exported

SMALL = 1024  # bytes: scales and sizes, which shapes are inferred from, stay in the model


def cut(graph: gs.Graph, tensors: Sequence[str]) -> tuple[bytes, dict[str, np.ndarray]]:
    """A model whose outputs are ``tensors``, without what is behind them, and its float32 weights by name.

    The weights lie beside the model because every session would copy and parse them: that takes longer than all else
    that a session does at its start.

    Args:
        graph: cut down in place; it holds no weights after this.
    """
    found = graph.tensors()
    graph.outputs = [found[name] for name in tensors]
    graph.cleanup()
    weights = {}
    for tensor in graph.tensors().values():
        if isinstance(tensor, gs.Constant) and tensor.dtype == np.float32 and tensor.values.nbytes > SMALL:
            weights[tensor.name] = tensor.values
            tensor.values = LazyValues(_beside(tensor.name, tensor.shape))
    return bytes(exported(graph).SerializeToString()), weights


def _beside(name: str, shape: Sequence[int]) -> onnx.TensorProto:
    """A float32 tensor that says only that its values are elsewhere."""
    tensor = onnx.TensorProto(name=name, dims=shape, data_type=onnx.TensorProto.FLOAT)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="beside")
    return tensor
