"""Layers of ONNX Runtime: the nodes of the graph that it optimised, and times from its profile."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trtforge.reporting.model import Layer, Tensor
from trtforge.reporting.origin import Origin

if TYPE_CHECKING:
    import onnx

NAME = 1000  # characters of a name that are searched for a known one
_KERNEL = "_kernel_time"


def layers(optimised: onnx.ModelProto, origin: Origin) -> list[Layer]:
    """Every node of the optimised graph, in order.

    ONNX Runtime keeps the name of one of the nodes that it fuses, or of its output, and may put
    words behind it: ``conv1_nchwc``. The others are found by following the tensors, in
    ``trtforge.reporting.account``. Its own layouts have no shapes: those are the original ones.
    """
    import onnx

    graph = onnx.shape_inference.infer_shapes(optimised).graph
    tensors = {
        value.name: _tensor(value) for value in (*graph.value_info, *graph.input, *graph.output)
    }
    weights = {
        tensor.name: Tensor(
            name=tensor.name, dims=list(tensor.dims), dtype=_dtype(tensor.data_type)
        )
        for tensor in graph.initializer
    }
    names = {name: op.name for op in origin.ops for name in op.outputs} | {
        op.name: op.name for op in origin.ops
    }
    outputs = {op.name: op.outputs for op in origin.ops}

    def described(name: str) -> Tensor:
        return tensors.get(name) or Tensor(name=name, dims=[], dtype="unknown")

    found = []
    for node in graph.node:
        name = node.name or next(filter(None, node.output), "")
        nodes = _nodes(name, names)
        inputs = [described(each) for each in node.input if each and each not in weights]
        constants = [weights[each] for each in node.input if each in weights]
        for number, each in enumerate(node.output):
            if each and each not in tensors:
                same = outputs[nodes[0]][number : number + 1] if nodes else ()
                dims = (
                    list(origin.shapes.get(same[0], ()))
                    if same
                    else inputs[0].dims
                    if inputs
                    else []
                )
                dtype = next(
                    (tensor.dtype for tensor in inputs if tensor.dtype != "unknown"), "unknown"
                )
                tensors[each] = Tensor(name=each, dims=dims, dtype=dtype)
        found.append(
            Layer(
                name=name,
                type=node.op_type,
                nodes=nodes,
                inputs=inputs,
                constants=constants,
                outputs=[described(each) for each in node.output if each],
                tactic=f"{node.domain}.{node.op_type}" if node.domain else "",
            )
        )
    return found


def profile(text: str) -> list[tuple[str, float]]:
    """(node, mean milliseconds over the runs but the first) from the file that ``end_profiling``
    names.
    """
    runs: dict[str, list[float]] = defaultdict(list)
    for event in json.loads(text):
        if event.get("cat") == "Node" and event["name"].endswith(_KERNEL):
            runs[event["name"].removesuffix(_KERNEL)].append(event["dur"] / 1000)
    return [
        (name, sum(found[1:] or found) / len(found[1:] or found)) for name, found in runs.items()
    ]


def is_profile(document: Any) -> bool:
    """Whether a JSON document is such a file."""
    return isinstance(document, list) and any(
        isinstance(row, dict) and "cat" in row and "dur" in row for row in document
    )


def _nodes(name: str, known: Mapping[str, str]) -> list[str]:
    """The node of the longest known name that this one starts with, up to the end of a word."""
    ends = [len(name), *(found.start() for found in re.finditer(r"[_/ .:-]", name[:NAME]))]
    return next(
        ([known[name[:end]]] for end in sorted(ends, reverse=True) if name[:end] in known), []
    )


def _tensor(value: onnx.ValueInfoProto) -> Tensor:
    dims = [
        dim.dim_value if dim.HasField("dim_value") else -1
        for dim in value.type.tensor_type.shape.dim
    ]
    return Tensor(name=value.name, dims=dims, dtype=_dtype(value.type.tensor_type.elem_type))


def _dtype(elem_type: int) -> str:
    """A datatype by TensorRT's name."""
    import onnx

    names: dict[int, str] = {
        onnx.TensorProto.FLOAT: "Float",
        onnx.TensorProto.FLOAT16: "Half",
        onnx.TensorProto.INT8: "Int8",
        onnx.TensorProto.UINT8: "UInt8",
        onnx.TensorProto.BFLOAT16: "BFloat16",
    }
    return (
        names.get(elem_type)
        or str(onnx.helper.tensor_dtype_to_string(elem_type)).rpartition(".")[2].capitalize()
    )
