"""Whose line it was: the operator and the line of the user's model behind an exporter's error."""

from __future__ import annotations

import linecache
import os
import re
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

OURS = str(Path(__file__).parents[1])
LIBRARIES = tuple(
    {sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib", "scripts")}
    | {str(Path(torch.__file__).parents[1])}
)
FRAME = re.compile(
    r'File "([^"]+)", line (\d+)'
)  # as Python and torch.fx write it, the innermost last
TRACED = re.compile(
    r"(?:^|in )([^\n()]+)\((\d+)\): ", re.MULTILINE
)  # as TorchScript's tracer does, innermost first


def first_line(error: BaseException) -> str:
    """What an exception says, in a line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].strip()}" if lines else type(error).__name__


def user_line(error: BaseException) -> str:
    """`` (model.py:18: y = f(x))``: the last line of the user's own code on the way to the error,
    or nothing.
    """
    found = [
        (frame.filename, frame.lineno or 0)
        for each in _chain(error)
        for frame in traceback.extract_tb(each.__traceback__)
    ]
    return _last(found)


def explain_dynamo_error(error: BaseException) -> str:
    """Why torch.export or its translation to ONNX failed, and at which line."""
    cause = list(_chain(error))[-1]
    node = _node(error)
    if node is not None:
        lines = _named(node.meta.get("stack_trace") or "")
        return f"no ONNX for operator {str(node.target).removesuffix('.default')}{_last(lines)}"
    if (
        type(cause).__name__ == "GuardOnDataDependentSymNode"
    ):  # the name is all that torch makes public
        return f"control flow that depends on a tensor's values{user_line(error)}"
    return first_line(cause) + user_line(error)


def explain_torchscript_error(error: BaseException, module: nn.Module, images: torch.Tensor) -> str:
    """Why the TorchScript exporter failed, and at which line."""
    operator = re.search(r"operator '(\w+::\w+)'", str(error))
    if not operator:
        return first_line(error) + (_last(_named(str(error))) or user_line(error))
    return f"no ONNX for operator {operator[1]}{_last(_places(operator[1], module, images))}"


def _places(kind: str, module: nn.Module, images: torch.Tensor) -> list[tuple[str, int]]:
    """Where an operator comes from: TorchScript's graph knows its lines, the exporter's message
    does not.
    """
    if not isinstance(module, torch.jit.ScriptModule):
        module = torch.jit.trace(module, images, check_trace=False)
    node = next((node for node in _nodes(module.inlined_graph) if node.kind() == kind), None)
    return _named(node.sourceRange()) if node else []


def _named(text: str) -> list[tuple[str, int]]:
    """The files and lines that a text of TorchScript names, the innermost last."""
    found = FRAME.findall(text.partition("\nSerialized")[0]) or TRACED.findall(text)[::-1]
    return [(file, int(line)) for file, line in found]


def _nodes(block: Any) -> Iterator[Any]:
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from _nodes(inner)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it came from, the first cause last."""
    each: BaseException | None = error
    while each is not None:
        yield each
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)


def _node(error: BaseException) -> torch.fx.Node | None:
    """The node that could not be translated: only the frames of the translation know it."""
    for each in _chain(error):
        for frame, _ in traceback.walk_tb(each.__traceback__):
            node = frame.f_locals.get("node")
            if isinstance(node, torch.fx.Node):
                return node
    return None


def describe_line(file: str, line: int) -> str:
    """``model.py:18: y = f(x)``, or nothing if the line is a library's."""
    if file.startswith((*LIBRARIES, OURS, "<")):
        return ""
    code = linecache.getline(file, line).strip()
    short = os.path.relpath(file) if Path(file).is_relative_to(Path.cwd()) else file
    return f"{short}:{line}: {code}" if code else f"{short}:{line}"


def _last(places: list[tuple[str, int]]) -> str:
    found = next(
        (text for file, line in reversed(places) if (text := describe_line(file, line))), ""
    )
    return f" ({found})" if found else ""
