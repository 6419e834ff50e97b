"""Check the names and values of keys against the table of known keys."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from trtforge.deepstream.format import app_keys
from trtforge.deepstream.format.document import Entry
from trtforge.deepstream.format.keys import CLASS_ATTRS, PROPERTY, Key, nearest, version
from trtforge.deepstream.format.values import parse
from trtforge.deepstream.lint.finding import Finding
from trtforge.deepstream.lint.subject import Subject

_SECRET = ("tlt-model-key",)  # keys whose values are not shown in findings


def names(subject: Subject) -> Iterator[Finding]:
    """Yield the groups and keys that DeepStream does not know."""
    for group, line in subject.document.groups.items():
        if subject.table(group) is None and not _source_like(subject, group):
            yield _unknown_group(subject, group, line)
    for entry in subject.effective():
        table = subject.table(entry.group)
        if table is None or subject.key(entry) is not None or entry.key.startswith((";", "//")):
            continue
        if subject.kind == "app" and entry.key in app_keys.REMOVED:
            yield subject.at(
                "no-effect",
                entry,
                f"{entry.key} is {app_keys.REMOVED[entry.key]}",
                subject.without(entry),
            )
            continue
        near = nearest(entry.key, table)
        fix = (
            subject.written(entry, name=near)
            if near and near not in subject.document.group(entry.group)
            else None
        )
        yield subject.at(
            "unknown-key",
            entry,
            f"nobody reads {entry.key} in [{entry.group}]{_or(near) or _elsewhere(entry)}",
            fix,
        )


def _unknown_group(subject: Subject, group: str, line: int) -> Finding:
    near = nearest(group, _groups(subject))
    free = near is not None and near not in subject.document.groups
    old = subject.document.lines[line - 1]
    return subject.at(
        "unknown-group",
        line,
        f"nobody reads [{group}]{_or(near)}",
        (old.replace(group, near).rstrip("\r"),) if near and free else None,
    )


def _source_like(subject: Subject, group: str) -> bool:
    # The rule source-name reports these.
    return subject.kind == "app" and group.startswith(("source", "dewarper"))


def _groups(subject: Subject) -> list[str]:
    if subject.kind == "nvinfer":
        return ["property", "class-attrs-all"]
    return [*app_keys.GROUPS, *(f"{name}0" for name in app_keys.FAMILIES)]


def _or(near: str | None) -> str:
    return f"; did you mean {near}?" if near else ""


def _elsewhere(entry: Entry) -> str:
    if entry.group == "property" and entry.key in CLASS_ATTRS:
        return "; it belongs in [class-attrs-all]"
    if entry.group.startswith("class-attrs") and entry.key in PROPERTY:
        return "; it belongs in [property]"
    return ""


def types(subject: Subject) -> Iterator[Finding]:
    """Yield the values that the parser can't read, cuts short, or finds out of range."""
    for entry, key in subject.scalars():
        dialect = subject.document.dialect
        if dialect not in key.dialects:
            instead = f": use {key.instead}" if key.instead else ""
            yield subject.at(
                "ini-only-key", entry, f"the YAML parser does not know {entry.key}{instead}"
            )
        elif entry.form != "scalar":
            yield _structure(subject, entry, key)
        elif not entry.text and key.kind != "string":
            fatal = dialect == "yaml" or key.kind not in ("path", "strings", "paths")
            yield subject.at(
                "empty-value",
                entry,
                f"{entry.key} has no value",
                subject.without(entry),
                "error" if fatal else None,
            )
        else:
            yield from _value(subject, entry, key)


def _structure(subject: Subject, entry: Entry, key: Key) -> Finding:
    if entry.form == "list" and key.kind.endswith("s"):
        return subject.at(
            "yaml-list",
            entry,
            f"{entry.key} as a YAML list ends the process: a list is a;b;c here",
            _plain(subject, entry, entry.text),
        )
    return subject.at(
        "wrong-type", entry, f"{entry.key} is a {entry.form}, where nvinfer reads {_describe(key)}"
    )


def _value(subject: Subject, entry: Entry, key: Key) -> Iterator[Finding]:
    try:
        value = parse(key, entry.text, subject.document.dialect)
    except ValueError as error:
        if subject.kind == "app" and entry.key == "enable":
            return  # the rule left-out reports it in more detail
        yield _unreadable(subject, entry, key, str(error))
        return
    if key.kind in ("string", "path") and subject.document.dialect == "ini":
        yield from _text_end(subject, entry, key)
    if (
        key.prefix
        and subject.document.dialect == "yaml"
        and entry.text.strip() not in (str(value), str(int(value == 1)))
    ):
        yield subject.at(
            "cut-number",
            entry,
            f"{entry.key}: nvinfer reads {entry.text!r} as {value!r}",
            subject.written(entry, value=value),
        )
    if (
        key.cut
        and subject.document.dialect == "yaml"
        and any(len(part) > key.cut for part in entry.text.split(";"))
    ):
        yield subject.at(
            "cut-text",
            entry,
            f"the YAML parser keeps {key.cut} characters of {entry.key}; INI keeps all",
        )
    if fault := key.fault(value):
        rule = "wrong-count" if key.wrong_count(value) else "out-of-range"
        if subject.kind == "app":
            rule = "unusual-value"
        yield subject.at(
            rule,
            entry,
            f"{entry.key}: {entry.text} {fault}{_topk_advice(entry)}",
            subject.without(entry) if entry.key == "topk" else None,
        )


