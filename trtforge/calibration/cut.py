"""Cut out the part of a network that computes some of its tensors, ready for ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx_graphsurgeon.ir.tensor import LazyValues

from trtforge.graph.model import exported

# Weights up to this many bytes stay in the model: ONNX Runtime infers shapes from some of them.
SMALL_BYTES = 1024


def cut(graph: gs.Graph, tensors: Sequence[str]) -> tuple[bytes, dict[str, NDArray[np.float32]]]:
    """Return a model whose outputs are ``tensors``, and its large float32 weights by name.

    Weights inside the model would be copied three times: into the model, into its bytes, and when a
    session parses the bytes. With the weights outside, cutting and loading take half the time.

    Args:
        graph: changed in place: it keeps only the nodes that compute ``tensors``, and loses the
            values of the large weights, so the model's file need not stay in memory.
    """
    by_name = graph.tensors()
    graph.outputs = [by_name[name] for name in tensors]
    graph.cleanup()
    # ONNX Runtime takes external weights for the outermost graph only, so the weights of subgraphs
    # stay in the model.
    in_subgraphs = {
        id(tensor)
        for subgraph in graph.subgraphs(recursive=True)
        for tensor in subgraph.tensors().values()
    }
    weights: dict[str, NDArray[np.float32]] = {}
    for tensor in graph.tensors().values():
        if not isinstance(tensor, gs.Constant):
            continue
        if isinstance(tensor.dtype, int):  # an ONNX type that NumPy lacks, such as bfloat16
            continue
        values = np.ascontiguousarray(tensor.values)  # lazy values would keep the whole file open
        large = values.dtype == np.float32 and values.nbytes > SMALL_BYTES
        if large and id(tensor) not in in_subgraphs:
            weights[tensor.name] = values
            tensor.values = LazyValues(_external_tensor(tensor.name, tensor.shape))
    return bytes(exported(graph).SerializeToString()), weights


def _external_tensor(name: str, shape: Sequence[int]) -> onnx.TensorProto:
    """Return a float32 tensor that says that its values are stored outside the model."""
    tensor = onnx.TensorProto(name=name, dims=shape, data_type=onnx.TensorProto.FLOAT)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    # ONNX demands a location; nobody opens it, because the session receives the values directly.
    tensor.external_data.add(key="location", value="beside")
    return tensor
