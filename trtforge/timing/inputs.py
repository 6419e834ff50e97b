"""Make the arrays that a network is timed on, of its inputs' shapes and datatypes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trtforge.errors import ForgeError

NUMPY = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(bool)": "bool",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
}
Shape = tuple[int, ...]


def shaped(name: str, dims: Sequence[Any], batch: int, size: tuple[int, int] | None) -> Shape:
    """Return the shape of an input at one batch size.

    Args:
        dims: whole numbers, or anything else where the dimension is dynamic; the first is the
            batch.
        size: height and width in pixels for dynamic images.

    Raises:
        ForgeError: the batch is fixed at another size, or a dynamic dimension is nobody's.
    """
    if not dims:
        return ()
    if _known(dims[0]) and dims[0] != batch:
        raise ForgeError(
            f"input {name!r} has a fixed batch of {dims[0]}, not {batch}",
            "drop --batch, or export the model with a dynamic batch",
        )
    spatial = dict(enumerate(size, 2)) if size and len(dims) == 4 else {}
    rest = [dim if _known(dim) else spatial.get(axis) for axis, dim in enumerate(dims[1:], 1)]
    if None in rest:
        raise ForgeError(
            f"input {name!r} has dynamic dimensions: {list(dims)}",
            "run `trtforge fold --size HxW` first",
        )
    return (batch, *(int(dim) for dim in rest if dim is not None))


def fixed_batch(dims: Sequence[Any]) -> int | None:
    """Return the batch that can't be changed, if there is one."""
    return int(dims[0]) if dims and _known(dims[0]) else None


def arrays(shapes: Mapping[str, Shape], dtypes: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Noise in 0..1 (whole numbers: zeros and ones), the same in every run."""
    rng = np.random.default_rng(0)
    return {
        name: rng.random(shape, np.float32)
        .round(0 if np.dtype(dtypes[name]).kind in "iub" else 7)
        .astype(dtypes[name])
        for name, shape in shapes.items()
    }


def _known(dim: Any) -> bool:
    return isinstance(dim, int) and dim > 0
