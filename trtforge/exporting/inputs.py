"""The images that a model is exported for and compared on: how large, and what of it may change."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from trtforge.errors import ForgeError

# what most detectors' exports call it; trtforge and TensorRT go by whatever name there is
NAME = "images"
AXES = {"batch": 0, "height": 2, "width": 3}
CHANNELS = 3
TRACED_BATCH = 2  # a dynamic axis of one is an axis of one to much code
UNLIMITED = 2**31 - 1
# How much larger a dynamic axis is the second time: other for height and width, so that no mix-up
# goes unseen, and multiples of the coarsest stride there is (64).
STEPS = {"batch": 1, "height": 64, "width": 128}


@dataclass(frozen=True)
class Images:
    """Float32 images in 0..1.

    Attributes:
        shape: (N, C, H, W) of the example that is traced.
        other: a second shape, different in every dynamic axis; the same without any.
        dynamic: names of the dynamic axes.
    """

    shape: tuple[int, ...]
    other: tuple[int, ...]
    dynamic: tuple[str, ...]

    @property
    def axes(self) -> dict[int, str]:
        return {AXES[name]: name for name in self.dynamic}

    @property
    def checked(self) -> list[tuple[int, ...]]:
        """The shapes to compare on: with a dynamic batch, one image alone and one more than were
        traced.
        """
        first = (1, *self.shape[1:]) if "batch" in self.dynamic else self.shape
        return list(dict.fromkeys((first, self.other)))


def from_options(batch: int | None, size: tuple[int, int], dynamic: tuple[str, ...]) -> Images:
    """The images that the options describe; a dynamic batch is traced with two images, where none
    says how many.
    """
    shape = (batch or (TRACED_BATCH if "batch" in dynamic else 1), CHANNELS, *size)
    return Images(shape, _other(shape, dynamic), dynamic)


def from_program(
    program: torch.export.ExportedProgram,
    batch: int | None,
    size: tuple[int, int] | None,
    dynamic: tuple[str, ...],
) -> Images:
    """The images that an exported program was made for: it alone says what may change.

    Raises:
        ForgeError: it takes something else than one batch of images, or the options contradict it.
    """
    names = program.graph_signature.user_inputs
    found = [
        node.meta["val"]
        for node in program.graph.nodes
        if node.op == "placeholder" and node.name in names
    ]
    if len(found) != 1 or not isinstance(found[0], torch.Tensor) or found[0].ndim != 4:
        kinds = ", ".join(
            str(tuple(each.shape)) if isinstance(each, torch.Tensor) else type(each).__name__
            for each in found
        )
        raise ForgeError(
            f"the program takes {kinds or 'nothing'}, not one batch of images (N, C, H, W)",
            "export it again with torch.export for images alone",
        )
    dims = found[0].shape
    free = tuple(name for name, axis in AXES.items() if not isinstance(dims[axis], int))
    least, most = _limits(program, dims)
    wanted = {"batch": batch, "height": size and size[0], "width": size and size[1]}
    for name, value in wanted.items():
        axis = AXES[name]
        if value and not least[axis] <= value <= most[axis]:
            allows = least[axis] if name not in free else f"{least[axis]} to {most[axis]}"
            raise ForgeError(
                f"the program was exported for {name} {allows}, not {value}",
                "drop the option, or export the program again",
            )
        if name in dynamic and name not in free:
            raise ForgeError(
                f"the program was exported with a fixed {name} of {dims[axis]}",
                f"drop --dynamic {name}, or export the program with a dynamic one",
            )
    traced = [dim if isinstance(dim, int) else int(dim.node.hint) for dim in dims]
    for name in free:
        traced[AXES[name]] = wanted[name] or traced[AXES[name]]
    shape = tuple(traced)
    return Images(shape, tuple(map(min, _other(shape, free), most)), free)


def _other(shape: tuple[int, ...], dynamic: tuple[str, ...]) -> tuple[int, ...]:
    steps = {AXES[name]: STEPS[name] for name in dynamic}
    return tuple(dim + steps.get(axis, 0) for axis, dim in enumerate(shape))


def _limits(program: torch.export.ExportedProgram, dims: torch.Size) -> tuple[list[int], list[int]]:
    """The least and the largest size of each axis; what an expression (32 * s) allows, PyTorch
    says.
    """
    least, most = [], []
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


def random_images(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Images of noise, float32 in 0..1."""
    return np.random.default_rng(seed).random(shape, np.float32)
