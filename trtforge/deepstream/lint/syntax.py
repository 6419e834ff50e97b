"""Find lines that the parser refuses or misreads."""

from __future__ import annotations

from collections.abc import Iterator

from trtforge.deepstream.lint.finding import Finding
from trtforge.deepstream.lint.subject import Subject


def faults(subject: Subject) -> Iterator[Finding]:
    for fault in subject.document.faults:
        yield subject.at(fault.rule, fault.line, fault.problem, fault.fix)


def groups(subject: Subject) -> Iterator[Finding]:
    if (
        subject.kind == "nvinfer"
        and "property" not in subject.document.groups
        and not subject.document.faults
    ):
        yield subject.at(
            "no-property-group", 1, "nvinfer refuses the file: it has no group named property"
        )
    both = (
        "both are read as one"
        if subject.document.dialect == "ini"
        else "which of the two holds is not defined"
    )
    for name, line in subject.document.repeats:
        yield subject.at("duplicate-group", line, f"[{name}] began before: {both}")


def repeats(subject: Subject) -> Iterator[Finding]:
    held = set(subject.document.held())
    for entry in subject.document.entries:
        if entry not in held:
            yield subject.at(
                "duplicate-key",
                entry,
                f"{entry.key} stands again below, and that one holds",
                subject.without(entry),
            )


def commented(subject: Subject) -> Iterator[Finding]:
    for entry in subject.document.held():
        if entry.key.startswith((";", "//")):
            yield subject.at(
                "commented-key",
                entry,
                "only '#' begins a comment: this is a key of a strange name",
                (f"# {subject.document.lines[entry.line - 1].strip().lstrip(';/ ')}",),
            )


def encoding(subject: Subject) -> Iterator[Finding]:
    for entry in subject.document.held():
        if "\ufffd" in entry.text:
            yield subject.at(
                "not-utf8",
                entry,
                f"the value of {entry.key} is not UTF-8, and GLib refuses to read it",
            )


RULES = (faults, groups, repeats, commented, encoding)
