"""Describe the images for which a model is exported: their shape, and which axes may change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from trtforge.errors import ForgeError

NAME = "images"  # of the input, as in most exports of detectors; trtforge takes any name
AXES = {"batch": 0, "height": 2, "width": 3}
CHANNELS = 3
TRACED_BATCH = 2  # much code treats an axis of size 1 as constant, even if it is dynamic
UNLIMITED = 2**31 - 1  # PyTorch's largest size of an axis
# How much larger a dynamic axis is in the second comparison. Height and width differ, so that mixed
# up axes are noticed; both are multiples of the largest stride of detectors, 64.
STEPS = {"batch": 1, "height": 64, "width": 128}


@dataclass(frozen=True)
class Images:
    """Float32 images in 0..1.

    Attributes:
        shape: (N, C, H, W) of the example that is traced.
        other: a second shape, different in every dynamic axis; equal without dynamic axes.
        dynamic: names of the dynamic axes.
    """

    shape: tuple[int, ...]
    other: tuple[int, ...]
    dynamic: tuple[str, ...]

    @property
    def axes(self) -> dict[int, str]:
        """Name of each dynamic axis by its index."""
        return {AXES[name]: name for name in self.dynamic}

    @property
    def checked(self) -> list[tuple[int, ...]]:
        """The shapes to compare on; with a dynamic batch, one of them is a single image."""
        first = (1, *self.shape[1:]) if "batch" in self.dynamic else self.shape
        return list(dict.fromkeys((first, self.other)))


def from_options(batch: int | None, size: tuple[int, int], dynamic: tuple[str, ...]) -> Images:
    """Return the images that the options describe.

    A dynamic batch is traced with two images, if ``batch`` is None.
    """
    default = TRACED_BATCH if "batch" in dynamic else 1
    shape = (batch or default, CHANNELS, *size)
    return Images(shape, _other(shape, dynamic), dynamic)


def from_program(
    program: torch.export.ExportedProgram,
    batch: int | None,
    size: tuple[int, int] | None,
    dynamic: tuple[str, ...],
) -> Images:
    """Return the images for which an exported program was made: it decides what may change.

    Raises:
        ForgeError: the program takes something other than one batch of images, or the options
            contradict it.
    """
    dims = _input_dims(program)
    free = tuple(name for name, axis in AXES.items() if not isinstance(dims[axis], int))
    least, most = _limits(program, dims)
    height, width = size or (None, None)
    requested = {"batch": batch, "height": height, "width": width}
    for name, value in requested.items():
        axis = AXES[name]
        if value and not least[axis] <= value <= most[axis]:
            limits = f"{least[axis]} to {most[axis]}" if name in free else f"{least[axis]}"
            raise ForgeError(
                f"the program was exported for {name} {limits}, not {value}",
                "drop the option, or export the program again",
            )
        if name in dynamic and name not in free:
            raise ForgeError(
                f"the program was exported with a fixed {name} of {dims[axis]}",
                f"drop --dynamic {name}, or export the program with a dynamic one",
            )
    traced = [dim if isinstance(dim, int) else int(dim.node.hint) for dim in dims]
    for name in free:
        traced[AXES[name]] = requested[name] or traced[AXES[name]]
    shape = tuple(traced)
    return Images(shape, tuple(map(min, _other(shape, free), most)), free)


def _input_dims(program: torch.export.ExportedProgram) -> Sequence[int | torch.SymInt]:
    """Return the dimensions (N, C, H, W) of the program's only input.

    Raises:
        ForgeError: the program takes something other than one batch of images.
    """
    names = program.graph_signature.user_inputs
    inputs = [
        node.meta["val"]
        for node in program.graph.nodes
        if node.op == "placeholder" and node.name in names
    ]
    if len(inputs) == 1 and isinstance(inputs[0], torch.Tensor) and inputs[0].ndim == 4:
        return inputs[0].shape
    kinds = [
        str(tuple(value.shape)) if isinstance(value, torch.Tensor) else type(value).__name__
        for value in inputs
    ]
    raise ForgeError(
        f"the program takes {', '.join(kinds) or 'nothing'}, not one batch of images (N, C, H, W)",
        "export it again with torch.export, with images as its only input",
    )


def _other(shape: tuple[int, ...], dynamic: tuple[str, ...]) -> tuple[int, ...]:
    steps = {AXES[name]: STEPS[name] for name in dynamic}
    return tuple(dim + steps.get(axis, 0) for axis, dim in enumerate(shape))


def _limits(
    program: torch.export.ExportedProgram, dims: Sequence[int | torch.SymInt]
) -> tuple[list[int], list[int]]:
    """Return the smallest and the largest size of each axis.

    For a size that is an expression, such as 32 * s, PyTorch knows the limits.
    """
    least: list[int] = []
    most: list[int] = []
    for dim in dims:
        if isinstance(dim, int):
            low = high = dim
        elif limits := program.range_constraints.get(dim.node.expr):
            low, high = int(limits.lower), int(min(limits.upper, UNLIMITED))
        else:
            low, high = 1, UNLIMITED
        least.append(low)
        most.append(high)
    return least, most


def random_images(shape: tuple[int, ...], seed: int) -> NDArray[np.float32]:
    """Return images of noise: float32 in 0..1."""
    return np.random.default_rng(seed).random(shape, np.float32)
