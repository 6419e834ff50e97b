"""Nodes that do nothing are cut away, and runs of nodes that only move values become one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from trtforge.graph.edit.rewire import Scope, bypass, constant, producer, scope, standard, sweep
from trtforge.graph.shapes import Shape, Shapes
from trtforge.graph.symbols import Dim

RESHAPES = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")
NEUTRAL = {"Add": 0, "Sub": 0, "Mul": 1, "Div": 1, "Pow": 1}


def prune(graph: gs.Graph, shapes: Shapes) -> bool:
    """Cut away no-operations and join runs, in place; whether there were any."""
    found = scope(graph, shapes)
    changed = False
    for node in graph.nodes:
        if not standard(node):
            continue
        same = _unchanged(node, shapes)
        if same is not None and bypass(node, same, found.keep):
            changed = True
        elif node.op in _JOINS:
            changed |= _JOINS[node.op](node, found)
    sweep(graph)
    return changed


# --------------------------------------------------------------------------------------------------
# no-operations


def _unchanged(node: gs.Node, shapes: Shapes) -> gs.Tensor | None:
    """Return the input that a node hands out unchanged; None where the node does something."""
    if node.op in NEUTRAL:
        return _neutral(node, shapes)
    rule = _NO_OPS.get(node.op)
    return node.inputs[0] if rule and rule(node, shapes) else None


def _neutral(node: gs.Node, shapes: Shapes) -> gs.Tensor | None:
    """x + 0, x * 1 and their like, where the constant does not widen the shape of x."""
    for index in (1, 0) if node.op in ("Add", "Mul") else (1,):
        values, other = constant(node, index), node.inputs[1 - index]
        if (
            values is not None
            and bool((values == NEUTRAL[node.op]).all())
            and _same_shape(other, node, shapes)
        ):
            return other
    return None


def _same_shape(tensor: gs.Tensor, node: gs.Node, shapes: Shapes) -> bool:
    shape = shapes.shape.get(tensor.name)
    return shape is not None and shape == shapes.shape.get(node.outputs[0].name)


def _keeps_shape(node: gs.Node, shapes: Shapes) -> bool:
    return _same_shape(node.inputs[0], node, shapes)


def _dropout(node: gs.Node, shapes: Shapes) -> bool:
    training = constant(node, 2)
    inference = (
        len(node.inputs) < 3
        or node.inputs[2].is_empty()
        or (training is not None and not training.any())
    )
    return inference and not any(mask.outputs for mask in node.outputs[1:])


def _slice(node: gs.Node, shapes: Shapes) -> bool:
    steps = constant(node, 4)
    forward = len(node.inputs) < 5 or (steps is not None and bool((steps == 1).all()))
    return forward and _keeps_shape(node, shapes)


def _resize(node: gs.Node, shapes: Shapes) -> bool:
    scales = constant(node, 2)
    by_scales = scales is not None and scales.size > 0
    return (
        node.attrs.get("coordinate_transformation_mode") != "tf_crop_and_resize"
        and "axes" not in node.attrs
        and (
            bool((scales == 1).all())
            if by_scales and scales is not None
            else _keeps_shape(node, shapes)
        )
    )


def _pool(node: gs.Node, shapes: Shapes) -> bool:
    ones = [
        value == 1
        for name in ("kernel_shape", "strides")
        for value in node.attrs.get(name, list[int]())
    ]
    return (
        all(ones)
        and not any(node.attrs.get("pads", []))
        and len(node.outputs) == 1
        and _keeps_shape(node, shapes)
    )


_NO_OPS: dict[str, Callable[[gs.Node, Shapes], bool]] = {
    "Identity": lambda node, shapes: True,
    "Dropout": _dropout,
    "Cast": lambda node, shapes: (
        shapes.dtype.get(node.inputs[0].name) == shapes.dtype.get(node.outputs[0].name, -1)
    ),
    "Transpose": lambda node, shapes: (
        node.attrs.get("perm") == sorted(node.attrs.get("perm", [1, 0]))
    ),
    "Concat": lambda node, shapes: len(node.inputs) == 1,
    "Sum": lambda node, shapes: len(node.inputs) == 1,
    "Max": lambda node, shapes: len(node.inputs) == 1,
    "Min": lambda node, shapes: len(node.inputs) == 1,
    "Split": lambda node, shapes: len(node.outputs) == 1,
    "Pad": lambda node, shapes: (pads := constant(node, 1)) is not None and not pads.any(),
    "Slice": _slice,
    "Resize": _resize,
    "MaxPool": _pool,
    "AveragePool": _pool,
    **dict.fromkeys((*RESHAPES, "Expand", "Tile"), _keeps_shape),
}

# ------------------------------------------------------------------------------------------------------------
# runs


def _join_reshape(node: gs.Node, scope: Scope) -> bool:
    """Join a run of Reshapes, and put numbers in place of a shape that is read from a tensor.

    Exporters read the batch size out of the tensor, five nodes a Reshape: 0 copies it, and -1 is
    what is left.
    """
    first = producer(node.inputs[0], *RESHAPES)
    alone = first is not None and scope.private(first.outputs[0])
    source = first.inputs[0] if first is not None and alone else node.inputs[0]
    settled = node.op != "Reshape" or isinstance(node.inputs[1], gs.Constant)
    if settled and source is node.inputs[0]:
        return False
    want = scope.shapes.shape.get(node.outputs[0].name)
    spec = _spec(scope.shapes.shape.get(source.name), want)
    if want is None or spec is None or not _has_rest(want, spec, scope.shapes.counts):
        return False
    wanted = scope.constant(f"{node.outputs[0].name}.shape", np.array(spec, np.int64))
    node.op, node.attrs, node.inputs = "Reshape", {}, [source, wanted]
    return True


def _spec(have: Shape | None, want: Shape | None) -> list[int] | None:
    """Return the shape input of a Reshape from one shape to another; None if none can say it."""
    if have is None or want is None or 0 in want:
        return None
    spec = [size if isinstance(size, int) else -1 for size in want]
    for axis, size in enumerate(want):
        if spec.count(-1) > 1 and isinstance(size, Dim) and axis < len(have) and have[axis] == size:
            spec[axis] = 0
    return spec if spec.count(-1) <= 1 else None


def _has_rest(want: Shape, spec: list[int], counts: set[str]) -> bool:
    """Tell whether -1 can be computed: never, where another dimension is 0 because nothing was found."""
    if -1 not in spec:
        return True
    others = [size for size, number in zip(want, spec, strict=True) if number != -1]
    return all(isinstance(size, int) or not set(size.names) & counts for size in others)


def _join_transpose(node: gs.Node, scope: Scope) -> bool:
    first = producer(node.inputs[0], "Transpose")
    if first is None or "perm" not in first.attrs or "perm" not in node.attrs:
        return False
    perm = [first.attrs["perm"][axis] for axis in node.attrs["perm"]]
    if perm != sorted(perm) and not scope.private(first.outputs[0]):
        return False
    node.attrs["perm"] = perm
    node.inputs[0] = first.inputs[0]
    return True


def _join_cast(node: gs.Node, scope: Scope) -> bool:
    """Join Cast(Cast(x)) into one Cast where the first loses nothing."""
    first = producer(node.inputs[0], "Cast")
    if first is None or not _lossless(
        *(scope.shapes.dtype.get(t.name) for t in (first.inputs[0], first.outputs[0]))
    ):
        return False
    node.inputs[0] = first.inputs[0]
    return True


def _lossless(narrow: int | None, wide: int | None) -> bool:
    if narrow is None or wide is None:
        return False
    one, other = (onnx.helper.tensor_dtype_to_np_dtype(kind) for kind in (narrow, wide))
    if (
        "bfloat" in one.name
        or "bfloat" in other.name
        or one.kind not in "biuf"
        or other.kind not in "biuf"
    ):
        return False
    exact = one.itemsize < 8 or other.kind != "f"  # NumPy calls int64 to float64 safe
    return exact and bool(np.can_cast(one, other, "safe"))


def _join_concat(node: gs.Node, scope: Scope) -> bool:
    """Join Concats of Concats along the same axis."""
    rank = len(scope.shapes.shape.get(node.outputs[0].name, ()))
    if not rank:
        return False
    inputs: list[Any] = []
    for tensor in node.inputs:
        inner = producer(tensor, "Concat")
        joins = (
            inner is not None
            and (inner.attrs["axis"] - node.attrs["axis"]) % rank == 0
            and scope.private(tensor)
        )
        inputs += list(inner.inputs) if inner is not None and joins else [tensor]
    if len(inputs) == len(node.inputs):
        return False
    node.inputs = inputs
    return True


_JOINS: dict[str, Callable[[gs.Node, Scope], bool]] = {
    **dict.fromkeys(RESHAPES, _join_reshape),
    "Transpose": _join_transpose,
    "Cast": _join_cast,
    "Concat": _join_concat,
}
