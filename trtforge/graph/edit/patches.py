"""Apply the user's own edits to a graph."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import numpy as np
import onnx_graphsurgeon as gs

from trtforge.errors import ForgeError
from trtforge.graph.edit.nodes import cast, unique
from trtforge.patches import Cast, Constant, Cut, Delete, Dims, Output, Patch, Rename

Named = TypeVar("Named", gs.Tensor, gs.Node)
_MOST = 1 << 20  # elements of a constant in a recipe


def apply_patches(graph: gs.Graph, patches: Iterable[Patch]) -> None:
    """Apply the patches to the graph in their order, in place.

    Raises:
        ForgeError: a patch names what is not there, or does not fit it; the message has its number
            and kind.
    """
    for number, patch in enumerate(patches, 1):
        try:
            _APPLY[type(patch)](graph, patch)
        except ForgeError as error:
            raise ForgeError(
                f"patch {number} ({patch.patch}): {error.problem}", error.hint
            ) from error
        graph.cleanup().toposort()


def _tensor(graph: gs.Graph, name: str) -> gs.Tensor:
    return _named(name, graph.tensors(), "tensor")


def _node(graph: gs.Graph, name: str) -> gs.Node:
    return _named(name, {node.name: node for node in graph.nodes}, "node")


def _named(name: str, there: Mapping[str, Named], kind: str) -> Named:
    if name not in there:
        near = difflib.get_close_matches(name, there, n=1)
        raise ForgeError(
            f"there is no {kind} {name!r}",
            f"did you mean {near[0]!r}?"
            if near
            else "trtforge patch MODEL --list shows inputs and outputs",
        )
    return there[name]


def _rename(graph: gs.Graph, patch: Rename) -> None:
    taken = {node.name for node in graph.nodes} if patch.node else set(graph.tensors())
    if patch.to in taken:
        raise ForgeError(f"the name {patch.to!r} is taken", "rename its holder first")
    found = _node(graph, patch.node) if patch.node else _tensor(graph, patch.tensor or "")
    found.name = patch.to


def _delete(graph: gs.Graph, patch: Delete) -> None:
    node = _node(graph, patch.node)
    if not node.inputs or isinstance(node.inputs[0], gs.Constant):
        raise ForgeError(
            f"{patch.node!r} has no input that could take its output's place",
            "replace it by a constant",
        )
    before, after = node.inputs[0], node.outputs[0]
    if any(after is output for output in graph.outputs):
        if not before.inputs or any(before is output for output in graph.outputs):
            raise ForgeError(f"{patch.node!r} is all that lies between an input and an output", "")
        name, after.name = after.name, unique(graph, f"{after.name}/deleted")
        before.name = name  # the output keeps its name
        graph.outputs = [before if after is output else output for output in graph.outputs]
    for reader in list(after.outputs):
        reader.inputs = [before if after is each else each for each in reader.inputs]
    node.outputs.clear()


def _constant(graph: gs.Graph, patch: Constant) -> None:
    tensor = _tensor(graph, patch.tensor)
    dtype = patch.dtype or (np.dtype(tensor.dtype).name if tensor.dtype is not None else None)
    try:
        values = np.array(patch.value, dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise ForgeError(
            f"its value is no array of {dtype or 'numbers'}", "give a number, or nested lists"
        ) from error
    if values.dtype.kind not in "fiub" or values.size > _MOST:
        raise ForgeError(
            f"its value is no array of numbers of up to {_MOST} elements", "give a dtype"
        )
    if isinstance(tensor, gs.Constant):
        shape = list(tensor.shape)
        if values.ndim and list(values.shape) != shape:
            raise ForgeError(
                f"{patch.tensor!r} has shape {shape}, and the value {list(values.shape)}",
                "give a value of that shape, or one number for all",
            )
        tensor.values = np.broadcast_to(values, shape).copy()
        return
    if any(tensor is output for output in graph.outputs):
        raise ForgeError(f"{patch.tensor!r} is an output", "name a tensor before it")
    graph.inputs = [each for each in graph.inputs if each is not tensor]
    tensor.inputs.clear()
    tensor.to_constant(values)


def _cast(graph: gs.Graph, patch: Cast) -> None:
    tensor = _tensor(graph, patch.tensor)
    readers = list(tensor.outputs)
    done = cast(graph, tensor, np.dtype(patch.to), f"cast/{patch.tensor}")
    for reader in readers:
        reader.inputs = [done if tensor is each else each for each in reader.inputs]
    if any(tensor is output for output in graph.outputs):
        graph.outputs = [done if tensor is each else each for each in graph.outputs]
        name, tensor.name = tensor.name, unique(graph, f"{tensor.name}/before_cast")
        done.name = name


def _cut(graph: gs.Graph, patch: Cut) -> None:
    starts = [_tensor(graph, name) for name in patch.inputs]
    ends = [_tensor(graph, name) for name in patch.outputs]
    if starts:
        for tensor in starts:
            if isinstance(tensor, gs.Constant):
                raise ForgeError(
                    f"{tensor.name!r} is a constant, and no input can be made of it",
                    "name another tensor",
                )
            if tensor.shape is None:
                raise ForgeError(
                    f"the shape of {tensor.name!r} is not known", "fold the model first"
                )
            tensor.inputs.clear()
            tensor.dtype = tensor.dtype or np.float32
        reached = {id(each) for each in _upstream_inputs(ends or graph.outputs)}
        kept = [
            each
            for each in graph.inputs
            if id(each) in reached and all(each is not start for start in starts)
        ]
        graph.inputs = [*starts, *kept]
    if ends:
        for tensor in ends:
            tensor.dtype = tensor.dtype or np.float32
        graph.outputs = ends


def _upstream_inputs(tensors: Iterable[gs.Tensor]) -> list[gs.Tensor]:
    """Return the tensors without a producer that `tensors` depend on."""
    found, seen, pending = [], set(), list(tensors)
    while pending:
        tensor = pending.pop()
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        if tensor.inputs:
            pending += tensor.inputs[0].inputs
        else:
            found.append(tensor)
    return found


def _output(graph: gs.Graph, patch: Output) -> None:
    tensor = _tensor(graph, patch.tensor)
    if any(tensor is output for output in graph.outputs):
        raise ForgeError(f"{patch.tensor!r} is an output already", "drop the patch")
    if isinstance(tensor, gs.Constant) or not tensor.inputs:
        raise ForgeError(
            f"{patch.tensor!r} is an input or a constant", "name a tensor that a node computes"
        )
    tensor.dtype = tensor.dtype or np.float32
    graph.outputs.append(tensor)


def _dims(graph: gs.Graph, patch: Dims) -> None:
    tensor = _tensor(graph, patch.tensor)
    if not any(tensor is each for each in [*graph.inputs, *graph.outputs]):
        raise ForgeError(
            f"{patch.tensor!r} is neither input nor output", "dimensions inside follow from those"
        )
    if tensor.shape is not None and len(tensor.shape) != len(patch.dims):
        raise ForgeError(
            f"{patch.tensor!r} has {len(tensor.shape)} dimensions, not {len(patch.dims)}", ""
        )
    for inner in graph.tensors().values():  # they are inferred afresh
        if not isinstance(inner, gs.Constant) and all(
            inner is not each for each in [*graph.inputs, *graph.outputs]
        ):
            inner.shape = None
    tensor.shape = list(patch.dims)


_APPLY: dict[type, Any] = {
    Rename: _rename,
    Delete: _delete,
    Constant: _constant,
    Cast: _cast,
    Cut: _cut,
    Output: _output,
    Dims: _dims,
}
