"""What a model returns, as ONNX can say it: tensors in a row, each with a name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trtforge.errors import ForgeError
from trtforge.exporting.blame import first_line, user_line
from trtforge.exporting.inputs import NAME


def run(module: nn.Module, images: np.ndarray) -> Any:
    """What PyTorch returns for float32 images (N, C, H, W).

    Raises:
        ForgeError: the model fails on them.
    """
    try:
        with torch.no_grad():
            return module(torch.from_numpy(images))
    except Exception as error:  # the user's own code: anything can come
        shape = "x".join(map(str, images.shape))
        raise ForgeError(
            f"PyTorch fails on images of {shape}: {first_line(error)}{user_line(error)}",
            "give --size and --batch as the model wants them, and --dynamic only for what may change",
        ) from error


def infer(module: nn.Module, names: Sequence[str], images: np.ndarray) -> dict[str, np.ndarray]:
    """PyTorch's outputs of these names.

    Raises:
        ForgeError: the model fails on the images, or returns something else than tensors.
    """
    tensors = flatten(run(module, images))
    return {name: tensors[name].numpy() for name in names}


def select_outputs(result: Any, wanted: Sequence[str]) -> list[str]:
    """Names of the outputs to keep: those wanted, in the model's order, or all without any.

    Raises:
        ForgeError: the model has no such output.
    """
    names = list(flatten(result))
    for name in wanted:
        if name not in names:
            raise ForgeError(
                f"--output {name}: the model has no such output", f"it has: {', '.join(names)}"
            )
    return [name for name in names if name in wanted] if wanted else names


def flatten(result: Any) -> dict[str, Tensor]:
    """The tensors of a model's result by name, in order.

    In a dict they are called after their keys, otherwise ``output0``, ``output1`` ... as most
    detectors' exports have it. None is left out.

    Raises:
        ForgeError: there is something else than tensors in it, or nothing.
    """
    found: dict[str, Tensor] = {}
    for keys, tensor in _leaves(result, ()):
        name = (
            "_".join(map(str, keys))
            if any(isinstance(key, str) for key in keys)
            else f"output{len(found)}"
        )
        while name in found or name == NAME:
            name += "_"
        found[name] = tensor
    if not found:
        raise ForgeError(
            "the model returns no tensor",
            "let its forward() return what to detect or classify with",
        )
    return found


def _leaves(
    result: Any, keys: tuple[str | int, ...]
) -> Iterator[tuple[tuple[str | int, ...], Tensor]]:
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
            f"the model returns {type(result).__name__}, where ONNX knows only tensors",
            "let its forward() return tensors, alone or in tuples, lists and dicts",
        )


class Flat(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """A model whose result is a tuple of tensors, whatever it was before."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.training = model.training  # exporters put this mode back, in the model as well

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(flatten(self.model(images)).values())


def with_flat_outputs(module: nn.Module, result: Any) -> nn.Module:
    """``module``, wrapped only if its result is more than tensors in a row: the graph keeps the
    model's own names.
    """
    row = result if isinstance(result, tuple) else (result,)
    return module if all(isinstance(each, Tensor) for each in row) else Flat(module)
