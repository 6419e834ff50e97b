"""A file under examination, with what is known around it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trtforge.deepstream.config.graph import Graph
from trtforge.deepstream.format import app_keys, keys
from trtforge.deepstream.format.document import Document, Entry
from trtforge.deepstream.format.keys import Key, Value
from trtforge.deepstream.format.values import format_value, parse
from trtforge.deepstream.lint.finding import Finding, Severity
from trtforge.recipe import Recipe

# DeepStream leaves out a group of these if its `enable` is 0, missing, or not a number.
SWITCHED = ("source", "sink", "primary-gie", "secondary-gie")


@dataclass
class Subject:
    """One file.

    Attributes:
        kind: nvinfer or app.
        deepstream: version that will read it.
        recipe: the model's, if known.
        element: properties that the pipeline sets on the element, which stand above the file's;
            None if the file is looked at alone.
        graph: of the ONNX file, if it is there.
        values: every value that its parser can convert.
    """

    document: Document
    kind: str
    deepstream: str
    recipe: Recipe | None = None
    element: Mapping[str, Value] | None = None
    graph: Graph | None = None
    values: dict[str, dict[str, Value]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for entry in self.document.effective():
            key = self.key(entry)
            if key is None or self.document.dialect not in key.dialects or entry.form != "scalar":
                continue
            try:
                self.values.setdefault(entry.group, {})[entry.key] = parse(
                    key, entry.text, self.document.dialect
                )
            except ValueError:
                continue

    @property
    def folder(self) -> Path:
        return self.document.path.resolve().parent

    def table(self, group: str) -> Mapping[str, Key] | None:
        """Return the keys of a group; None for a group that nobody reads."""
        return keys.nvinfer(group) if self.kind == "nvinfer" else app_keys.app(group)

    def key(self, entry: Entry) -> Key | None:
        if self.kind == "app":
            return app_keys.key_of(entry.group, entry.key)
        return (self.table(entry.group) or {}).get(entry.key)

    def entry(self, name: str, group: str = "property") -> Entry | None:
        return self.document.group(group).get(name)

    def get(self, name: str, group: str = "property") -> Any:
        """Return the value that counts: the element's, the file's, or the default."""
        if group == "property" and self.element and name in self.element:
            return self.element[name]
        given = self.values.get(group, {})
        if name == "network-type" and name not in given and given.get("is-classifier"):
            return 1  # the INI parser puts the old key in the new one's place
        table = self.table(group) or {}
        return given.get(name, table[name].default if name in table else None)

    def path(self, name: str) -> Path | None:
        """Return a file that the configuration names, resolved as nvinfer resolves it."""
        text = self.get(name)
        return self.folder / text if isinstance(text, str) and text else None

    def line_of(self, name: str, group: str = "property") -> int:
        """Line of a key, or of its group where the key is left out."""
        entry = self.entry(name, group)
        return entry.line if entry else self.document.groups.get(group, 1)

    def at(
        self,
        rule: str,
        where: Entry | int,
        why: str,
        fix: tuple[str, ...] | None = None,
        severity: Severity | None = None,
    ) -> Finding:
        line = where.line if isinstance(where, Entry) else where
        return Finding(rule, self.document.path, line, why, fix, severity)

    def on(
        self,
        rule: str,
        name: str,
        why: str,
        value: Value | None = None,
        severity: Severity | None = None,
    ) -> Finding:
        """Return a finding about a key of the property group; ``value`` is what should stand there."""
        entry = self.entry(name)
        fix = None
        if value is not None:
            fix = self.written(entry, value=value) if entry else self.added(name, value)
        return self.at(rule, entry or self.line_of(name), why, fix, severity)

    def written(
        self, entry: Entry, *, name: str | None = None, value: Value | None = None
    ) -> tuple[str, ...] | None:
        """Return an entry's line with another name or value."""
        text = entry.text if value is None else format_value(value)
        line = self.document.lines[entry.line - 1]
        if self.document.dialect == "ini":
            return (f"{name or entry.key}={text}",)
        found = re.fullmatch(r"(\s*)[^:]+:(?:\s+(.*?))?(\s+#.*)?\r?", line)
        if not found or (value is None and entry.form != "scalar"):
            return None
        return (
            f"{found[1]}{name or entry.key}: {found[2] if value is None else text}{found[3] or ''}",
        )

    def added(self, name: str, value: Value, group: str = "property") -> tuple[str, ...]:
        """Return a group's header with one more key under it."""
        line = self.document.lines[self.document.groups.get(group, 1) - 1].rstrip("\r")
        if self.document.dialect == "ini":
            return line, f"{name}={format_value(value)}"
        first = next((entry for entry in self.document.entries if entry.group == group), None)
        text = self.document.lines[first.line - 1] if first else "  "
        return line, f"{text[: len(text) - len(text.lstrip())]}{name}: {format_value(value)}"

    def without(self, entry: Entry) -> tuple[str, ...]:
        """Return an entry's line, commented out."""
        return (f"# {self.document.lines[entry.line - 1].strip()}",)

    def looked_at(self, group: str) -> bool:
        """Tell whether the parser reads a group's keys, which it does not where a source is off."""
        if self.kind == "nvinfer":
            return group == "property" or self.get("network-type") in (0, 3)
        if group.rstrip("0123456789") not in SWITCHED:
            return True
        return "enable" in self.document.group(group) and self.get("enable", group) != 0

    def effective(self) -> Iterator[Entry]:
        """Yield every entry that counts, in groups whose keys are read."""
        return (entry for entry in self.document.effective() if self.looked_at(entry.group))

    def scalars(self) -> Iterator[tuple[Entry, Key]]:
        """Yield every entry that counts and that the parser knows."""
        for entry in self.effective():
            key = self.key(entry)
            if key is not None:
                yield entry, key
