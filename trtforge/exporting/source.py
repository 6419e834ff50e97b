"""What is exported: a model that Python builds, a TorchScript archive, or an exported program."""

from __future__ import annotations

import importlib
import os
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch
from torch import nn

from trtforge.errors import ForgeError
from trtforge.exporting import trust, weights
from trtforge.exporting.blame import first_line, user_line


@dataclass(frozen=True)
class LoadedModel:
    """A model in FP32 on the CPU, in evaluation mode.

    Attributes:
        module: takes images, gives tensors.
        program: the exported program that ``module`` runs; None for other sources.
        notes: what the user should know of how it was loaded.
    """

    module: nn.Module
    program: torch.export.ExportedProgram | None
    notes: list[str]


def load(
    origin: str | Path, kwargs: Mapping[str, Any], checkpoint: Path | None, trusted: bool
) -> LoadedModel:
    """Load what Python makes, a TorchScript archive or a ``.pt2`` file.

    Args:
        origin: ``package.module:callable``, or a file, which is told by its contents.
        kwargs: arguments for the callable.
        checkpoint: weights for the model that the callable makes.
        trusted: files may run code.

    Raises:
        ForgeError: there is no such model, its own code fails, the file is damaged or has to be
            trusted first.
    """
    if isinstance(origin, str):
        return _from_python(origin, kwargs, checkpoint, trusted)
    if kwargs or checkpoint:
        raise ForgeError(
            f"{origin}: holds its arguments and weights already",
            "drop --kwargs and --weights, or give package.module:callable",
        )
    kind = _kind(origin)
    if kind == "torchscript":
        trust.check_torchscript(origin, trusted)
        return LoadedModel(_ready(_load(origin, _torchscript)), None, [])
    if kind == "program":
        trust.check_program(origin, trusted)
        program = _load(origin, torch.export.load)
        return LoadedModel(program.module(), program, [])
    raise ForgeError(
        f"{origin}: holds weights, and no model"
        if kind
        else f"{origin}: no TorchScript and no .pt2 file",
        f"give the Python that makes the model: package.module:callable --weights {origin}",
    )


def _torchscript(path: Path) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch.jit.load as such
        return torch.jit.load(path, map_location="cpu")


def _kind(path: Path) -> str | None:
    """``torchscript``, ``program`` or ``checkpoint``, by the members of the archive."""
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        names = [name.partition("/")[2] for name in archive.namelist()]
        flat = archive.namelist()
    if any(name.startswith("code/") for name in names):
        return "torchscript"
    if "archive_format" in names or "serialized_exported_program.json" in flat:
        return "program"
    return "checkpoint" if "data.pkl" in names else None


def _load(path: Path, loader: Callable[[Path], Any]) -> Any:
    try:
        return loader(path)
    except (
        Exception
    ) as error:  # torch raises RuntimeError, AssertionError, KeyError ... for a damaged archive
        raise ForgeError(
            f"{path}: torch can't load it: {first_line(error)}",
            f"save it again; this is torch {torch.__version__}",
        ) from error


def _from_python(
    name: str, kwargs: Mapping[str, Any], checkpoint: Path | None, trusted: bool
) -> LoadedModel:
    module_name, colon, attribute = name.partition(":")
    if not colon or not all(
        part.isidentifier() for part in [*module_name.split("."), *attribute.split(".")]
    ):
        missing = not colon and (os.sep in name or Path(name).suffix)
        raise ForgeError(
            f"{name}: no such file"
            if missing
            else f"{name}: neither a file nor package.module:callable",
            "for example: trtforge export mymodels.yolo:build -o yolo.onnx",
        )
    made = _attribute(module_name, attribute)
    if not isinstance(made, nn.Module):
        made = _call(made, name, kwargs)
    elif kwargs:
        raise ForgeError(f"{name}: is a model already, and takes no --kwargs", "drop them")
    if not isinstance(made, nn.Module):
        raise ForgeError(
            f"{name}: gives {type(made).__name__}, not a torch.nn.Module",
            "name what makes the model",
        )
    notes = [weights.load_into(made, checkpoint, trusted)] if checkpoint else []
    return LoadedModel(_ready(made), None, notes)


@contextmanager
def importable(folder: str) -> Iterator[None]:
    """The folder comes first on Python's path, as the current one does with ``python -m``."""
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def _attribute(module_name: str, attribute: str) -> Any:
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(error.name + ".")):
            raise ForgeError(
                f"there is no Python module {error.name}",
                f"run where it lies (this is {os.getcwd()}), or install it",
            ) from error
        raise ForgeError(
            f"{module_name} needs the Python module {error.name}{user_line(error)}", "install it"
        ) from error
    except Exception as error:  # the user's own code: anything can come
        raise ForgeError(
            f"{module_name} can't be imported: {first_line(error)}{user_line(error)}", ""
        ) from error
    try:
        return attrgetter(attribute)(module)
    except AttributeError as error:
        public = [
            name
            for name, value in vars(module).items()
            if callable(value) and not name.startswith("_")
        ]
        raise ForgeError(
            f"{module_name} has no {attribute}", f"it has: {', '.join(public) or 'nothing'}"
        ) from error


def _call(factory: Any, name: str, kwargs: Mapping[str, Any]) -> Any:
    try:
        return factory(**kwargs)
    except Exception as error:  # the user's own code: anything can come
        raise ForgeError(
            f"{name} fails: {first_line(error)}{user_line(error)}",
            "--kwargs takes its arguments: --kwargs '{\"classes\": 10}'",
        ) from error


def _ready(module: nn.Module) -> nn.Module:
    """FP32, on the CPU, in evaluation mode. Precision is a later stage's, and FP16 runs on few
    CPUs.
    """
    for parameter in module.parameters():  # a ScriptModule has no requires_grad_ of its own
        parameter.requires_grad_(False)
    return module.cpu().float().eval()
