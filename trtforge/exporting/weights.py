"""Load checkpoints: find the weights in them, and check that they fit the model."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from trtforge import present
from trtforge.errors import ForgeError
from trtforge.exporting.blame import first_line

# The keys under which training scripts store the weights. The moving average (EMA) of the weights
# comes first: scripts print its accuracy.
HOLDERS = (
    *("ema", "state_dict_ema", "model_ema"),
    *("state_dict", "model_state_dict", "model", "module"),
)
# The prefixes that DataParallel, torch.compile and Lightning add to every name.
PREFIXES = ("module.", "_orig_mod.", "model.")
SHOWN = 3  # names in a message


def load_into(module: nn.Module, path: Path, trusted: bool) -> str:
    """Load a checkpoint into ``module``; all names and shapes must match.

    The checkpoint is a state dict, or a dict that contains a state dict (or a model, if it is
    trusted) under one of the keys ``HOLDERS``. A prefix that every name has, and that the model
    does not have, is removed.

    Args:
        trusted: whether the checkpoint may run code.

    Returns:
        What was loaded, in one line.

    Raises:
        ForgeError: the checkpoint is missing, damaged, not trusted, or does not fit.
    """
    if not path.is_file():
        raise ForgeError(f"{path}: no such file", "give the checkpoint with --weights")
    state, keys = _find_state(_read(path, trusted), path)
    expected = module.state_dict()
    state, removed = _without_prefixes(state, expected)
    _check_fit(state, expected, path)
    module.load_state_dict(state)
    inside = f" under {'.'.join(map(repr, keys))}" if keys else ""
    prefix = f", without the prefix {removed!r}" if removed else ""
    return f"weights: {len(state)} tensors{inside} of {path}{prefix}"


def _read(path: Path, trusted: bool) -> object:
    """Return the contents of a checkpoint."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        name = re.search(r"(?:GLOBAL|global) ([\w.]+)", str(error))
        if not name:
            raise ForgeError(
                f"{path}: not a checkpoint of torch.save, or cut short", "save it again"
            ) from error
        if not trusted:
            raise ForgeError(
                f"{path}: contains more than tensors ({name[1]}), so loading it can run any code",
                "save only its state_dict(); or add --trust-pickle, if you made the file",
            ) from error
    except Exception as error:  # for damaged files: RuntimeError, EOFError, KeyError, ...
        raise ForgeError(
            f"{path}: not a checkpoint of torch.save, or cut short: {first_line(error)}",
            "save it again",
        ) from error
    present.note(f"warning: loading {path} because of --trust-pickle: a pickle can run any code")
    try:
        return torch.load(path, map_location="cpu", weights_only=False)
    except Exception as error:  # classes in the file can raise any type
        raise ForgeError(
            f"{path}: can't be unpickled: {first_line(error)}",
            "run it where Python can import its classes",
        ) from error


def _find_state(content: object, path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """Return the state dict in a checkpoint, and the keys that lead to it."""
    keys: list[str] = []
    while True:
        if isinstance(content, nn.Module):
            content = content.float().state_dict()
        if not isinstance(content, Mapping):
            raise _no_weights(path, type(content).__name__)
        if content and all(isinstance(value, Tensor) for value in content.values()):
            return dict(content), keys
        holder = next((key for key in HOLDERS if content.get(key) is not None), None)
        if holder is None:
            raise _no_weights(path, ", ".join(map(str, content)))
        keys.append(holder)
        content = content[holder]


def _no_weights(path: Path, content: str) -> ForgeError:
    return ForgeError(
        f"{path}: contains no weights, but: {content[:200] or 'nothing'}",
        f"save only the state dict, or save it under one of: {', '.join(HOLDERS)}",
    )


def _without_prefixes(
    state: dict[str, Tensor], expected: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], str]:
    """Remove known prefixes until a name fits the model; return the prefixes as well."""
    removed = ""
    while not state.keys() & expected.keys():
        prefix = next(
            (prefix for prefix in PREFIXES if all(name.startswith(prefix) for name in state)), None
        )
        if prefix is None:
            break
        state = {name.removeprefix(prefix): value for name, value in state.items()}
        removed += prefix
    return state, removed


def _check_fit(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: Path) -> None:
    """Refuse weights whose names or shapes differ from the model's."""
    shapes = [
        f"{name} {tuple(state[name].shape)}, not {tuple(value.shape)}"
        for name, value in expected.items()
        if name in state and state[name].shape != value.shape
    ]
    differences = {
        "it lacks": [name for name in expected if name not in state],
        "the model lacks": [name for name in state if name not in expected],
        "shapes differ:": shapes,
    }
    problems = [f"{what} {_some(names)}" for what, names in differences.items() if names]
    if problems:
        raise ForgeError(
            f"{path}: does not fit the model: {'; '.join(problems)}",
            "build the model with the arguments with which it was trained (--kwargs)",
        )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
