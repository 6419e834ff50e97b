"""Protobuf's text format, as Triton and nvinferserver read their configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trtforge.deepstream.format.quoted import quoted

Message = Mapping[str, Any]  # strings, numbers, booleans, messages, and lists of one of them


class Name(str):
    """The name of an enumerator, which stands without quotes."""


def text(message: Message, indent: str = "") -> str:
    """Return a message in protobuf's text format: one field a line, in the order given."""
    return "".join(_field(name, value, indent) for name, value in message.items())


def _field(name: str, value: Any, indent: str) -> str:
    if isinstance(value, Mapping):
        return f"{indent}{name} {{\n{text(value, indent + '  ')}{indent}}}\n"
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        return "".join(_field(name, item, indent) for item in value)
    if isinstance(value, list):
        return f"{indent}{name}: [{', '.join(map(_scalar, value))}]\n"
    return f"{indent}{name}: {_scalar(value)}\n"


def _scalar(value: str | int | float) -> str:
    if isinstance(value, Name):
        return str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.10g}"
    return str(value) if isinstance(value, int) else quoted(value)
