"""Small edits that patches share: nodes and outputs with names of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from trtforge.errors import ForgeError
from trtforge.graph.tensors import sides

PREFIX = "trtforge/nms/"


def first_image(graph: gs.Graph) -> gs.Tensor | None:
    """Return the first input of rank 4, `(B, channels, H, W)`, or None."""
    return next(
        (tensor for tensor in graph.inputs if tensor.shape is not None and len(tensor.shape) == 4),
        None,
    )


def input_size(graph: gs.Graph) -> tuple[int, int] | None:
    """Return the image input's height and width; None where there is none or a side is dynamic."""
    image = first_image(graph)
    numbers = [side for side in sides(image)[2:] if isinstance(side, int)] if image else []
    return (numbers[0], numbers[1]) if len(numbers) == 2 and min(numbers) > 0 else None


def batch_dim(graph: gs.Graph) -> int | str:
    """Return the batch of the image input: a number, or a name where it is dynamic."""
    image = first_image(graph)
    first = sides(image)[0] if image is not None else None
    return first if isinstance(first, int | str) and first not in (-1, 0, "") else "batch"


def upstream(*tensors: gs.Tensor) -> list[gs.Node]:
    """Return every node that the tensors depend on."""
    found: dict[int, gs.Node] = {}
    pending = [producer for tensor in tensors for producer in tensor.inputs]
    while pending:
        node = pending.pop()
        if id(node) not in found:
            found[id(node)] = node
            pending += [producer for tensor in node.inputs for producer in tensor.inputs]
    return list(found.values())


def channels(graph: gs.Graph, tensor: gs.Tensor, low: int, high: int, name: str) -> gs.Tensor:
    """Return channels `low:high` of rows `(B, N, channels)`."""
    bounds = [np.array([value], np.int64) for value in (low, high, 2)]
    return add_node(graph, "Slice", [tensor, *bounds], name, dtype=tensor.dtype)


def float32(graph: gs.Graph, tensor: gs.Tensor, dtype: Any = None) -> gs.Tensor:
    """Return a tensor, cast to float32 where its type (or `dtype`, if unknown) is another."""
    dtype = tensor.dtype if tensor.dtype is not None else dtype
    if dtype is None or np.dtype(dtype) == np.float32:
        return tensor
    return add_node(graph, "Cast", [tensor], "float32", to=int(onnx.TensorProto.FLOAT))


def add_node(
    graph: gs.Graph,
    op: str,
    inputs: Sequence[gs.Tensor | np.ndarray],
    name: str,
    dtype: Any = np.float32,
    **attrs: Any,
) -> gs.Tensor:
    """Append a node of one output under `trtforge/nms/NAME`, made unique, and return the output.

    NumPy arrays among the inputs become constants.
    """
    full = unique(graph, PREFIX + name)
    operands = [
        gs.Constant(f"{full}/in{i}", operand) if isinstance(operand, np.ndarray) else operand
        for i, operand in enumerate(inputs)
    ]
    output = gs.Variable(full, dtype)
    graph.nodes.append(gs.Node(op, full, attrs, operands, [output]))
    return output


def name_output(graph: gs.Graph, tensor: gs.Tensor, name: str, shape: Any) -> gs.Tensor:
    """Add an output that equals a tensor, behind an Identity, because others may read the tensor.

    A tensor that bears the name already gives way, unless it is an input.
    """
    holder = graph.tensors().get(name)
    if holder is not None:
        if any(holder is other for other in graph.inputs):
            raise ForgeError(
                f"input '{name}' bears the name of an output that NMS adds",
                "rename the model's input",
            )
        holder.name = unique(graph, f"{PREFIX}was/{name}")
    output = add_node(
        graph, "Identity", [tensor], f"output/{name}", dtype=tensor.dtype or np.float32
    )
    output.name, output.shape = name, shape
    return output


def unique(graph: gs.Graph, name: str) -> str:
    """Return a name, with a number behind it if a node or tensor of the graph has it."""
    taken = {node.name for node in graph.nodes} | set(graph.tensors())
    candidates = [name, *(f"{name}_{number}" for number in range(2, len(taken) + 3))]
    return next(candidate for candidate in candidates if candidate not in taken)


def cast(graph: gs.Graph, tensor: gs.Tensor, dtype: Any, name: str) -> gs.Tensor:
    to = int(onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
    return add_node(graph, "Cast", [tensor], name, dtype, to=to)


def top(graph: gs.Graph, tensor: gs.Tensor, keep: int, axis: int) -> tuple[gs.Tensor, gs.Tensor]:
    """Return the largest values along an axis, in order, and their int64 indices."""
    name = unique(graph, f"{PREFIX}top")
    values, indices = (
        gs.Variable(f"{name}/values", np.float32),
        gs.Variable(f"{name}/indices", np.int64),
    )
    count = gs.Constant(f"{name}/k", np.array([keep], np.int64))
    graph.nodes.append(gs.Node("TopK", name, {"axis": axis}, [tensor, count], [values, indices]))
    return values, indices
