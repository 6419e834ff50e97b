"""What an exporter leaves in a graph that nobody needs, and what somebody does."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import onnx
import onnx_ir

from trtforge.errors import ForgeError
from trtforge.graph.model import save

if TYPE_CHECKING:
    from google.protobuf.internal.containers import RepeatedCompositeFieldContainer

Part = TypeVar("Part", onnx.ValueInfoProto, onnx.NodeProto, onnx.TensorProto)


def tidy(model: onnx.ModelProto, axes: Mapping[int, str]) -> None:
    """Name the input's dynamic axes, and drop notes on where each node came from, in place.

    They hold lines of the model's code and paths of this machine, and make the same model differ
    from folder to folder.
    """
    del model.metadata_props[:]
    for graph in _graphs(model.graph):
        _without_notes(graph, [*graph.node, *graph.value_info, *graph.input, *graph.output])
    for function in model.functions:  # its inputs and outputs are no more than names
        _without_notes(function, [*function.node, *function.value_info])
    dims = model.graph.input[0].type.tensor_type.shape.dim
    names = {
        dims[axis].dim_param: name
        for axis, name in axes.items()
        if dims[axis].dim_param not in ("", name)
    }
    if names:
        old = re.compile(rf"\b({'|'.join(map(re.escape, names))})\b")
        for value in [*model.graph.input, *model.graph.output, *model.graph.value_info]:
            for dim in value.type.tensor_type.shape.dim:
                if dim.dim_param:
                    dim.dim_param = old.sub(lambda found: names[found[1]], dim.dim_param)


def _without_notes(
    graph: onnx.GraphProto | onnx.FunctionProto,
    parts: Sequence[onnx.NodeProto | onnx.ValueInfoProto],
) -> None:
    del graph.metadata_props[:]
    for part in parts:
        del part.metadata_props[:]
        part.doc_string = ""


def cut(graph: onnx.GraphProto, outputs: Sequence[str]) -> None:
    """Keep these outputs, and of the nodes and weights what they need, in place."""
    needed, nodes = set(outputs), []
    for node in reversed(graph.node):
        if needed & set(node.output):
            nodes.append(node)
            needed |= {name for inner in _nodes(node) for name in inner.input}
            needed |= {value.name for graph in _subgraphs(node) for value in graph.output}
    _keep(graph.output, [value for value in graph.output if value.name in outputs])
    _keep(graph.node, nodes[::-1])
    _keep(graph.initializer, [tensor for tensor in graph.initializer if tensor.name in needed])


def _keep(field: RepeatedCompositeFieldContainer[Part], parts: list[Part]) -> None:
    """Leave only some parts in a field of a graph, in place."""
    if len(parts) < len(field):
        copies = [type(part).FromString(part.SerializeToString()) for part in parts]
        del field[:]
        field.extend(copies)


def write(model: onnx.ModelProto, path: Path, data: str, external_bytes: int) -> dict[str, int]:
    """Write a model, with weights over ``external_bytes`` in the file ``data`` beside it, and run
    the ONNX checker.

    Returns:
        bytes and external_bytes, those in the second file; 0 without one.

    Raises:
        ForgeError: the model is not valid ONNX.
    """
    external = path.with_name(data)
    external.unlink(missing_ok=True)  # of another exporter's attempt
    weights = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    if weights > external_bytes:
        onnx_ir.save(onnx_ir.from_proto(model), path, external_data=data)
    else:
        save(model, path)
    try:
        onnx.checker.check_model(os.fspath(path))
    except onnx.checker.ValidationError as error:
        raise ForgeError(
            f"the exporter wrote no valid ONNX: {str(error).strip().splitlines()[0]}",
            "try another --opset",
        ) from error
    return {
        "bytes": path.stat().st_size,
        "external_bytes": external.stat().st_size if external.is_file() else 0,
    }


def _subgraphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    found = [graph for attribute in node.attribute for graph in attribute.graphs]
    return found + [attribute.g for attribute in node.attribute if attribute.HasField("g")]


def _nodes(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    """The node and those in its subgraphs, whose inputs may come from around it."""
    yield node
    for graph in _subgraphs(node):
        for inner in graph.node:
            yield from _nodes(inner)


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for inner in _subgraphs(node):
            yield from _graphs(inner)
