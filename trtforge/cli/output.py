"""What a command prints: one JSON document, or text."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trtforge.store import Store


def result(as_json: bool, document: Any, text: str) -> None:
    print(json.dumps(_numbers(document), allow_nan=False) if as_json else text)


def _numbers(value: Any) -> Any:
    """The document with null where a figure is NaN or infinite, which JSON has no word for."""
    if isinstance(value, dict):
        return {key: _numbers(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_numbers(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def delivered(store: Store, built: list[Any], dry_run: bool, as_json: bool) -> None:
    """The folders that were made, and how; for a dry run, what would be done."""
    from trtforge import summary

    document = summary.document(store, built)
    result(as_json, document, summary.plan(store) if dry_run else summary.text(store, built))


def open_store(dry_run: bool = False, force: bool = False) -> Store:
    from trtforge.store import opened

    return opened(dry_run, force)
