"""Turn the records of stages into JSON, and back.

A record is a frozen dataclass. Its fields hold JSON values, paths, other records, pydantic models
such as the sections of a recipe, or tuples, lists and dicts of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Decoded = TypeVar("Decoded")

# Metadata of a dataclass field that is left out of the JSON while its value is None.
OMIT_NONE = {"omit_none": True}

_ADAPTERS: dict[object, object] = {}  # by class, since making one takes milliseconds


def to_json(record: object) -> dict[str, object]:
    """Return a record, or a pydantic model, as a JSON object: its fields, in order, by name.

    Raises:
        TypeError: the record is neither, or a value has no form in JSON.
    """
    if is_dataclass(record) and not isinstance(record, type):
        found: dict[str, object] = {}
        for field in fields(record):
            value: object = getattr(record, field.name)
            if value is not None or "omit_none" not in field.metadata:
                found[field.name] = _value(value)
        return found
    from pydantic import BaseModel

    if isinstance(record, BaseModel):
        models = type(record).model_fields
        return {
            info.serialization_alias or name: _value(getattr(record, name))
            for name, info in models.items()
        }
    raise TypeError(f"{type(record).__name__} has no form in JSON")


def from_json(kind: type[Decoded], content: object) -> Decoded:
    """Return the record that ``to_json`` has turned into ``content``.

    Unknown keys are ignored, and missing ones take the defaults of the fields.

    Raises:
        ValueError: the content does not fit the record.
    """
    adapter = cast("TypeAdapter[Decoded] | None", _ADAPTERS.get(kind))
    if adapter is None:
        from pydantic import TypeAdapter

        adapter = _ADAPTERS[kind] = TypeAdapter(kind)
    return adapter.validate_python(content)


def _value(value: object) -> object:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (tuple, list)):
        return [_value(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _value(item) for key, item in value.items()}
    return to_json(value)
