"""Read layers of ONNX Runtime from the graph that it optimised, and times from its profile."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypedDict, cast

from trtforge.reporting.model import Layer, Tensor
from trtforge.reporting.origin import Origin

if TYPE_CHECKING:
    import onnx

NAME = 1000  # characters of a name in which the end of a known name is searched
_KERNEL = "_kernel_time"


class _Event(TypedDict, total=False):
    """An event of a profile; ``dur`` is in microseconds."""

    cat: str
    name: str
    dur: float


def layers(optimised: onnx.ModelProto, origin: Origin) -> list[Layer]:
    """Return every node of the optimised graph as a layer, in order.

    ONNX Runtime keeps the name of one of the nodes that it fuses, or of its output, and may append
    words: ``conv1_nchwc``. The other nodes are placed by following the tensors, in
    ``trtforge.reporting.places``. Tensors in ONNX Runtime's own memory layouts have no shape in
    its graph: they get the shapes of the original graph.
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
    names = {name: op.name for op in origin.ops for name in op.outputs}
    names |= {op.name: op.name for op in origin.ops}
    outputs = {op.name: op.outputs for op in origin.ops}

    def described(name: str) -> Tensor:
        return tensors.get(name) or Tensor(name=name, dims=[], dtype="unknown")

    result: list[Layer] = []
    for node in graph.node:
        name = node.name or next(filter(None, node.output), "")
        nodes = _nodes(name, names)
        inputs = [described(tensor) for tensor in node.input if tensor and tensor not in weights]
        for number, output in enumerate(node.output):
            if output and output not in tensors:
                originals = outputs[nodes[0]][number : number + 1] if nodes else ()
                tensors[output] = _guess(output, originals, inputs, origin)
        result.append(
            Layer(
                name=name,
                type=node.op_type,
                nodes=nodes,
                inputs=inputs,
                constants=[weights[tensor] for tensor in node.input if tensor in weights],
                outputs=[described(tensor) for tensor in node.output if tensor],
                tactic=f"{node.domain}.{node.op_type}" if node.domain else "",
            )
        )
    return result


def _guess(name: str, originals: Sequence[str], inputs: Sequence[Tensor], origin: Origin) -> Tensor:
    """Describe a tensor that the optimised graph does not describe.

    Args:
        originals: the tensor's name in the original graph, if it is known.
        inputs: of the node that computes the tensor.
    """
    dims: list[int] = []
    if originals:
        dims = list(origin.shapes.get(originals[0], ()))
    elif inputs:
        dims = inputs[0].dims
    known = (tensor.dtype for tensor in inputs if tensor.dtype != "unknown")
    return Tensor(name=name, dims=dims, dtype=next(known, "unknown"))


def profile(text: str) -> list[tuple[str, float]]:
    """Read pairs of node and mean milliseconds from the file that ``end_profiling`` names.

    The first run is left out where there are several: it allocates memory.
    """
    events: list[_Event] = json.loads(text)
    runs: dict[str, list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_KERNEL):
            runs[event["name"].removesuffix(_KERNEL)].append(event["dur"] / 1000)
    means: list[tuple[str, float]] = []
    for name, times in runs.items():
        counted = times[1:] or times
        means.append((name, sum(counted) / len(counted)))
    return means


def is_profile(document: object) -> bool:
    """Return whether a JSON document is such a file."""
    return isinstance(document, list) and any(
        isinstance(row, dict) and "cat" in row and "dur" in row for row in document
    )


def _nodes(name: str, known: Mapping[str, str]) -> list[str]:
    """Return the node with the longest known name that ends at a word's end in this name, if any."""
    ends = [len(name), *(match.start() for match in re.finditer(r"[_/ .:-]", name[:NAME]))]
    for end in sorted(ends, reverse=True):
        if name[:end] in known:
            return [known[name[:end]]]
    return []


def _tensor(value: onnx.ValueInfoProto) -> Tensor:
    dims = [
        dim.dim_value if dim.HasField("dim_value") else -1
        for dim in value.type.tensor_type.shape.dim
    ]
    return Tensor(name=value.name, dims=dims, dtype=_dtype(value.type.tensor_type.elem_type))


def _dtype(elem_type: int) -> str:
    """Return TensorRT's name of a datatype of ONNX."""
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
        or str(
            onnx.TensorProto.DataType.Name(cast("onnx.TensorProto.DataType", elem_type))
        ).capitalize()
    )
