"""Cut out the part of a network that computes some of its tensors, ready for ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx_graphsurgeon.ir.tensor import LazyValues

from trtforge.graph.model import exported

SMALL = 1024  # bytes: scales and sizes, from which shapes are inferred, stay in the model


def cut(graph: gs.Graph, tensors: Sequence[str]) -> tuple[bytes, dict[str, NDArray[np.float32]]]:
    """Return a model whose outputs are ``tensors``, and its large float32 weights by name.

    Weights inside the model would be copied three times: into the model, into its bytes, and when a
    session parses the bytes. With the weights outside, cutting and loading take half the time.

    Args:
        graph: is cut down in place. It has no values for these weights afterwards, and nothing in
            it keeps the file that it came from in memory.
    """
    known = graph.tensors()
    graph.outputs = [known[name] for name in tensors]
    graph.cleanup()
    # A subgraph has its own copy of a weight that it reads, and ONNX Runtime takes weights from
    # outside for the outermost graph only.
    in_subgraphs = {
        id(tensor)
        for subgraph in graph.subgraphs(recursive=True)
        for tensor in subgraph.tensors().values()
    }
    weights: dict[str, NDArray[np.float32]] = {}
    for tensor in graph.tensors().values():
        if not isinstance(tensor, gs.Constant):
            continue
        if isinstance(tensor.dtype, int):  # a datatype that NumPy does not have
            continue
        values = np.ascontiguousarray(tensor.values)  # lazy values would keep the whole file open
        large = values.dtype == np.float32 and values.nbytes > SMALL
        if large and id(tensor) not in in_subgraphs:
            weights[tensor.name] = values
            tensor.values = LazyValues(_external_tensor(tensor.name, tensor.shape))
    return bytes(exported(graph).SerializeToString()), weights


def _external_tensor(name: str, shape: Sequence[int]) -> onnx.TensorProto:
    """Return a float32 tensor without values, which says that they are stored outside."""
    tensor = onnx.TensorProto(name=name, dims=shape, data_type=onnx.TensorProto.FLOAT)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="beside")
    return tensor
