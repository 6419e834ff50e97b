"""Read and write GLib key files, the INI dialect of nvinfer and deepstream-app.

Only ``#`` begins a comment, and only at the start of a line. GLib refuses the whole file
if a line is not a comment, a group or ``key=value``. Blanks after a value are part of the value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from trtforge.deepstream.format.document import Document, Entry, Fault
from trtforge.deepstream.format.keys import Value
from trtforge.deepstream.format.values import format_value

_SPACE = " \t\n\f\r"
_GROUP = re.compile(r"\[([^\]]*)\][ \t]*")
_KEY = re.compile(r"(?! )[^=\[\]]*[^=\[\] ](\[[\w.@-]*\])?")


def parse(text: str, path: Path) -> Document:
    """Return the groups, keys and faults of a key file."""
    document = Document(path, "ini", text.split("\n"))
    group: str | None = None
    for number, raw in enumerate(document.lines, 1):
        line = raw.removesuffix("\r").lstrip(_SPACE)
        if not line or line.startswith("#"):
            continue
        if header := _GROUP.fullmatch(line):
            group = _header(document, header[1], number)
        elif "=" in line and not line.startswith("="):
            _pair(document, group, line, number)
        else:
            document.faults.append(_junk(line, number))
    return document


def _header(document: Document, name: str, number: int) -> str:
    if not name or "[" in name or any(ord(char) < 32 or ord(char) == 127 for char in name):
        document.faults.append(Fault("invalid-group", number, f"[{name}] is no name for a group"))
    elif name in document.groups:
        document.repeats.append((name, number))
    document.groups.setdefault(name, number)
    return name


def _pair(document: Document, group: str | None, line: str, number: int) -> None:
    name, _, value = line.partition("=")
    name = name.rstrip(_SPACE)
    if group is None:
        document.faults.append(Fault("no-group", number, f"{name} stands before any [group]"))
        return
    if not _KEY.fullmatch(name):
        document.faults.append(Fault("invalid-key", number, f"{name!r} is no name for a key"))
        return
    if "[" in name:
        return  # a translation, which these parsers never read
    document.entries.append(Entry(group, name, value.lstrip(_SPACE), number))


def _junk(line: str, number: int) -> Fault:
    if line.startswith((";", "//")):
        return Fault(
            "semicolon-comment",
            number,
            "only '#' begins a comment: GLib refuses the whole file",
            (f"# {line.lstrip(';/ ')}",),
        )
    if line.startswith("\ufeff"):
        return Fault(
            "byte-order-mark",
            number,
            "the file begins with a byte order mark, which GLib takes for text",
            (line.removeprefix("\ufeff"),),
        )
    if found := re.match(r"(\[[^\[\]]+\])\s*[#;]", line):
        return Fault(
            "comment-behind-group",
            number,
            "nothing may stand behind a [group]: GLib refuses the whole file",
            (found[1],),
        )
    if re.match(r"[a-z][a-z0-9+.-]*:(/|\s*//)", line, re.IGNORECASE):
        return Fault(
            "junk-line", number, f"{line}: a URI alone is no key=value: GLib refuses the whole file"
        )
    if found := re.fullmatch(r"([\w-]+)\s*:\s*(\S.*)", line):
        return Fault(
            "yaml-in-ini",
            number,
            "key: value is YAML; by its name this file is INI",
            (f"{found[1]}={found[2]}",),
        )
    return Fault(
        "junk-line",
        number,
        "neither comment, [group] nor key=value: GLib refuses the whole file",
        (f"# {line}",),
    )


def escape(text: str) -> str:
    """Escape a text so that g_key_file_get_string returns it."""
    text = text.replace("\\", "\\\\")
    blanks = len(text) - len(text.lstrip(" "))
    return "\\s" * blanks + text[blanks:]


def write(sections: Mapping[str, Mapping[str, Value]], comments: Sequence[str] = ()) -> str:
    """Return a key file; ``comments`` come first, one a line."""
    lines = [f"# {comment}" for comment in comments]
    for name, keys in sections.items():
        lines += ["", f"[{name}]", *(f"{key}={_text(value)}" for key, value in keys.items())]
    return "\n".join(lines).strip() + "\n"


def _text(value: Value) -> str:
    return escape(value) if isinstance(value, str) else format_value(value)
