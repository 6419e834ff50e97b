"""Checkpoints: which of their tensors are the weights, and whether they fit."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trtforge import present
from trtforge.errors import ForgeError
from trtforge.exporting.blame import first_line

# Where training scripts keep what is to be deployed, the average of the weights first: its accuracy
# is what they print.
HOLDERS = (
    "ema",
    "state_dict_ema",
    "model_ema",
    "state_dict",
    "model_state_dict",
    "model",
    "module",
)
# What DataParallel, torch.compile and Lightning put before every name.
PREFIXES = ("module.", "_orig_mod.", "model.")
SHOWN = 3  # names in a message


def load_into(module: nn.Module, path: Path, trusted: bool) -> str:
    """Load a checkpoint into ``module``; every name and every shape has to match.

    The checkpoint is a state dict, or a dict that holds one (or, trusted, a model) under one of
    ``HOLDERS``. A prefix that every name has, and the model has not, is dropped.

    Args:
        trusted: the checkpoint may run code.

    Returns:
        What was loaded, in a line.

    Raises:
        ForgeError: it is missing, damaged, has to be trusted first, or does not fit.
    """
    if not path.is_file():
        raise ForgeError(f"{path}: no such file", "give the checkpoint with --weights")
    state, where = _state(_read(path, trusted), path)
    wanted = module.state_dict()
    state, dropped = _without_prefixes(state, wanted)
    _same(state, wanted, path)
    module.load_state_dict(state)
    inside = f" under {'.'.join(map(repr, where))}" if where else ""
    return f"weights: {len(state)} tensors{inside} of {path}" + (
        f", without the prefix {dropped!r}" if dropped else ""
    )


def _read(path: Path, trusted: bool) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"(?:GLOBAL|global) ([\w.]+)", str(error))
        if not found:
            raise ForgeError(
                f"{path}: not a checkpoint of torch.save, or cut short", "save it again"
            ) from error
        if not trusted:
            raise ForgeError(
                f"{path}: holds more than tensors ({found[1]}), and unpickling that runs code of the file's choice",
                "save its state_dict() where you trust it; or --trust-pickle, if you made the file",
            ) from error
    except Exception as error:  # RuntimeError, EOFError, KeyError ...: whatever the damage leads to
        raise ForgeError(
            f"{path}: not a checkpoint of torch.save, or cut short: {first_line(error)}",
            "save it again",
        ) from error
    present.note(
        f"warning: unpickling {path} as --trust-pickle says: a pickle can run any code as you"
    )
    try:
        return torch.load(path, map_location="cpu", weights_only=False)
    except Exception as error:  # its own classes: anything can come
        raise ForgeError(
            f"{path}: can't be unpickled: {first_line(error)}",
            "run where its classes can be imported",
        ) from error


def _state(content: Any, path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """The state dict in a checkpoint, and the keys that lead to it."""
    where: list[str] = []
    while True:
        if isinstance(content, nn.Module):
            content = content.float().state_dict()
        if (
            isinstance(content, Mapping)
            and content
            and all(isinstance(value, Tensor) for value in content.values())
        ):
            return dict(content), where
        holder = next(
            (
                key
                for key in HOLDERS
                if isinstance(content, Mapping) and content.get(key) is not None
            ),
            None,
        )
        if holder is None:
            keys = (
                ", ".join(map(str, content))
                if isinstance(content, Mapping)
                else type(content).__name__
            )
            raise ForgeError(
                f"{path}: no weights found in it; it holds: {keys[:200] or 'nothing'}",
                f"save the state dict alone, or under one of: {', '.join(HOLDERS)}",
            )
        where.append(holder)
        content = content[holder]


def _without_prefixes(
    state: dict[str, Tensor], wanted: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], str]:
    dropped = ""
    while not state.keys() & wanted.keys():
        prefix = next(
            (each for each in PREFIXES if all(name.startswith(each) for name in state)), None
        )
        if prefix is None:
            break
        state = {name.removeprefix(prefix): value for name, value in state.items()}
        dropped += prefix
    return state, dropped


def _same(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: Path) -> None:
    missing = [name for name in wanted if name not in state]
    unknown = [name for name in state if name not in wanted]
    shapes = [
        f"{name} {tuple(state[name].shape)}, not {tuple(value.shape)}"
        for name, value in wanted.items()
        if name in state and state[name].shape != value.shape
    ]
    problems = [
        f"{what} {_some(names)}"
        for what, names in (
            ("it lacks", missing),
            ("the model lacks", unknown),
            ("shapes differ:", shapes),
        )
        if names
    ]
    if problems:
        raise ForgeError(
            f"{path}: does not fit the model: {'; '.join(problems)}",
            "build the model with the arguments it was trained with (--kwargs)",
        )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
