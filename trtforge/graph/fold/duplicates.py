"""Merge duplicates: equal constants, nodes that compute the same, sizes that are read twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable
from typing import Any

import onnx_graphsurgeon as gs
from onnx_graphsurgeon.exporters.onnx_exporter import OnnxExporter

from trtforge.graph.edit.rewire import kept, read_instead, sweep
from trtforge.graph.shapes import Shapes

RANDOM = {
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "Multinomial",
    "Bernoulli",
    "Dropout",
}


def share_constants(graph: gs.Graph) -> None:
    """Replace constants of equal type, shape and contents by the first of them, in place."""
    groups = defaultdict(list)
    for tensor in graph.tensors().values():
        if isinstance(tensor, gs.Constant):
            groups[str(tensor.dtype), tuple(tensor.shape)].append(tensor)
    for alike in groups.values():
        first: dict[Hashable, gs.Constant] = {}
        for tensor in alike if len(alike) > 1 else []:
            same = first.setdefault(_content(tensor), tensor)
            if same is not tensor:
                read_instead(tensor, same)


def share_nodes(graph: gs.Graph, shapes: Shapes) -> bool:
    """Remove nodes that repeat an earlier one, in place; tell whether there were any.

    Tensors of sizes are the same if their elements are, however they were computed.
    """
    keep = kept(graph)
    nodes: dict[Hashable, gs.Node] = {}
    sizes: dict[Hashable, gs.Tensor] = {}
    changed = False
    for node in graph.nodes:
        if any(id(tensor) in keep for tensor in node.outputs):
            continue
        pairs = []
        key = _key(node)
        first = nodes.setdefault(key, node) if key is not None else node
        if first is not node:
            pairs = list(zip(node.outputs, first.outputs, strict=True))
        elif (
            len(node.outputs) == 1 and (elements := _elements(node.outputs[0], shapes)) is not None
        ):
            pairs = [(node.outputs[0], sizes.setdefault(elements, node.outputs[0]))]
        for tensor, same in pairs:
            if tensor is not same and tensor.outputs:
                read_instead(tensor, same)
                changed = True
    sweep(graph)
    return changed


def _content(tensor: gs.Constant) -> Hashable:
    """Return type, shape and bytes of a constant, without reading values that are still in the file."""
    proto = OnnxExporter.export_tensor_proto(tensor)
    values = proto.raw_data or (
        tuple(proto.string_data) if proto.string_data else tensor.values.tobytes()
    )
    return proto.data_type, tuple(proto.dims), values


def _key(node: gs.Node) -> Hashable:
    if node.op in RANDOM:
        return None
    attributes = []
    for name, value in sorted(node.attrs.items()):
        if isinstance(value, gs.Graph):
            return None
        attributes.append(
            (name, _content(value) if isinstance(value, gs.Constant) else repr(value))
        )
    read = tuple(id(tensor) if tensor.name else 0 for tensor in node.inputs)
    made = tuple(bool(tensor.name) for tensor in node.outputs)
    return node.op, node.domain or "", tuple(attributes), read, made


def _elements(tensor: gs.Tensor, shapes: Shapes) -> Hashable:
    """Return all elements of a tensor; None unless every one is known."""
    values: Any = shapes.values.get(tensor.name)
    if values is None or None in values.ravel():
        return None
    return shapes.dtype[tensor.name], values.shape, tuple(values.flat)