def _topk_advice(entry: Entry) -> str:
    return (
        ": without the key there is no limit, but -1 itself is refused"
        if entry.key == "topk"
        else ""
    )


def _unreadable(subject: Subject, entry: Entry, key: Key, reason: str) -> Finding:
    """Return the likely mistake in a value that can't be converted, and a corrected line."""
    text, dialect = entry.text, subject.document.dialect
    fails = (
        "nvinfer's YAML parser throws, and the process ends"
        if dialect == "yaml"
        else "the parser refuses the file"
    )
    if "\\" in text and key.kind in ("string", "path", "strings", "paths"):
        return subject.at(
            "backslash",
            entry,
            f"{entry.key}: a backslash begins an escape: {fails}",
            _plain(subject, entry, text.replace("\\", "/")),
        )
    shown = text if entry.key not in _SECRET else "***"
    # In a list, a semicolon separates values, and only # can begin a comment.
    comment = r"\s*#.*$" if key.kind.endswith("s") else r"\s*[#;].*$"
    bare = re.sub(comment, "", text).strip()
    if bare != text.strip() and _is_readable(key, bare, dialect):
        return subject.at(
            "comment-behind-value",
            entry,
            f"{entry.key}: {shown!r}, with the comment: {fails}",
            _plain(subject, entry, bare),
        )
    if bare != text and _is_readable(key, bare, dialect):
        return subject.at(
            "trailing-blank",
            entry,
            f"{entry.key}: {shown!r}, with the blank: {fails}",
            _plain(subject, entry, bare),
        )
    listed = ";".join(part.strip() for part in re.split(r"[,;]", bare.strip("[]")) if part.strip())
    if key.kind.endswith("s") and _is_readable(key, listed, dialect):
        return subject.at(
            "comma-list",
            entry,
            f"{entry.key}: {shown!r} is no list: {fails}",
            _plain(subject, entry, listed),
        )
    words = {"true": "1", "yes": "1", "on": "1", "false": "0", "no": "0", "off": "0"}
    if key.kind == "bool" or (key.choices and set(key.choices) == {0, 1}):
        rule = "yaml-boolean" if dialect == "yaml" else "wrong-type"
        word = words.get(bare.lower())
        return subject.at(
            rule,
            entry,
            f"{entry.key}: {reason}: {fails}",
            _plain(subject, entry, word) if word else None,
        )
    return subject.at(
        "wrong-type", entry, f"{entry.key} is {_describe(key)}, and {reason}: {fails}"
    )


def _text_end(subject: Subject, entry: Entry, key: Key) -> Iterator[Finding]:
    text = entry.text
    bare = re.sub(r"\s+#.*$", "", text).rstrip()
    shown = repr(text) if entry.key not in _SECRET else "the value"
    if bare != text.rstrip():
        yield subject.at(
            "comment-behind-value",
            entry,
            f"{entry.key} is {shown}, with the comment",
            _plain(subject, entry, bare),
        )
    elif bare != text:
        yield subject.at(
            "trailing-blank",
            entry,
            f"{entry.key} ends with a blank, which is part of it",
            _plain(subject, entry, bare),
            "error" if key.kind == "path" else "warning",
        )


def _plain(subject: Subject, entry: Entry, text: str) -> tuple[str, ...] | None:
    return subject.written(replace(entry, form="scalar"), value=text)


def _is_readable(key: Key, text: str, dialect: str) -> bool:
    try:
        parse(key, text, dialect)
    except ValueError:
        return False
    return bool(text)


def _describe(key: Key) -> str:
    names = {
        "int": "a whole number",
        "bool": "0 or 1",
        "float": "a number",
        "string": "text",
        "path": "a path",
    }
    return names.get(key.kind) or f"a list of {key.kind}, separated by semicolons"


def status(subject: Subject) -> Iterator[Finding]:
    """Yield the keys that are deprecated, have no effect, or are newer than the DeepStream version."""
    for entry, key in subject.scalars():
        if subject.document.dialect not in key.dialects:
            continue
        if key.instead:
            yield subject.at(
                "deprecated-key",
                entry,
                f"{entry.key} is deprecated: use {key.instead}",
                _renamed(subject, entry, key),
            )
        if key.effect == "debugging":
            yield subject.at(
                "no-effect", entry, f"{entry.key} is {key.remark}, and slow", severity="note"
            )
        elif key.effect == "dead-format":
            yield subject.at(
                "dead-format" if key.kind == "path" else "no-effect", entry, key.remark
            )
        elif key.effect == "none":
            yield subject.at("no-effect", entry, f"{entry.key}: {key.remark}", severity="note")
        if key.since and version(subject.deepstream) < version(key.since):
            yield subject.at(
                "unknown-since",
                entry,
                f"{entry.key} was seen in DeepStream {key.since}; whether "
                f"{subject.deepstream} reads it is not known",
            )


def _renamed(subject: Subject, entry: Entry, key: Key) -> tuple[str, ...] | None:
    # These two keep their value under the new name. The other replaced keys need another value, too:
    # input-dims has a fourth number, and is-classifier=1 becomes network-type=1.
    rename_suffices = entry.key in ("threshold", "smart-rec-video-cache")
    taken = key.instead in subject.document.group(entry.group)
    return subject.written(entry, name=key.instead) if rename_suffices and not taken else None


RULES = (names, types, status)
