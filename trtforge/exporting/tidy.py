"""Clean up an exported graph: names of axes, notes of the exporter, outputs; and write it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import onnx
import onnx_ir

from trtforge.errors import ForgeError
from trtforge.graph.model import save


def tidy(model: onnx.ModelProto, axes: Mapping[int, str]) -> None:
    """Name the input's dynamic axes, and drop notes on where each node came from, in place.

    The notes contain lines of the model's code and paths on this machine, so the same model would
    have other bytes in another folder.

    Args:
        axes: name of each dynamic axis of the input, by index.
    """
    del model.metadata_props[:]
    for graph in [*_graphs(model.graph), *model.functions]:
        del graph.metadata_props[:]
        for each in [
            *graph.node,
            *graph.value_info,
            *getattr(graph, "input", []),
            *getattr(graph, "output", []),
        ]:
            if not isinstance(each, str):  # the inputs of a function are no more than names
                del each.metadata_props[:]
                each.doc_string = ""
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


def cut(graph: onnx.GraphProto, outputs: Sequence[str]) -> None:
    """Keep only these outputs, and the nodes and weights that they need, in place."""
    needed, nodes = set(outputs), []
    for node in reversed(graph.node):
        if needed & set(node.output):
            nodes.append(node)
            needed |= {name for inner in _nodes(node) for name in inner.input}
            needed |= {value.name for graph in _subgraphs(node) for value in graph.output}
    kept = {
        "output": [value for value in graph.output if value.name in outputs],
        "node": nodes[::-1],
        "initializer": [tensor for tensor in graph.initializer if tensor.name in needed],
    }
    for field, values in kept.items():
        if len(values) < len(getattr(graph, field)):
            copies = [type(value).FromString(value.SerializeToString()) for value in values]
            graph.ClearField(field)
            getattr(graph, field).extend(copies)


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
