"""Take nodes out of a graph and connect their readers to another tensor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from trtforge.graph.shapes import Shapes


@dataclass(frozen=True)
class Scope:
    """Limits that a rewrite must respect.

    Attributes:
        shapes: what is known of every tensor.
        keep: ids of tensors that stay, under their names: outputs of the graph, and what bodies of
            If and Loop read.
        names: of tensors.
    """

    shapes: Shapes
    keep: set[int]
    names: set[str]

    def free(self, name: str) -> str:
        """Return a name for a new tensor: the given one, or one like it."""
        while name in self.names:
            name += "'"
        self.names.add(name)
        return name

    def constant(self, name: str, values: np.ndarray) -> gs.Constant:
        return gs.Constant(self.free(name), values)

    def private(self, tensor: gs.Tensor) -> bool:
        """Tell whether a tensor has one reader and may be removed."""
        return len(tensor.outputs) == 1 and id(tensor) not in self.keep


def scope(graph: gs.Graph, shapes: Shapes) -> Scope:
    names = set(graph.tensors())
    for body in graph.subgraphs(recursive=True):
        names |= set(body.tensors())
    return Scope(shapes, kept(graph), names)


def kept(graph: gs.Graph) -> set[int]:
    """Return the ids of tensors that keep their names: outputs, and what bodies of If and Loop read."""
    found = {id(tensor) for tensor in graph.outputs}
    for body in graph.subgraphs(recursive=True):
        found |= {id(tensor) for tensor in body.outputs}
        found |= {id(tensor) for node in body.nodes for tensor in node.inputs}
    return found


def standard(node: gs.Node) -> bool:
    """Tell whether a node is one of ONNX's own operators, with an input and an output."""
    return node.domain in (None, "", "ai.onnx") and len(node.inputs) > 0 and len(node.outputs) > 0


def remove(node: gs.Node) -> list[gs.Tensor]:
    """Remove a node from its graph's edges and return its output; ``sweep`` drops the node."""
    made = [tensor for tensor in node.outputs if tensor.name]
    node.inputs.clear()
    node.outputs.clear()
    return made


def sweep(graph: gs.Graph) -> None:
    """Remove the nodes without edges, and those whose results nobody reads."""
    keep = kept(graph)
    nodes = []
    for node in reversed(graph.nodes):
        if any(id(tensor) in keep or tensor.outputs for tensor in node.outputs if tensor.name):
            nodes.append(node)
        else:
            remove(node)
    graph.nodes = nodes[::-1]


def read_instead(old: gs.Tensor, new: gs.Tensor) -> None:
    """Make every reader of ``old`` read ``new``."""
    for reader in list(old.outputs):
        for index, read in enumerate(reader.inputs):
            if read is old:
                reader.inputs[index] = new


def bypass(node: gs.Node, tensor: gs.Tensor, keep: set[int]) -> bool:
    """Let whoever reads the node's first output read ``tensor``, and take the node out.

    Where the output has to stay, what makes ``tensor`` makes it instead; False where that can't be.
    """
    made = node.outputs[0]
    if id(made) not in keep:
        remove(node)
        read_instead(made, tensor)
        return True
    if len(tensor.inputs) != 1 or id(tensor) in keep:
        return False
    producer = tensor.inputs[0]
    index = next(i for i, output in enumerate(producer.outputs) if output is tensor)
    remove(node)
    producer.outputs[index] = made
    read_instead(tensor, made)
    return True


def producer(tensor: gs.Tensor, *ops: str) -> gs.Node | None:
    """Return the node that makes a tensor, if it is one of ``ops``."""
    node = tensor.inputs[0] if tensor.inputs else None
    return node if node is not None and node.op in ops and standard(node) else None


def constant(node: gs.Node, index: int) -> np.ndarray | None:
    """Return the values of a constant input; None where it is missing or not constant."""
    tensor = node.inputs[index] if index < len(node.inputs) else None
    return tensor.values if isinstance(tensor, gs.Constant) else None
