"""Compute with integer tensors whose elements are numbers or named sizes.

An element is an int, a Dim, or None where it is unknown. Arrays of them are NumPy object arrays, so
that every operator that only moves values is NumPy's own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Union, cast

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

INT64 = 2**63


@dataclass(frozen=True)
class Dim:
    """``factor`` times the product of named sizes, which are not negative: ``3*batch``."""

    factor: int
    names: tuple[str, ...]

    def __str__(self) -> str:
        return "*".join(([str(self.factor)] if self.factor != 1 else []) + list(self.names))


Size = Union[int, Dim]
Element = Union[int, Dim, None]


def named(name: str) -> Dim:
    return Dim(1, (name,))


def multiply(one: Element, other: Element) -> Element:
    if 0 in (one, other):
        return 0
    if one is None or other is None:
        return None
    if isinstance(one, Dim) or isinstance(other, Dim):
        (f, names), (g, more) = _parts(one), _parts(other)
        return Dim(f * g, tuple(sorted(names + more)))
    return one * other


def divide(one: Element, other: Element) -> Element:
    """ONNX's Div of integers, which truncates; None unless it is known to leave no rest."""
    if one is None or other is None or other == 0:
        return None
    (f, names), (g, under) = _parts(one), _parts(other)
    if not names and not under:
        return abs(f) // abs(g) * (1 if f * g >= 0 else -1)
    if f % g or Counter(under) - Counter(names):
        return None
    left = tuple(sorted((Counter(names) - Counter(under)).elements()))
    return Dim(f // g, left) if left else f // g


def add(one: Element, other: Element) -> Element:
    if one is None or other is None:
        return None
    if one == 0 or other == 0:
        return other if one == 0 else one
    (f, names), (g, more) = _parts(one), _parts(other)
    if names != more:
        return None
    return Dim(f + g, names) if names and f + g else f + g


def equal(one: Element, other: Element) -> bool | None:
    """Compare two elements; None where the sizes decide it."""
    if one is None or other is None:
        return None
    if one == other:
        return True
    (f, names), (g, more) = _parts(one), _parts(other)
    if not names and not more:
        return False
    return False if f * g < 0 else None  # sizes are not negative: 3*batch is never -1


def product(sizes: Iterable[Element]) -> Element:
    found: Element = 1
    for size in sizes:
        found = multiply(found, size)
    return found


def _parts(size: Size) -> tuple[int, tuple[str, ...]]:
    return (size.factor, size.names) if isinstance(size, Dim) else (int(size), ())


# ------------------------------------------------------------------------------------------------
# operators

Array = NDArray[np.object_]  # of elements: numbers, and sizes with names
# What a rule reads. An unknown input is None: a rule that needs it fails, and ``evaluate`` says None.
Inputs = list[Array]


def evaluate(node: gs.Node, inputs: list[Array | None]) -> Array | None:
    """Return the elements of a node's first output; None where they can't be known.

    Args:
        inputs: elements of every input, None for a tensor that is unknown or left out.
    """
    rule = _RULES.get(node.op)
    if rule is None or not inputs or inputs[0] is None or node.domain not in (None, "", "ai.onnx"):
        return None
    try:
        found = rule(node, cast("Inputs", inputs))
    except (TypeError, ValueError, IndexError, AttributeError):
        # The rule needs numbers where the inputs have unknown elements.
        return None
    return found if found is None or _fits(found) else None


def numbers(array: Array | None) -> list[int] | None:
    """Return the elements as a list, if all are known numbers."""
    if array is None or not all(isinstance(each, int) for each in array.flat):
        return None
    return [int(each) for each in array.flat]


def attribute_or_input(
    node: gs.Node, name: str, inputs: Sequence[Array | None], index: int
) -> list[int] | None:
    """Return axes and the like: an attribute in old opsets, an input in new ones; None without.

    Raises:
        ValueError: the input is there, and unknown.
    """
    if name in node.attrs:
        return [int(value) for value in np.ravel(node.attrs[name])]
    if len(node.inputs) <= index or node.inputs[index].is_empty():
        return None
    found = numbers(inputs[index])
    if found is None:
        raise ValueError(name)
    return found


def _fits(array: Array) -> bool:
    return all(not isinstance(each, int) or -INT64 <= each < INT64 for each in array.flat)


def _gather(node: gs.Node, inputs: Inputs) -> Array:
    return _objects(np.take(inputs[0], inputs[1].astype(np.int64), axis=node.attrs.get("axis", 0)))


def _slice(node: gs.Node, inputs: Inputs) -> Array:
    starts = attribute_or_input(node, "starts", inputs, 1) or []
    ends = attribute_or_input(node, "ends", inputs, 2) or []
    axes = attribute_or_input(node, "axes", inputs, 3) or list(range(len(starts)))
    steps = attribute_or_input(node, "steps", inputs, 4) or [1] * len(starts)
    values = inputs[0]
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        size = values.shape[axis]
        low, high = (-1, size - 1) if step < 0 else (0, size)
        bounds = [
            min(max(value + size if value < 0 else value, low), high) for value in (start, end)
        ]
        indices = range(bounds[0], bounds[1], step)
        values = np.take(values, list(indices), axis=axis)
    return _objects(values)


def _unsqueeze(node: gs.Node, inputs: Inputs) -> Array:
    return np.expand_dims(inputs[0], tuple(attribute_or_input(node, "axes", inputs, 1) or ()))


def _squeeze(node: gs.Node, inputs: Inputs) -> Array:
    axes = attribute_or_input(node, "axes", inputs, 1)
    return _objects(np.squeeze(inputs[0], None if axes is None else tuple(axes)))


def _reshape(node: gs.Node, inputs: Inputs) -> Array | None:
    wanted = numbers(inputs[1])
    if wanted is None:
        return None
    return inputs[0].reshape(
        [inputs[0].shape[i] if dim == 0 else dim for i, dim in enumerate(wanted)]
    )


def _expand(node: gs.Node, inputs: Inputs) -> Array | None:
    wanted = numbers(inputs[1])
    return (
        None
        if wanted is None
        else np.broadcast_to(inputs[0], np.broadcast_shapes(inputs[0].shape, tuple(wanted)))
    )


def _cast(node: gs.Node, inputs: Inputs) -> Array | None:
    to = node.attrs["to"]
    kind = np.dtype(to) if not isinstance(to, int) else np.dtype(_NUMPY.get(to, np.float32))
    if kind == np.bool_:
        # Whether a named size is zero is not known.
        return _each(
            lambda value: None if value is None or isinstance(value, Dim) else bool(value)
        )(inputs[0])
    if kind not in (np.int64, np.int32):
        return None
    return _each(lambda value: int(value) if isinstance(value, bool) else value)(inputs[0])


def _where(node: gs.Node, inputs: Inputs) -> Array:
    def pick(which: object, yes: object, no: object) -> object:
        if which is True:
            return yes
        return no if which is False else None

    return _objects(np.frompyfunc(pick, 3, 1)(*inputs))


def _constant_of_shape(node: gs.Node, inputs: Inputs) -> Array | None:
    shape = numbers(inputs[0])
    value = np.ravel(node.attrs["value"].values)[0] if "value" in node.attrs else np.float32(0)
    if shape is None or not np.issubdtype(value.dtype, np.integer) or np.prod(shape) > LARGEST:
        return None
    return _objects(np.full(shape, int(value), object))


def _range(node: gs.Node, inputs: Inputs) -> Array | None:
    start, limit, delta = (numbers(each) for each in inputs)
    if (
        not start
        or not limit
        or not delta
        or not delta[0]
        or abs((limit[0] - start[0]) // delta[0]) > LARGEST
    ):
        return None
    return _objects(np.array([*range(start[0], limit[0], delta[0])], object))


def _reduce_prod(node: gs.Node, inputs: Inputs) -> Array | None:
    axes = attribute_or_input(node, "axes", inputs, 1)
    if inputs[0].ndim != 1 or axes not in (None, [0], [-1]):
        return None
    return np.full((1,) if node.attrs.get("keepdims", 1) else (), product(inputs[0]), object)


def _objects(array: NDArray[Any] | object) -> Array:
    """NumPy hands out bare elements where an object array of rank 0 is meant."""
    if isinstance(array, np.ndarray) and array.dtype == object:
        return array
    elements: Array = np.empty(array.shape if isinstance(array, np.ndarray) else (), np.object_)
    elements[()] = array
    return elements


def _each(rule: Callable[..., object]) -> Callable[..., Array]:
    return lambda *arrays: _objects(np.frompyfunc(rule, len(arrays), 1)(*arrays))


def _elementwise(rule: Callable[..., object]) -> Callable[[gs.Node, Inputs], Array]:
    return lambda node, inputs: _each(rule)(*inputs)


def _number(rule: Callable[[int, int], object]) -> Callable[[Element, Element], object]:
    return lambda one, other: (
        rule(one, other) if isinstance(one, int) and isinstance(other, int) else None
    )


_NUMPY = {6: np.int32, 7: np.int64, 9: np.bool_}  # TensorProto.DataType
LARGEST = 1024  # elements; larger tensors hold data, not shapes

_RULES: dict[str, Callable[[gs.Node, Inputs], Array | None]] = {
    "Identity": lambda node, inputs: inputs[0],
    "Cast": _cast,
    "Gather": _gather,
    "Slice": _slice,
    "Concat": lambda node, inputs: np.concatenate(inputs, axis=node.attrs["axis"]),
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Reshape": _reshape,
    "Expand": _expand,
    "Transpose": lambda node, inputs: np.transpose(inputs[0], node.attrs.get("perm")),
    "ConstantOfShape": _constant_of_shape,
    "Range": _range,
    "ReduceProd": _reduce_prod,
    "Where": _where,
    "Add": _elementwise(add),
    "Sub": _elementwise(lambda one, other: add(one, multiply(-1, other))),
    "Mul": _elementwise(multiply),
    "Div": _elementwise(divide),
    "Neg": _elementwise(lambda value: multiply(-1, value)),
    "Equal": _elementwise(equal),
    "Not": _elementwise(lambda value: not value if isinstance(value, bool) else None),
    "Less": _elementwise(_number(lambda one, other: one < other)),
    "Greater": _elementwise(_number(lambda one, other: one > other)),
    "Min": _elementwise(_number(min)),
    "Max": _elementwise(_number(max)),
}
