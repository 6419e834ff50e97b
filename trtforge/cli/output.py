"""Print the result of a command: text, or one JSON document."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Annotated, Protocol, runtime_checkable

import typer

if TYPE_CHECKING:
    from trtforge.store import Store

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


@runtime_checkable
class Documented(Protocol):
    """A result that makes its JSON document itself."""

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
    """Return what JSON can hold of a result, with null where a figure is NaN or infinite."""
    if isinstance(result, Documented):
        return to_json(result.document())
    if is_dataclass(result) and not isinstance(result, type):
        return to_json(asdict(result))
    if isinstance(result, Mapping):
        return {key: to_json(value) for key, value in result.items()}
    if isinstance(result, (list, tuple)):
        return [to_json(value) for value in result]
    return None if isinstance(result, float) and not math.isfinite(result) else result


def result(as_json: bool, document: object, text: str) -> None:
    """Print a text, or a document."""
    show(as_json, document, lambda: text)


def open_store() -> Store:
    """Open the user's store."""
    from trtforge.store import opened

    return opened()
