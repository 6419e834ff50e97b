"""Cut parts out of a graph: each part is a whole model of its own.

Polygraphy's ``debug reduce`` is not driven here, though the search begins as it does. Polygraphy
0.53 can't take our graphs apart: where branches meet, it computes the other branch in ONNX Runtime
and freezes it, which ends in an error where the graph has a plugin of TensorRT's, or Q/DQ with FP16
scales (QLinearConcat takes none); it cuts between QuantizeLinear and DequantizeLinear, so that the
builder refuses int8 outputs instead of the fault; and it keeps all nodes between the first and the
last one. Here a tensor at the edge becomes an input, whatever computes it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import onnx

from trtforge.graph.inputs import dims, inputs
from trtforge.graph.order import reads

Types = Mapping[str, onnx.ValueInfoProto]


@dataclass(frozen=True)
class Whole:
    """A model, and how it can be taken apart.

    Attributes:
        model: its nodes are sorted.
        types: types and shapes of tensors by name, where they are known.
        makers: number of the node that computes a tensor, by name.
        units: numbers of the nodes of each unit. A unit stays in one piece: a QuantizeLinear with
            every DequantizeLinear behind it, or one other node.
        constant: numbers of the nodes that depend on no input. They go with whatever reads them.
    """

    model: onnx.ModelProto
    types: Types
    makers: Mapping[str, int]
    units: Sequence[Sequence[int]]
    constant: Collection[int]


def analyse(model: onnx.ModelProto) -> Whole:
    """Return what cutting a model needs to know of it."""
    model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    while guesses := _guesses(model):
        model.graph.value_info.extend(guesses)
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    graph = model.graph
    makers = {name: number for number, node in enumerate(graph.node) for name in node.output}
    constant = _constant(model)
    return Whole(
        model=model,
        types=_types(model),
        makers=makers,
        units=_units(graph.node, makers, constant),
        constant=constant,
    )


def _types(model: onnx.ModelProto) -> dict[str, onnx.ValueInfoProto]:
    graph = model.graph
    values = (*graph.value_info, *graph.output, *inputs(model))
    return {value.name: value for value in values if value.type.tensor_type.elem_type}


def _guesses(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """Return types for the results of operators that ONNX does not know: those of the first input.

    An edge of a part needs a type. If it is the wrong one, the part fails in another way than the
    whole model.
    """
    types = _types(model)
    return [
        onnx.helper.make_value_info(name, types[node.input[0]].type)
        for node in model.graph.node
        if not onnx.defs.has(node.op_type, node.domain)
        for name in node.output
        if name and name not in types and node.input and node.input[0] in types
    ]


def _constant(model: onnx.ModelProto) -> set[int]:
    varying = {value.name for value in inputs(model)}
    constant = set()
    for number, node in enumerate(model.graph.node):
        if any(name in varying for name in reads(node)):
            varying.update(node.output)
        else:
            constant.add(number)
    return constant


def _units(
    nodes: Sequence[onnx.NodeProto], makers: Mapping[str, int], constant: Collection[int]
) -> list[list[int]]:
    members: dict[int, list[int]] = {}
    for number, node in enumerate(nodes):
        if number in constant:
            continue
        first = number
        if node.op_type == "DequantizeLinear" and node.input[0] in makers:
            maker = makers[node.input[0]]
            first = maker if nodes[maker].op_type == "QuantizeLinear" else number
        members.setdefault(first, []).append(number)
    return [members[first] for first in sorted(members)]


def cut(whole: Whole, units: Iterable[int]) -> onnx.ModelProto | None:
    """Return a model of some units; None where nobody knows the type of a tensor at its edge.

    What the units read and don't compute is an input. What they compute is an output if a node
    outside reads it and none inside, or if it is an output of the whole model.
    """
    graph = whole.model.graph
    kept = {number for unit in units for number in whole.units[unit]}
    inside = sorted(kept | _needed_constants(whole, kept))
    nodes = [graph.node[number] for number in inside]
    made = {name for node in nodes for name in node.output}
    read = list(dict.fromkeys(name for node in nodes for name in reads(node) if name))
    weights = {tensor.name: tensor for tensor in graph.initializer}
    sources = [name for name in read if name not in made and name not in weights]
    results = _results(whole, kept, set(read))
    edge = [*sources, *results]
    if not results or not all(_is_typed(whole.types.get(name), name in sources) for name in edge):
        return None
    part = onnx.helper.make_graph(
        nodes,
        graph.name,
        [whole.types[name] for name in sources],
        [whole.types[name] for name in results],
        [weights[name] for name in read if name in weights],
        value_info=[whole.types[name] for name in made - set(results) if name in whole.types],
    )
    model = onnx.helper.make_model(part, opset_imports=whole.model.opset_import)
    model.ir_version = whole.model.ir_version
    return model


def _needed_constants(whole: Whole, kept: Iterable[int]) -> set[int]:
    needed: set[int] = set()
    waiting = list(kept)
    while waiting:
        for name in reads(whole.model.graph.node[waiting.pop()]):
            maker = whole.makers.get(name)
            if maker is not None and maker in whole.constant and maker not in needed:
                needed.add(maker)
                waiting.append(maker)
    return needed


def _results(whole: Whole, kept: Collection[int], read_inside: Collection[str]) -> list[str]:
    graph = whole.model.graph
    ends = {value.name for value in graph.output}
    outside = {
        name for number, node in enumerate(graph.node) if number not in kept for name in reads(node)
    }
    return [
        name
        for number in sorted(kept)
        for name in graph.node[number].output
        if name in ends or (name in outside and name not in read_inside)
    ]


def _is_typed(value: onnx.ValueInfoProto | None, shaped: bool) -> bool:
    if value is None or not value.type.tensor_type.elem_type:
        return False
    return value.type.tensor_type.HasField("shape") or not shaped


def is_dynamic(model: onnx.ModelProto) -> bool:
    """Tell whether an input has a dimension without a number."""
    return any(not isinstance(side, int) for value in inputs(model) for side in dims(value))


def with_fixed_shapes(model: onnx.ModelProto, batch: int, size: tuple[int, int]) -> onnx.ModelProto:
    """Return the model with numbers for the dynamic dimensions of its inputs.

    Args:
        batch: for first dimensions.
        size: height and width for inputs (N, C, H, W); other dynamic dimensions become 1.
    """
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    for value in inputs(fixed):
        sides = value.type.tensor_type.shape.dim
        defaults = [batch, 1, *size] if len(sides) == 4 else [batch] + [1] * len(sides)
        for side, known, default in zip(sides, dims(value), defaults, strict=False):
            if not isinstance(known, int):
                side.dim_value = default
    del fixed.graph.value_info[:]
    for value in fixed.graph.output:
        value.type.tensor_type.ClearField("shape")
    fixed = onnx.shape_inference.infer_shapes(fixed, data_prop=True)
    for value, stated in zip(fixed.graph.output, model.graph.output, strict=True):
        if not value.type.tensor_type.HasField("shape"):
            value.CopyFrom(stated)
    return fixed
