"""Read YAML and JSON that comes from outside.

The readers bound size and nesting before a recursive parser sees the text, refuse YAML aliases and
repeated keys, and name the line of each error. A pydantic model describes what a document holds.
"""

from __future__ import annotations

import difflib
import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, get_args

from pydantic import BaseModel, RootModel, ValidationError

from trtforge.errors import ForgeError

if TYPE_CHECKING:
    import yaml
    from pydantic_core import ErrorDetails

# Nobody writes a larger file by hand.
MAX_YAML_BYTES = 1 << 20
# A calibration table with the histograms of a large model has 0.1 GB.
MAX_JSON_BYTES = 1 << 30
# No document of ours nests more than 8 levels. PyYAML's scanner takes time quadratic in the depth.
MAX_LEVELS = 32
Schema = TypeVar("Schema", bound=BaseModel)
Location = tuple[str | int, ...]


class DocumentError(ValueError):
    """A text is not an acceptable YAML or JSON document.

    Attributes:
        reason: what is wrong with it, for people.
        line: line of the fault, counted from 1; None if it is not known.
    """

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line


@dataclass(frozen=True)
class Document:
    """A YAML document.

    Attributes:
        content: its value, made of dict, list, str, int, float, bool, date and None.
        lines: the line of every key and list item, by its path.
    """

    content: object
    lines: dict[Location, int]


def read_yaml(
    path: Path, schema: type[Schema], noun: str, hint: str, context: object = None
) -> Schema:
    """Return a YAML file as an object of ``schema``; an empty file gives the defaults.

    Args:
        noun: what messages call such a file, such as ``recipe``.
        hint: where to see a correct one.
        context: passed to the schema's validators.

    Raises:
        ForgeError: the file is not YAML, or breaks the schema; the message lists every error with
            its line.
    """
    if not path.is_file():
        raise ForgeError(f"{path}: no such file", f"give the path of a {noun}")
    text = read_text(path, noun, hint, MAX_YAML_BYTES)
    return parse_yaml(text, str(path), schema, hint, context)


def read_json(path: Path, noun: str, hint: str, *, repeats: bool = False) -> object:
    """Return what a JSON file holds.

    Args:
        noun: what messages call such a file, such as ``recipe``.
        hint: how to get a correct one.
        repeats: a key may occur twice in an object; the last value counts.

    Raises:
        ForgeError: the file is missing, too large or not JSON, nests too deeply, or has a key twice.
    """
    try:
        return load_json(read_text(path, noun, hint, MAX_JSON_BYTES), repeats=repeats)
    except DocumentError as error:
        raise ForgeError(f"{path}: not a {noun}: {error.reason}", hint) from error


def read_text(path: Path, noun: str, hint: str, max_bytes: int) -> str:
    """Return the text of a file that is not too large.

    Raises:
        ForgeError: the file is missing, too large or not UTF-8 text, or can't be read.
    """
    try:
        if path.stat().st_size > max_bytes:
            raise ForgeError(f"{path}: larger than {max_bytes >> 20} MiB, so not a {noun}", hint)
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ForgeError(f"{path}: no such file", hint) from error
    except UnicodeDecodeError as error:
        raise ForgeError(f"{path}: not a {noun}: not UTF-8 text", hint) from error
    except OSError as error:
        raise ForgeError(f"{path}: can't be read ({error.strerror})", hint) from error


def parse_yaml(
    text: str, origin: str, schema: type[Schema], hint: str, context: object = None
) -> Schema:
    """Return the content of a YAML text as an object of ``schema``.

    Args:
        origin: the name of the file, for messages.
        hint, context: see ``read_yaml``.

    Raises:
        ForgeError: the text is not YAML, or breaks the schema.
    """
    return validate(parse_document(text, origin, hint), origin, schema, hint, context)


def parse_document(text: str, origin: str, hint: str) -> Document:
    """Return the content of a YAML text, with the lines of its keys.

    Raises:
        ForgeError: the text is not YAML, nests too deeply, or has aliases or a key twice.
    """
    try:
        return load_yaml(text)
    except DocumentError as error:
        where = f"{origin}:{error.line}" if error.line else origin
        raise ForgeError(f"{where}: not YAML: {error.reason}", hint) from error


def validate(
    document: Document, origin: str, schema: type[Schema], hint: str, context: object = None
) -> Schema:
    """Return a document as an object of ``schema``.

    Raises:
        ForgeError: the document breaks the schema; the message lists every error with its line.
    """
    try:
        content = {} if document.content is None else document.content
        return schema.model_validate(content, context=context)
    except ValidationError as error:
        faults = [_explain(origin, fault, document.lines, schema) for fault in error.errors()]
        raise ForgeError("\n".join(faults), hint) from error


