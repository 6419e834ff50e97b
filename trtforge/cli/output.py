"""Print the result of a command: text, or one JSON document."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from typing import Protocol, runtime_checkable


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

    print(json.dumps(document(result), allow_nan=False))


def document(result: object) -> object:
    """Return the JSON document of a result, with null where a figure is NaN or infinite."""
    if isinstance(result, Documented):
        return _plain(result.document())
    if is_dataclass(result) and not isinstance(result, type):
        return _plain(asdict(result))
    return _plain(result)


def _plain(value: object) -> object:
    """Return a value without the figures that JSON has no word for."""
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
