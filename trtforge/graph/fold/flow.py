"""Control flow that is decided already: an If of a constant gives way to its branch."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from trtforge.graph.edit.rewire import constant, read_instead, remove


def inline_branches(graph: gs.Graph) -> bool:
    """Replace each If of a constant by the branch that is taken, in place; tell whether there was one.

    Exporters write an If for what depends on a shape: a squeeze of an axis that may not be 1.
    """
    nodes = []
    changed = False
    for node in graph.nodes:
        condition = constant(node, 0) if node.op == "If" else None
        if condition is None:
            nodes.append(node)
            continue
        nodes += _branch(
            graph, node, node.attrs["then_branch" if condition.all() else "else_branch"]
        )
        changed = True
    graph.nodes = nodes
    return changed


def _branch(graph: gs.Graph, node: gs.Node, branch: gs.Graph) -> list[gs.Node]:
    """Return the nodes of a branch; names that the graph has already get a prefix."""
    taken, outer = set(graph.tensors()), {id(tensor) for tensor in graph.tensors().values()}
    for name, tensor in branch.tensors().items():
        if id(tensor) not in outer and name in taken:
            tensor.name = f"{node.outputs[0].name}/{name}"
    made = remove(node)
    inner = {id(output): maker for maker in branch.nodes for output in maker.outputs}
    named: dict[int, gs.Tensor] = {}
    nodes = list(branch.nodes)
    for tensor, result in zip(made, branch.outputs, strict=True):
        if id(result) in inner:
            maker = inner.pop(id(result))
            maker.outputs[next(i for i, output in enumerate(maker.outputs) if output is result)] = (
                tensor
            )
            read_instead(result, tensor)
            named[id(result)] = tensor
        else:
            source = named.get(id(result), result)
            nodes.append(gs.Node("Identity", f"{tensor.name}.identity", {}, [source], [tensor]))
    return nodes
