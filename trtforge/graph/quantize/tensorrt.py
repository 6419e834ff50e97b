"""Rewrite a Q/DQ graph whose rest is FP16 into the forms that TensorRT builds and computes right.

What is right was seen with TensorRT 10.6 on an H200: ``benchmarks/gpu_numbers.py``.
"""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from trtforge.graph.edit.names import Names, names_of
from trtforge.graph.tensors import values_of

DEFAULT_SLOPE = 0.01  # of ONNX's LeakyRelu


def suit_tensorrt(graph: gs.Graph) -> gs.Graph:
    """Store INT8 weights with FP16 scales as floats before Q/DQ, and LeakyRelu as a maximum, in place.

    A graph without Q/DQ is left as it is. The integers of the weights and all results stay.

    - TensorRT takes stored integers with FP16 scales for an input that is known only at run time,
      wherever it finds no INT8 kernel. The kernel that it then chooses for convolutions with groups
      gives wrong numbers or NaN: INT8 of YOLO26n lost 5 to 57 points so, and 0.8 in this form.
    - A LeakyRelu behind an INT8 convolution with FP16 scales is refused (``weightsPtr.h::values:
      Assertion type() == expectedDataType<T>() failed``); a maximum fuses as other activations do.
    """
    if not any(node.op == "DequantizeLinear" for node in graph.nodes):
        return graph
    names = names_of(graph)
    for node in list(graph.nodes):
        if node.op == "DequantizeLinear" and isinstance(node.inputs[0], gs.Constant):
            _pair(graph, node, names)
        if node.op == "LeakyRelu" and node.inputs[0].dtype == np.float16:
            _as_maximum(graph, node, names)
    return graph.toposort()


def _pair(graph: gs.Graph, node: gs.Node, names: Names) -> None:
    """Put a QuantizeLinear before the DequantizeLinear of stored INT8 weights.

    Each weight is a multiple of its scale, and FP16 rounds it by less than half a step.
    """
    stored, scale = values_of(node.inputs[0]), values_of(node.inputs[1])
    if stored.dtype != np.int8 or scale.dtype != np.float16:
        return
    weights = stored.astype(np.float32) * _along_axis(scale, stored.ndim, node)
    if np.abs(weights).max(initial=0) <= np.finfo(np.float16).max:
        node.inputs[0] = _quantized(graph, node, weights.astype(np.float16), names)


def _as_maximum(graph: gs.Graph, node: gs.Node, names: Names) -> None:
    """Write a LeakyRelu of slope a as max(x, a x), or as min(x, a x) for slopes over 1."""
    tensor, slope = node.inputs[0], node.attrs.get("alpha", DEFAULT_SLOPE)
    if slope < 0:
        return
    factor = gs.Constant(names.free(f"{node.name}.slope"), np.array(slope, np.float16))
    scaled = gs.Variable(names.free(f"{node.outputs[0].name}.scaled"), np.float16, tensor.shape)
    graph.nodes.append(
        gs.Node("Mul", names.free(f"{node.name}.scale"), inputs=[tensor, factor], outputs=[scaled])
    )
    node.op, node.attrs, node.inputs = "Max" if slope <= 1 else "Min", {}, [tensor, scaled]


def _along_axis(scale: np.ndarray, rank: int, node: gs.Node) -> np.ndarray:
    """Return scales in a shape that broadcasts over the weights."""
    if scale.ndim == 0:
        return scale.astype(np.float32)
    axis = node.attrs.get("axis", 1) % rank
    return scale.astype(np.float32).reshape([-1 if each == axis else 1 for each in range(rank)])


def _quantized(graph: gs.Graph, node: gs.Node, weights: np.ndarray, names: Names) -> gs.Variable:
    """Add the QuantizeLinear of some weights, and return its result."""
    stored = node.inputs[0]
    quantized = gs.Variable(names.free(f"{stored.name}.quantized"), np.int8, weights.shape)
    graph.nodes.append(
        gs.Node(
            "QuantizeLinear",
            names.free(f"{stored.name}.quantize"),
            attrs=dict(node.attrs),
            inputs=[gs.Constant(names.free(f"{stored.name}.fp16"), weights), *node.inputs[1:]],
            outputs=[quantized],
        )
    )
    return quantized
