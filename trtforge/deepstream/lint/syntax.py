"""Find lines that the parser refuses or misreads."""

from __future__ import annotations

from collections.abc import Iterator

from trtforge.deepstream.lint.finding import Finding
from trtforge.deepstream.lint.subject import Subject


def faults(subject: Subject) -> Iterator[Finding]:
    """Yield the lines at which the parser gives up."""
    for fault in subject.document.faults:
        yield subject.at(fault.rule, fault.line, fault.problem, fault.fix)


def groups(subject: Subject) -> Iterator[Finding]:
    """Yield a missing [property] group, and groups that occur twice."""
    document = subject.document
    # After a fault the parser may have missed the group.
    if subject.kind == "nvinfer" and "property" not in document.groups and not document.faults:
        yield subject.at(
            "no-property-group", 1, "nvinfer refuses the file: it has no [property] group"
        )
    is_ini = document.dialect == "ini"
    effect = "GLib merges the two" if is_ini else "it is not defined which of the two counts"
    for name, line in document.repeats:
        yield subject.at("duplicate-group", line, f"[{name}] occurs a second time: {effect}")


def repeats(subject: Subject) -> Iterator[Finding]:
    """Yield the keys that a later line of the same group sets again."""
    effective = set(subject.document.effective())
    for entry in subject.document.entries:
        if entry not in effective:
            yield subject.at(
                "duplicate-key",
                entry,
                f"{entry.key} is set again below, and the last value counts",
                subject.without(entry),
            )


def commented(subject: Subject) -> Iterator[Finding]:
    """Yield keys that begin with ``;`` or ``//``, which their author meant as comments."""
    for entry in subject.document.effective():
        if entry.key.startswith((";", "//")):
            text = subject.document.lines[entry.line - 1].strip().lstrip(";/ ")
            yield subject.at(
                "commented-key",
                entry,
                "only '#' begins a comment: this line is read as a key",
                (f"# {text}",),
            )


def encoding(subject: Subject) -> Iterator[Finding]:
    """Yield values that are not UTF-8: the reader put U+FFFD in place of their bytes."""
    for entry in subject.document.effective():
        if "\ufffd" in entry.text:
            yield subject.at(
                "not-utf8",
                entry,
                f"the value of {entry.key} is not UTF-8, and GLib refuses to read it",
            )


RULES = (faults, groups, repeats, commented, encoding)
