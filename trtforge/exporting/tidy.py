"""Clean up an exported graph: names of axes, notes of the exporter, outputs; and write it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import onnx
import onnx_ir
from google.protobuf.message import Message

from trtforge.errors import ForgeError
from trtforge.graph.model import save

if TYPE_CHECKING:
    from google.protobuf.internal.containers import RepeatedCompositeFieldContainer

T = TypeVar("T", bound=Message)


def tidy(model: onnx.ModelProto, axes: Mapping[int, str]) -> None:
    """Name the input's dynamic axes, and drop notes on where each node came from, in place.

    The notes contain lines of the model's code and paths on this machine, so the same model would
    have other bytes in another folder.

    Args:
        axes: name of each dynamic axis of the input, by index.
    """
    del model.metadata_props[:]
    for graph in _graphs(model.graph):
        _drop_notes(graph)
    for function in model.functions:
        _drop_notes(function)
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
                    dim.dim_param = old.sub(lambda match: names[match[1]], dim.dim_param)


def _drop_notes(graph: onnx.GraphProto | onnx.FunctionProto) -> None:
    """Drop the notes on a graph, its nodes and its tensors, in place."""
    del graph.metadata_props[:]
    for node in graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    values = list(graph.value_info)
    if isinstance(graph, onnx.GraphProto):  # inputs and outputs of a function are only names
        values += [*graph.input, *graph.output]
    for value in values:
        del value.metadata_props[:]
        value.doc_string = ""


def cut(graph: onnx.GraphProto, outputs: Sequence[str]) -> None:
    """Keep only these outputs, and the nodes and weights that they need, in place."""
    needed, nodes = set(outputs), []
    for node in reversed(graph.node):
        if needed & set(node.output):
            nodes.append(node)
            needed |= {name for inner in _nodes(node) for name in inner.input}
            needed |= {value.name for graph in _subgraphs(node) for value in graph.output}
    _keep(graph.output, [value for value in graph.output if value.name in outputs])
    _keep(graph.node, nodes[::-1])
    _keep(graph.initializer, [tensor for tensor in graph.initializer if tensor.name in needed])


def _keep(field: RepeatedCompositeFieldContainer[T], kept: Sequence[T]) -> None:
    """Keep only some of the messages in a repeated field."""
    if len(kept) < len(field):
        copies: list[T] = []
        for message in kept:  # a message is deleted together with the field that it is in
            copy = type(message)()
            copy.CopyFrom(message)
            copies.append(copy)
        del field[:]
        field.extend(copies)


def write(model: onnx.ModelProto, path: Path, data: str, external_bytes: int) -> dict[str, int]:
    """Write a model, and run the ONNX checker.

    Args:
        data: name of the file for the weights.
        external_bytes: weights of more bytes go into that file, beside the model.

    Returns:
        ``bytes`` of the model's file, and ``external_bytes`` of the weights' file; 0 without one.

    Raises:
        ForgeError: the model is not valid ONNX.
    """
    external = path.with_name(data)
    external.unlink(missing_ok=True)  # the other exporter may have written it before it failed
    weights = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    if weights > external_bytes:
        onnx_ir.save(onnx_ir.from_proto(model), path, external_data=data)
    else:
        save(model, path)
    try:
        onnx.checker.check_model(os.fspath(path))
    except onnx.checker.ValidationError as error:
        raise ForgeError(
            f"the exporter wrote invalid ONNX: {str(error).strip().splitlines()[0]}",
            "try another --opset",
        ) from error
    return {
        "bytes": path.stat().st_size,
        "external_bytes": external.stat().st_size if external.is_file() else 0,
    }


def _subgraphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """Return the subgraphs that are attributes of a node, such as the branches of an If."""
    lists = [graph for attribute in node.attribute for graph in attribute.graphs]
    return lists + [attribute.g for attribute in node.attribute if attribute.HasField("g")]


def _nodes(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    """Yield the node and the nodes of its subgraphs, whose inputs may come from outside."""
    yield node
    for graph in _subgraphs(node):
        for inner in graph.node:
            yield from _nodes(inner)


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Yield the graph and the subgraphs of its nodes."""
    yield graph
    for node in graph.node:
        for inner in _subgraphs(node):
            yield from _graphs(inner)
