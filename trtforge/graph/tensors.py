"""Read what is known about a tensor of a graph: its values, and the sides of its shape."""

from __future__ import annotations

from typing import Any

import onnx_graphsurgeon as gs
from numpy.typing import NDArray

Array = NDArray[Any]  # a constant may hold numbers of any type


def values_of(tensor: gs.Tensor) -> Array:
    """Return the values of a tensor that must be a constant.

    Raises:
        TypeError: it is not a constant: the caller has not asked before.
    """
    if not isinstance(tensor, gs.Constant):
        raise TypeError(f"{tensor.name} is not a constant")
    return tensor.values


def sides(tensor: gs.Tensor) -> list[int | str | None]:
    """Return the sides of a shape: names where dynamic; none where the shape is unknown."""
    return list(tensor.shape or ())


def fixed_shape(tensor: gs.Tensor) -> list[int]:
    """Return the shape of a tensor without dynamic sides.

    Raises:
        TypeError: a side is dynamic or unknown: the caller has not asked before.
    """
    sides = [side for side in tensor.shape or () if isinstance(side, int)]
    if tensor.shape is None or len(sides) < len(tensor.shape):
        raise TypeError(f"{tensor.name} has a dynamic shape")
    return sides
