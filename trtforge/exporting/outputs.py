"""Turn what a model returns into named tensors in a row, the only form that ONNX has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trtforge.errors import ForgeError
from trtforge.exporting.blame import first_line, user_line
from trtforge.exporting.inputs import NAME


def run(module: nn.Module, images: NDArray[np.float32]) -> object:
    """Return what PyTorch computes for float32 images (N, C, H, W).

    Raises:
        ForgeError: the model fails on them.
    """
    try:
        with torch.no_grad():
            result: object = module(torch.from_numpy(images))
            return result
    except Exception as error:  # the user's code can raise any type
        shape = "x".join(map(str, images.shape))
        raise ForgeError(
            f"PyTorch fails on images of {shape}: {first_line(error)}{user_line(error)}",
            "give the --size and --batch that the model needs, and --dynamic only for what may change",
        ) from error


def infer(
    module: nn.Module, names: Sequence[str], images: NDArray[np.float32]
) -> dict[str, NDArray[np.generic]]:
    """Return PyTorch's outputs with these names.

    Raises:
        ForgeError: the model fails on the images, or returns something other than tensors.
    """
    tensors = flatten(run(module, images))
    return {name: tensors[name].numpy() for name in names}


def select_outputs(result: object, requested: Sequence[str]) -> list[str]:
    """Return the names of the outputs to keep, in the model's order; all if none are requested.

    Raises:
        ForgeError: the model has no such output.
    """
    names = list(flatten(result))
    for name in requested:
        if name not in names:
            raise ForgeError(
                f"--output {name}: the model has no such output", f"it has: {', '.join(names)}"
            )
    return [name for name in names if name in requested] if requested else names


def flatten(result: object) -> dict[str, Tensor]:
    """Return the tensors of a model's result by name, in order.

    Tensors in a dict are named after their keys; others are ``output0``, ``output1`` and so on, as
    in most exports of detectors. None in a result is left out.

    Raises:
        ForgeError: the result contains something other than tensors, or nothing.
    """
    tensors: dict[str, Tensor] = {}
    for keys, tensor in _leaves(result, ()):
        name = f"output{len(tensors)}"
        if any(isinstance(key, str) for key in keys):
            name = "_".join(map(str, keys))
        while name in tensors or name == NAME:
            name += "_"
        tensors[name] = tensor
    if not tensors:
        raise ForgeError(
            "the model returns no tensor",
            "change its forward() so that it returns the tensors to detect or classify with",
        )
    return tensors


def _leaves(
    result: object, keys: tuple[str | int, ...]
) -> Iterator[tuple[tuple[str | int, ...], Tensor]]:
    """Yield every tensor in a result, with the keys that lead to it."""
    if isinstance(result, Tensor):
        yield keys, result
    elif isinstance(result, Mapping):
        for key, value in result.items():
            yield from _leaves(value, (*keys, str(key)))
    elif isinstance(result, (list, tuple)):
        for number, value in enumerate(result):
            yield from _leaves(value, (*keys, number))
    elif result is not None:
        raise ForgeError(
            f"the model returns {type(result).__name__}, but ONNX has only tensors",
            "change its forward() so that it returns tensors, also in tuples, lists and dicts",
        )


class Flat(nn.Module):
    """A model whose result is a tuple of tensors, whatever the inner model returns."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        # Exporters restore this mode, and set it in the inner model as well.
        self.training = model.training

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the tensors of the inner model's result."""
        return tuple(flatten(self.model(images)).values())


def with_flat_outputs(module: nn.Module, result: object) -> nn.Module:
    """Return the model, wrapped if its result is more than tensors in a row.

    Without a wrapper, the graph keeps the model's own names.
    """
    row: tuple[object, ...] = result if isinstance(result, tuple) else (result,)
    return module if all(isinstance(part, Tensor) for part in row) else Flat(module)
