"""Find the operator and the line of the user's model that caused an exporter's error."""

from __future__ import annotations

import linecache
import os
import re
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

OURS = str(Path(__file__).parents[1])
LIBRARIES = tuple(
    {sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib", "scripts")}
    | {str(Path(torch.__file__).parents[1])}
)
# How Python and torch.fx write a line of code; the innermost call is the last.
FRAME = re.compile(r'File "([^"]+)", line (\d+)')
# How TorchScript's tracer writes it; the innermost call is the first.
TRACED = re.compile(r"(?:^|in )([^\n()]+)\((\d+)\): ", re.MULTILINE)


def first_line(error: BaseException) -> str:
    """Return the type and the first line of an exception."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].strip()}" if lines else type(error).__name__


def user_line(error: BaseException) -> str:
    """Return the last line of the user's code on the way to an error, or nothing.

    For example: `` (model.py:18: y = f(x))``.
    """
    lines = [
        (frame.filename, frame.lineno or 0)
        for link in _chain(error)
        for frame in traceback.extract_tb(link.__traceback__)
    ]
    return _last_user_line(lines)


def explain_dynamo_error(error: BaseException) -> str:
    """Say why torch.export or its translation to ONNX failed, and at which line."""
    cause = list(_chain(error))[-1]
    node = _node(error)
    if node is not None:
        operator = str(node.target).removesuffix(".default")
        lines = _lines_in(str(node.meta.get("stack_trace") or ""))
        return f"no ONNX for operator {operator}{_last_user_line(lines)}"
    # torch does not make this class public, so its name has to do.
    if type(cause).__name__ == "GuardOnDataDependentSymNode":
        return f"control flow that depends on a tensor's values{user_line(error)}"
    return first_line(cause) + user_line(error)


def explain_torchscript_error(error: BaseException, module: nn.Module, images: torch.Tensor) -> str:
    """Say why the TorchScript exporter failed, and at which line."""
    operator = re.search(r"operator '(\w+::\w+)'", str(error))
    if not operator:
        return first_line(error) + (_last_user_line(_lines_in(str(error))) or user_line(error))
    lines = _lines_of_operator(operator[1], module, images)
    return f"no ONNX for operator {operator[1]}{_last_user_line(lines)}"


def _lines_of_operator(kind: str, module: nn.Module, images: torch.Tensor) -> list[tuple[str, int]]:
    """Return the lines of code that an operator comes from.

    TorchScript's graph contains the lines; the exporter's message does not.
    """
    if not isinstance(module, torch.jit.ScriptModule):
        module = torch.jit.trace(module, images, check_trace=False)
    node = next((node for node in _nodes(module.inlined_graph) if node.kind() == kind), None)
    return _lines_in(node.sourceRange()) if node else []


def _lines_in(text: str) -> list[tuple[str, int]]:
    """Return the files and lines in a text of TorchScript, the innermost last."""
    matches: list[tuple[str, str]] = (
        FRAME.findall(text.partition("\nSerialized")[0]) or TRACED.findall(text)[::-1]
    )
    return [(file, int(line)) for file, line in matches]


def _nodes(block: torch.jit.Block) -> Iterator[torch.jit.GraphNode]:
    """Yield the nodes of a block and of the blocks inside."""
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from _nodes(inner)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, its cause, the cause of that, and so on."""
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def _node(error: BaseException) -> torch.fx.Node | None:
    """Return the node that could not be translated.

    The exception does not contain it, so it is taken from the local variables of the translation.
    """
    for link in _chain(error):
        for frame, _ in traceback.walk_tb(link.__traceback__):
            node: object = frame.f_locals.get("node")
            if isinstance(node, torch.fx.Node):
                return node
    return None


def describe_line(file: str, line: int) -> str:
    """Return ``model.py:18: y = f(x)``, or nothing for a line of a library."""
    if file.startswith((*LIBRARIES, OURS, "<")):
        return ""
    code = linecache.getline(file, line).strip()
    short = os.path.relpath(file) if Path(file).is_relative_to(Path.cwd()) else file
    return f"{short}:{line}: {code}" if code else f"{short}:{line}"


def _last_user_line(lines: list[tuple[str, int]]) -> str:
    for file, line in reversed(lines):
        text = describe_line(file, line)
        if text:
            return f" ({text})"
    return ""
