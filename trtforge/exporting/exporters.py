"""Run torch's two exporters: first dynamo (torch.export), then TorchScript if dynamo fails."""

from __future__ import annotations

import copy
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import onnx
import torch
from torch import nn

from trtforge.errors import ForgeError, GateError
from trtforge.exporting import blame
from trtforge.exporting.inputs import NAME, Images

# TensorRT does not read older opsets. The exporter accepts newer ones, but writes wrong graphs.
TORCHSCRIPT_OPSETS = range(9, 21)
MISMATCH_HINT = (
    "the export made a branch or a size constant (see --dynamic), or the model draws random numbers"
)
T = TypeVar("T")


class Refused(Exception):
    """An exporter can't export the model; the message says why."""


@dataclass(frozen=True)
class Exported(Generic[T]):
    """An exported model.

    Attributes:
        exporter: ``dynamo`` or ``torchscript``.
        why: why dynamo failed; empty if it did not.
        baked: lines of the user's code whose result the trace made constant.
        report: the result of ``accept``.
    """

    model: onnx.ModelProto
    exporter: str
    why: str
    baked: list[str]
    report: T


def export(
    program: torch.export.ExportedProgram | None,
    module: nn.Module,
    images: Images,
    names: Sequence[str],
    opset: int,
    accept: Callable[[onnx.ModelProto], T],
) -> Exported[T]:
    """Export with the first exporter whose result ``accept`` accepts.

    Args:
        program: the exported program that ``module`` runs; None for other modules.
        module: returns tensors in a row.
        names: the names of these tensors.
        accept: checks an exported model; raises ForgeError to refuse it.

    Raises:
        ForgeError: neither exporter can export the model; the message has both reasons, each with
            operator and line.
        GateError: an exporter can export the model, but ``accept`` refuses the result.
    """
    try:
        model = _dynamo(program or module, images, names, opset)
        return Exported(model, "dynamo", "", [], accept(model))
    except (Refused, ForgeError) as error:
        first = error
    try:
        model, baked = _torchscript(module, program is not None, images, names, opset)
        return Exported(model, "torchscript", str(first), baked, accept(model))
    except (Refused, ForgeError) as error:
        both = f"dynamo: {first}; TorchScript: {error}"
        if isinstance(first, GateError) or isinstance(error, GateError):
            raise GateError(
                f"no exported model computes what PyTorch computes: {both}", MISMATCH_HINT
            ) from error
        raise ForgeError(
            f"neither exporter can export the model: {both}",
            "write that line with operators that ONNX has, or leave it out of the export",
        ) from error


def _dynamo(
    model: nn.Module | torch.export.ExportedProgram,
    images: Images,
    names: Sequence[str],
    opset: int,
) -> onnx.ModelProto:
    shapes = None  # an exported program has its dynamic shapes inside
    if isinstance(model, nn.Module):
        if any(isinstance(module, torch.jit.ScriptModule) for module in model.modules()):
            raise Refused("torch.export can't export TorchScript")
        model, shapes = _copy(model), (images.axes,)
    try:
        with _quiet():
            result = torch.onnx.export(
                model,
                (torch.zeros(images.shape),),
                dynamo=True,
                verbose=False,
                opset_version=opset,
                input_names=[NAME],
                output_names=list(names),
                dynamic_shapes=shapes,
            )
    except Exception as error:  # torch.export raises many types, with no common base
        raise Refused(blame.explain_dynamo_error(error)) from error
    if result is None:
        raise Refused("torch.onnx.export returned nothing")
    graph = result.model_proto
    reached = next(row.version for row in graph.opset_import if row.domain in ("", "ai.onnx"))
    if reached != opset:
        raise Refused(f"its graph can't be converted from opset {reached} to {opset}")
    return graph


def _torchscript(
    module: nn.Module, of_program: bool, images: Images, names: Sequence[str], opset: int
) -> tuple[onnx.ModelProto, list[str]]:
    if opset not in TORCHSCRIPT_OPSETS:
        raise Refused(
            f"it writes opset {TORCHSCRIPT_OPSETS[0]} to {TORCHSCRIPT_OPSETS[-1]}, not {opset}"
        )
    example = torch.zeros(images.shape)
    with tempfile.TemporaryDirectory() as folder, _quiet() as warned:
        path = Path(folder, "model.onnx")
        try:
            if of_program:  # a program's module can't change to the modes that the exporter sets
                module = torch.jit.trace(module, example, check_trace=False)
            torch.onnx.export(
                module,
                (example,),
                os.fspath(path),
                dynamo=False,
                opset_version=opset,
                input_names=[NAME],
                output_names=list(names),
                dynamic_axes={NAME: images.axes},
            )
        except Exception as error:  # the tracer runs the user's code, which can raise any type
            raise Refused(blame.explain_torchscript_error(error, module, example)) from error
        model = onnx.load(path)
    places = [
        (warning.filename, warning.lineno)
        for warning in warned
        if issubclass(warning.category, torch.jit.TracerWarning)
    ]
    lines = [blame.describe_line(file, line) for file, line in places]
    return model, list(dict.fromkeys(filter(None, lines)))


def _copy(module: nn.Module) -> nn.Module:
    """Return a copy with the same weights.

    torch.export leaves its placeholders in attributes that forward() sets, so it gets a copy.
    """
    shared = [*module.parameters(), *module.buffers()]
    return copy.deepcopy(module, {id(tensor): tensor for tensor in shared})


@contextmanager
def _quiet() -> Iterator[list[warnings.WarningMessage]]:
    """Collect torch's warnings, and keep its other output off the terminal.

    Both exporters print whole graphs when they fail. The TorchScript exporter prints from C++, so
    the file descriptor is redirected, not only Python's streams.
    """
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    sys.stdout.flush()
    stdout, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        with (
            open(os.devnull, "w") as void,
            redirect_stdout(void),
            redirect_stderr(void),
            warnings.catch_warnings(record=True) as warned,
        ):
            warnings.simplefilter("always")
            yield warned
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)
        os.close(nowhere)
        logging.disable(before)
