"""torch's two exporters: dynamo (torch.export) first, TorchScript as the fallback."""

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
from typing import Any

import onnx
import torch
from torch import nn

from trtforge.errors import ForgeError, GateError
from trtforge.exporting import blame
from trtforge.exporting.inputs import NAME, Images

TORCHSCRIPT_OPSETS = range(
    9, 21
)  # older ones TensorRT does not read, newer ones it claims and does not know
MISMATCH_HINT = "a branch or a size taken for constant does that, and a model that draws random numbers; see --dynamic"


class Refused(Exception):
    """An exporter does not take the model, and why."""


@dataclass(frozen=True)
class Exported:
    """A model in ONNX.

    Attributes:
        exporter: ``dynamo`` or ``torchscript``.
        why: why it was not the first choice; empty if it was.
        baked: lines of the user's code whose outcome the trace took for constant.
        report: what ``accept`` made of it.
    """

    model: onnx.ModelProto
    exporter: str
    why: str
    baked: list[str]
    report: Any


def export(
    program: torch.export.ExportedProgram | None,
    module: nn.Module,
    images: Images,
    names: Sequence[str],
    opset: int,
    accept: Callable[[onnx.ModelProto], Any],
) -> Exported:
    """Export with the first exporter that takes the model, reaches the opset, and makes what
    ``accept`` accepts.

    Args:
        program: the exported program that ``module`` runs, if it does.
        module: returns tensors in a row, called ``names``.
        accept: raises ForgeError for a model that is no good.

    Raises:
        ForgeError: neither takes it; it says each one's reason, with operator and line.
        GateError: one takes it, but ``accept`` does not.
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
                f"no exporter makes what PyTorch computes: {both}", MISMATCH_HINT
            ) from error
        raise ForgeError(
            f"neither exporter takes the model: {both}",
            "write that line with operators that ONNX has, or leave it out of what is exported",
        ) from error


def _dynamo(
    model: nn.Module | torch.export.ExportedProgram,
    images: Images,
    names: Sequence[str],
    opset: int,
) -> onnx.ModelProto:
    of_module = isinstance(model, nn.Module)
    example = torch.zeros(images.shape)
    if of_module and any(isinstance(each, torch.jit.ScriptModule) for each in model.modules()):
        raise Refused("torch.export takes no TorchScript")
    try:
        with _quiet():
            made = torch.onnx.export(
                _copy(model) if of_module else model,
                (example,),
                dynamo=True,
                verbose=False,
                opset_version=opset,
                input_names=[NAME],
                output_names=list(names),
                dynamic_shapes=(images.axes,) if of_module else None,
            )
    except Exception as error:  # torch.export has no class of its own for what it can't do
        raise Refused(blame.explain_dynamo_error(error)) from error
    graph: onnx.ModelProto = made.model_proto
    reached = next(each.version for each in graph.opset_import if each.domain in ("", "ai.onnx"))
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
            if of_program:  # its module refuses the modes that the exporter sets
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
        except Exception as error:  # the tracer runs the user's own code: anything can come
            raise Refused(blame.explain_torchscript_error(error, module, example)) from error
        model = onnx.load(path)
    places = [
        (each.filename, each.lineno)
        for each in warned
        if issubclass(each.category, torch.jit.TracerWarning)
    ]
    return model, list(
        dict.fromkeys(found for place in places if (found := blame.describe_line(*place)))
    )


def _copy(module: nn.Module) -> nn.Module:
    """A copy on the same weights: what forward() keeps in attributes is torch.export's placeholders
    afterwards.
    """
    shared = [*module.parameters(), *module.buffers()]
    return copy.deepcopy(module, {id(tensor): tensor for tensor in shared})


@contextmanager
def _quiet() -> Iterator[list[warnings.WarningMessage]]:
    """Keeps torch's advice to its own developers off the terminal, and hands out its warnings.

    Both exporters print whole graphs when they fail, the TorchScript one from C++, below Python's
    streams.
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