def load_yaml(text: str) -> Document:
    """Parse YAML within bounds.

    Raises:
        DocumentError: the text is not YAML, nests too deeply, or has aliases or a key twice.
    """
    import yaml

    try:
        check_events(text, MAX_LEVELS)
        node = yaml.compose(text, Loader=loader())
        return Document(yaml.load(text, Loader=loader()), _lines(node))
    except DocumentError:
        raise
    except (yaml.YAMLError, ValueError) as error:  # ValueError: for example 2026-02-30
        raise yaml_error(error) from error


def check_events(text: str, max_levels: int) -> None:
    """Refuse aliases and deep nesting while the text is scanned, before anything is built from it.

    A few lines of aliases can fill any memory. The scan stops at the first level that is too deep.

    Raises:
        DocumentError: the text has an alias, or nests too deeply.
        yaml.YAMLError: the text is not YAML.
    """
    import yaml

    level = 0
    for event in yaml.parse(text, Loader=loader()):
        if isinstance(event, yaml.AliasEvent):
            raise DocumentError("has YAML aliases: write each value out", _line(event))
        if isinstance(event, yaml.CollectionStartEvent):
            level += 1
            if level > max_levels:
                raise DocumentError("nested too deeply", _line(event))
        elif isinstance(event, yaml.CollectionEndEvent):
            level -= 1


@functools.cache
def loader() -> type[yaml.SafeLoader]:
    """Return PyYAML's safe loader; if built in, that of libyaml, which is ten times as fast."""
    import yaml

    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def yaml_error(error: Exception) -> DocumentError:
    """Return an error of PyYAML as a DocumentError with its line."""
    mark = getattr(error, "problem_mark", None)
    reason = getattr(error, "problem", None) or "a date or number that does not exist"
    return DocumentError(str(reason), mark.line + 1 if mark else None)


def load_json(text: str, *, repeats: bool = False) -> object:
    """Parse JSON.

    Args:
        repeats: a key may occur twice in an object; the last value counts. This is faster.

    Raises:
        DocumentError: the text is not JSON, nests too deeply, or has a key twice.
    """
    try:
        content: object = json.loads(text, object_pairs_hook=None if repeats else _object)
    except DocumentError:
        raise
    except RecursionError as error:
        # Python's scanner takes linear time, and stops at a depth of a few thousand.
        raise DocumentError("nested too deeply") from error
    except ValueError as error:
        raise DocumentError(f"not JSON: {error}", getattr(error, "lineno", None)) from error
    return content


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise DocumentError(f"has the key {twice!r} twice")
    return values


def _lines(node: yaml.Node | None, path: Location = ()) -> dict[Location, int]:
    """Return the line of every key and item by its path.

    Raises:
        DocumentError: a mapping has a key twice.
    """
    import yaml

    lines: dict[Location, int] = {}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            key_path = (*path, key.value if isinstance(key, yaml.ScalarNode) else "?")
            if key_path in lines:
                raise DocumentError(f"the key {key_path[-1]!r} twice", _line(key))
            lines[key_path] = _line(key)
            lines |= _lines(value, key_path)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            item_path = (*path, index)
            lines[item_path] = _line(item)
            lines |= _lines(item, item_path)
    return lines


def _line(place: yaml.Node | yaml.Event) -> int:
    mark = place.start_mark
    return 1 if mark is None else int(mark.line) + 1


def _explain(
    origin: str, fault: ErrorDetails, lines: dict[Location, int], schema: type[BaseModel]
) -> str:
    """Return an error of pydantic as one line of a message."""
    location = tuple(fault["loc"])
    # An error about the whole document has no location; its own message names the place.
    if fault["type"] == "value_error" and not location:
        return f"{origin}: {fault['ctx']['error']}"
    paths = (location[:end] for end in range(len(location), 0, -1))
    line = next((lines[path] for path in paths if path in lines), 1)
    key = ".".join(str(part) for part in location)
    if fault["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(location[-1]), _keys(schema, location[:-1]), n=1)
        suggestion = f" (did you mean {near[0]!r}?)" if near else ""
        return f"{origin}:{line}: unknown key {key!r}{suggestion}"
    problem = str(fault["ctx"]["error"]) if fault["type"] == "value_error" else fault["msg"].lower()
    return f"{origin}:{line}: {key}: {problem}"


def _keys(schema: type[BaseModel], section: Location) -> list[str]:
    """Return the keys that a section may have, of all models that its path can lead to."""
    # A document that maps names to models has no keys of its own.
    root: object = None
    if issubclass(schema, RootModel):
        root = schema.model_fields["root"].annotation
    models = _models(root) if root else [schema]
    for part in section:
        name = str(part)
        fields = [
            model.model_fields[name].annotation for model in models if name in model.model_fields
        ]
        if fields:
            models = [model for field in fields for model in _models(field)]
    # pydantic's path to an item of a union ends with the tag of the item's model.
    tagged = [model for model in models if section and model.__name__.lower() == section[-1]]
    return [name for model in tagged or models for name in model.model_fields]


def _models(annotation: object) -> list[type[BaseModel]]:
    """Return the models in an annotation such as ``dict[str, Model] | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]
