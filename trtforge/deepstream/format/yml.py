"""nvinfer's YAML: a map of groups, each a map of scalars. Booleans are 0 and 1, lists are
``a;b;c``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trtforge.deepstream.format.document import Document, Entry, Fault
from trtforge.deepstream.format.keys import Value
from trtforge.deepstream.format.values import text_of

if TYPE_CHECKING:
    import yaml

DEEPEST = 8
_PLAIN = re.compile(
    r"[\w./;+-][\w./;+:,@%=-]*(?<!:)"
)  # text that every YAML reader takes for itself


def parse(text: str, path: Path) -> Document:
    """Groups, keys and faults of a YAML file."""
    import yaml

    document = Document(path, "yaml", text.split("\n"))
    try:
        if hostile := _hostile(text):
            document.faults.append(Fault("yaml-syntax", 1, hostile))
            return document
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or "nested too deeply"
        document.faults.append(
            Fault("yaml-syntax", mark.line + 1 if mark else 1, f"not YAML: {reason}")
        )
        return document
    if not isinstance(root, yaml.MappingNode):
        document.faults.append(Fault("yaml-syntax", 1, "not a map of groups"))
        return document
    for key, value in root.value:
        _group(document, str(key.value), value, key.start_mark.line + 1)
    return document


def _hostile(text: str) -> str:
    """A few lines of aliases fill any memory, and deep nesting takes the scanner the square of its
    depth.
    """
    import yaml

    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(
            event, yaml.CollectionEndEvent
        )
        if isinstance(event, yaml.AliasEvent):
            return "has YAML aliases: write each value out"
        if depth > DEEPEST:
            return "nested too deeply: a map of groups, each a map of scalars, is all that there is"
    return ""


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
        form = (
            "list"
            if isinstance(value, yaml.SequenceNode)
            else "map"
            if isinstance(value, yaml.MappingNode)
            else ""
        )
        text = (
            ";".join(str(item.value) for item in value.value)
            if form == "list"
            else str(value.value)
        )
        document.entries.append(
            Entry(name, str(key.value), text, key.start_mark.line + 1, form or "scalar")
        )


def write(sections: Mapping[str, Mapping[str, Value]], comments: Sequence[str] = ()) -> str:
    """nvinfer's YAML; ``comments`` stand at its head, one a line."""
    lines = [f"# {comment}" for comment in comments]
    for name, keys in sections.items():
        lines += [f"{name}:", *(f"  {key}: {_text(value)}" for key, value in keys.items())]
    return "\n".join(lines) + "\n"


def _text(value: Value) -> str:
    if not isinstance(value, str):
        return text_of(value)
    return value if _PLAIN.fullmatch(value) else json.dumps(value, ensure_ascii=False)
