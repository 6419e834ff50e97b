"""A configuration file as text: its groups, keys and values with their lines, without types."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Entry:
    """One key of a group.

    Attributes:
        text: the value as it stands in the file: in INI behind ``=`` without leading blanks, in
            YAML the scalar.
        line: number of its line, from 1.
        form: kind of the YAML node: scalar, list or map; INI has scalars only.
    """

    group: str
    key: str
    text: str
    line: int
    form: str = "scalar"


@dataclass(frozen=True)
class Fault:
    """A line at which the parser gives up.

    Attributes:
        rule: name of the lint rule.
        fix: lines that take the place of that line; None where only the author knows.
    """

    rule: str
    line: int
    problem: str
    fix: tuple[str, ...] | None = None


@dataclass
class Document:
    """A file that was read.

    Attributes:
        dialect: ini or yaml.
        lines: the text without line ends.
        groups: line of each group's first header.
        entries: every key, in order, also keys that a later line sets again.
        faults: lines at which the parser gives up; the other fields then describe the other lines.
        repeats: lines of headers of a group that began before.
    """

    path: Path
    dialect: str
    lines: list[str]
    groups: dict[str, int] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    repeats: list[tuple[str, int]] = field(default_factory=list)

    def group(self, name: str) -> dict[str, Entry]:
        """Return the entries of a group; of a repeated key, the last one."""
        return {entry.key: entry for entry in self.entries if entry.group == name}

    def effective(self) -> Iterator[Entry]:
        """Return every entry that no later line of the same group sets again."""
        last = {(entry.group, entry.key): entry for entry in self.entries}
        return iter(last.values())
