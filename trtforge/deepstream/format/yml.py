"""Read and write nvinfer's YAML: a map of groups, each a map of scalars.

Booleans are 0 and 1, lists are ``a;b;c``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trtforge.deepstream.format.document import Document, Entry, Fault
from trtforge.deepstream.format.keys import Value
from trtforge.deepstream.format.values import format_value
from trtforge.documents import DocumentError, check_events, loader, yaml_error

if TYPE_CHECKING:
    import yaml

MAX_LEVELS = 8  # a map of groups, each a map of scalars, is all that DeepStream reads
# Text that every YAML reader reads as this text without quotes.
_PLAIN = re.compile(r"[\w./;+-][\w./;+:,@%=-]*(?<!:)")


def parse(text: str, path: Path) -> Document:
    """Groups, keys and faults of a YAML file."""
    import yaml

    document = Document(path, "yaml", text.split("\n"))
    try:
        check_events(text, MAX_LEVELS)
        root = yaml.compose(text, Loader=loader())
    except DocumentError as error:
        document.faults.append(Fault("yaml-syntax", error.line or 1, error.reason))
        return document
    except (yaml.YAMLError, ValueError) as error:
        problem = yaml_error(error)
        document.faults.append(
            Fault("yaml-syntax", problem.line or 1, f"not YAML: {problem.reason}")
        )
        return document
    if not isinstance(root, yaml.MappingNode):
        document.faults.append(Fault("yaml-syntax", 1, "not a map of groups"))
        return document
    for key, value in root.value:
        _group(document, str(key.value), value, key.start_mark.line + 1)
    return document


def _group(document: Document, name: str, node: yaml.Node, number: int) -> None:
    import yaml

    if name in document.groups:
        document.repeats.append((name, number))
    document.groups.setdefault(name, number)
    if not isinstance(node, yaml.MappingNode):
        if node.value not in ("", "null", "~"):
            document.faults.append(Fault("yaml-syntax", number, f"{name} is no map of keys"))
        return
    for key, value in node.value:
        form, text = "scalar", str(value.value)
        if isinstance(value, yaml.SequenceNode):
            form, text = "list", ";".join(str(item.value) for item in value.value)
        elif isinstance(value, yaml.MappingNode):
            form = "map"
        document.entries.append(Entry(name, str(key.value), text, key.start_mark.line + 1, form))


def write(sections: Mapping[str, Mapping[str, Value]], comments: Sequence[str] = ()) -> str:
    """nvinfer's YAML; ``comments`` stand at its head, one a line."""
    lines = [f"# {comment}" for comment in comments]
    for name, keys in sections.items():
        lines += [f"{name}:", *(f"  {key}: {_text(value)}" for key, value in keys.items())]
    return "\n".join(lines) + "\n"


def _text(value: Value) -> str:
    if not isinstance(value, str):
        return format_value(value)
    return value if _PLAIN.fullmatch(value) else json.dumps(value, ensure_ascii=False)
