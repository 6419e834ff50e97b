"""Print the result of a command: text, or one JSON document."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from typing import Annotated, Protocol, runtime_checkable

import typer

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


@runtime_checkable
class HasDocument(Protocol):
    """A result with a method that makes its JSON document."""

    def document(self) -> object:
        """Return what ``--json`` prints."""


def show(as_json: bool, result: object, text: Callable[[], str]) -> None:
    """Print the text, or the result as JSON."""
    if not as_json:
        print(text())
        return
    import json

    print(json.dumps(to_json(result), allow_nan=False))


def to_json(result: object) -> object:
    """Return a result in types that JSON has; NaN and infinity become null."""
    if isinstance(result, HasDocument):
        return to_json(result.document())
    if is_dataclass(result) and not isinstance(result, type):
        return to_json(asdict(result))
    if isinstance(result, Mapping):
        return {key: to_json(value) for key, value in result.items()}
    if isinstance(result, (list, tuple)):
        return [to_json(value) for value in result]
    return None if isinstance(result, float) and not math.isfinite(result) else result
