"""Load the model to export: Python code, a TorchScript archive, or an exported program."""

from __future__ import annotations

import importlib
import os
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from trtforge.errors import ForgeError
from trtforge.exporting import stated, trust, weights
from trtforge.exporting.blame import first_line, user_line

T = TypeVar("T")


@dataclass(frozen=True)
class LoadedModel:
    """A model in FP32 on the CPU, in evaluation mode.

    Attributes:
        module: takes images, returns tensors.
        program: the exported program that ``module`` runs; None for other models.
        notes: what the user should know about how the model was loaded.
        stated: what the model says of itself, for the metadata of its ONNX file.
    """

    module: nn.Module
    program: torch.export.ExportedProgram | None
    notes: list[str]
    stated: Mapping[str, str] = field(default_factory=dict)


def load(
    origin: str | Path, kwargs: Mapping[str, object], checkpoint: Path | None, trusted: bool
) -> LoadedModel:
    """Load a model from Python code, a TorchScript archive or a ``.pt2`` file.

    Args:
        origin: ``package.module:callable``, or a file, whose contents decide what it is.
        kwargs: arguments for the callable.
        checkpoint: weights for the model that the callable returns.
        trusted: whether files may run code.

    Raises:
        ForgeError: there is no such model, its code fails, or the file is damaged or is not
            trusted.
    """
    if isinstance(origin, str):
        return _from_python(origin, kwargs, checkpoint, trusted)
    if kwargs or checkpoint:
        raise ForgeError(
            f"{origin}: contains its arguments and weights already",
            "drop --kwargs and --weights, or give package.module:callable",
        )
    kind = _archive_kind(origin)
    if kind == "torchscript":
        trust.check_torchscript(origin, trusted)
        module = _ready(_load(origin, _torchscript))
        return LoadedModel(module, None, [], stated.of_torchscript(origin))
    if kind == "program":
        trust.check_program(origin, trusted)
        program = _load(origin, torch.export.load)
        return LoadedModel(program.module(), program, [])
    content = "contains weights, but no model" if kind else "neither TorchScript nor a .pt2 file"
    raise ForgeError(
        f"{origin}: {content}",
        f"give the Python code that makes the model: package.module:callable --weights {origin}",
    )


def _torchscript(path: Path) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit.load is deprecated
        return torch.jit.load(path, map_location="cpu")


def _archive_kind(path: Path) -> str | None:
    """Return ``torchscript``, ``program`` or ``checkpoint``, by the members of the archive."""
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        members = archive.namelist()
    names = [member.partition("/")[2] for member in members]  # without the archive's own folder
    if any(name.startswith("code/") for name in names):
        return "torchscript"
    if "archive_format" in names or "serialized_exported_program.json" in members:
        return "program"
    return "checkpoint" if "data.pkl" in names else None


def _load(path: Path, loader: Callable[[Path], T]) -> T:
    try:
        return loader(path)
    except Exception as error:  # for damaged files: RuntimeError, AssertionError, KeyError, ...
        raise ForgeError(
            f"{path}: torch can't load it: {first_line(error)}",
            f"save it again; this is torch {torch.__version__}",
        ) from error


def _from_python(
    name: str, kwargs: Mapping[str, object], checkpoint: Path | None, trusted: bool
) -> LoadedModel:
    module_name, colon, attribute = name.partition(":")
    parts = [*module_name.split("."), *attribute.split(".")]
    if not colon or not all(part.isidentifier() for part in parts):
        looks_like_file = not colon and (os.sep in name or Path(name).suffix)
        problem = (
            "no such file" if looks_like_file else "neither a file nor package.module:callable"
        )
        raise ForgeError(
            f"{name}: {problem}", "for example: trtforge export mymodels.yolo:build -o yolo.onnx"
        )
    model = _attribute(module_name, attribute)
    if not isinstance(model, nn.Module):
        model = _call(model, name, kwargs)
    elif kwargs:
        raise ForgeError(f"{name}: is already a model, and takes no arguments", "drop --kwargs")
    if not isinstance(model, nn.Module):
        raise ForgeError(
            f"{name}: returns {type(model).__name__}, not a torch.nn.Module",
            "name the function or class that makes the model",
        )
    notes = [weights.load_into(model, checkpoint, trusted)] if checkpoint else []
    return LoadedModel(_ready(model), None, notes, stated.of_module(model))


@contextmanager
def importable(folder: str) -> Iterator[None]:
    """Put a folder first on Python's path, as ``python -m`` does with the current folder."""
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def _attribute(module_name: str, attribute: str) -> object:
    """Import a module, and return its attribute."""
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(error.name + ".")):
            raise ForgeError(
                f"there is no Python module {error.name}",
                f"run in the folder that contains it (this is {os.getcwd()}), or install it",
            ) from error
        raise ForgeError(
            f"{module_name} needs the Python module {error.name}{user_line(error)}", "install it"
        ) from error
    except Exception as error:  # the user's code can raise any type
        raise ForgeError(
            f"{module_name} can't be imported: {first_line(error)}{user_line(error)}",
            "correct the module",
        ) from error
    try:
        value: object = attrgetter(attribute)(module)
        return value
    except AttributeError as error:
        public = [
            name
            for name, value in vars(module).items()
            if callable(value) and not name.startswith("_")
        ]
        raise ForgeError(
            f"{module_name} has no {attribute}", f"it has: {', '.join(public) or 'nothing'}"
        ) from error


def _call(factory: object, name: str, kwargs: Mapping[str, object]) -> object:
    if not callable(factory):
        raise ForgeError(
            f"{name}: is {type(factory).__name__}, which can't be called",
            "name the function or class that makes the model",
        )
    try:
        result: object = factory(**kwargs)
        return result
    except Exception as error:  # the user's code can raise any type
        raise ForgeError(
            f"{name} fails: {first_line(error)}{user_line(error)}",
            "give its arguments with --kwargs, such as --kwargs '{\"classes\": 10}'",
        ) from error


def _ready(module: nn.Module) -> nn.Module:
    """Return the module in FP32, on the CPU, in evaluation mode.

    A later stage changes the precision; few CPUs run FP16.
    """
    for parameter in module.parameters():  # a ScriptModule itself has no requires_grad_
        parameter.requires_grad_(False)
    return module.cpu().float().eval()
