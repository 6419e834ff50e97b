"""A YAML file that one pydantic model describes: every error at once, each with its line."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from trtforge.errors import ForgeError

if TYPE_CHECKING:
    import yaml

LONGEST = 1 << 20  # bytes: more was not written by hand
Schema = TypeVar("Schema", bound=BaseModel)
Location = tuple[Any, ...]


def read(path: Path, schema: type[Schema], noun: str, hint: str, context: Any = None) -> Schema:
    """The file as an object of ``schema``; an empty file is its defaults.

    Args:
        noun: what such a file is called.
        hint: where to see a right one.
        context: for the schema's validators.

    Raises:
        ForgeError: the file is no YAML, or breaks the schema; the message lists every error with
            its line.
    """
    if not path.is_file():
        raise ForgeError(f"{path}: no such file", f"give the path of a {noun}")
    if path.stat().st_size > LONGEST:
        raise ForgeError(f"{path}: larger than 1 MiB, so not a {noun}", "")
    content, lines = _parse(path, hint)
    try:
        return schema.model_validate(content or {}, context=context)
    except ValidationError as error:
        found = [_explain(path, item, lines, schema) for item in error.errors()]
        raise ForgeError("\n".join(found), hint) from error


def _parse(path: Path, hint: str) -> tuple[Any, dict[Location, int]]:
    """The content, and the line of every key."""
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)):
            raise ForgeError(
                f"{path}: has YAML aliases", "write each value out"
            )  # a few lines of them fill any memory
        return yaml.safe_load(text), _lines(yaml.compose(text, Loader=yaml.SafeLoader))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        deep = (
            "nested too deeply"
            if isinstance(error, RecursionError)
            else "not UTF-8 text, or a date that is none"
        )
        raise ForgeError(
            f"{where}: not YAML: {getattr(error, 'problem', None) or deep}", hint
        ) from error


def _lines(node: yaml.Node | None, at: Location = ()) -> dict[Location, int]:
    """Line number of every key and item, by its path."""
    import yaml

    found: dict[Location, int] = {}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*at, key.value)
            if here in found:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} twice", key.start_mark
                )
            found[here] = key.start_mark.line + 1
            found |= _lines(value, here)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            here = (*at, index)
            found[here] = item.start_mark.line + 1
            found |= _lines(item, here)
    return found


def _explain(path: Path, item: Any, lines: dict[Location, int], schema: type[BaseModel]) -> str:
    location = tuple(item["loc"])
    if item["type"] == "value_error" and not location:  # of the whole, which says itself where
        return f"{path}: {item['ctx']['error']}"
    line = next(
        (lines[location[:end]] for end in range(len(location), 0, -1) if location[:end] in lines), 1
    )
    key = ".".join(str(part) for part in location)
    if item["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(location[-1]), _keys(schema, location[:-1]), n=1)
        return f"{path}:{line}: unknown key {key!r}" + (
            f" (did you mean {near[0]!r}?)" if near else ""
        )
    problem = str(item["ctx"]["error"]) if item["type"] == "value_error" else item["msg"].lower()
    return f"{path}:{line}: {key}: {problem}"


def _keys(schema: type[BaseModel], section: Location) -> list[str]:
    """The keys that a section may have: of every model on the way that its path leaves open."""
    found = [schema]
    for part in section:
        fields = [
            model.model_fields[part].annotation for model in found if part in model.model_fields
        ]
        found = [model for field in fields for model in _models(field)] if fields else found
    # An item of a list of several kinds has its number and the name of its kind in the path.
    named = [model for model in found if section and model.__name__.lower() == section[-1]]
    return [name for model in named or found for name in model.model_fields]


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The models in an annotation such as ``dict[str, Model] | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]
