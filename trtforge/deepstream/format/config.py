"""Read, check and write nvinfer's configuration as typed values, in INI and YAML."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from trtforge.deepstream.format import ini, yml
from trtforge.deepstream.format.dialects import read as read_document
from trtforge.deepstream.format.keys import Key, Value, nearest, nvinfer
from trtforge.deepstream.format.secrets import redact
from trtforge.deepstream.format.values import parse
from trtforge.errors import ForgeError

Config = dict[str, dict[str, Value]]
Keys = Callable[[str], Mapping[str, Key] | None]

_KINDS: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "bool": (bool,),
    "float": (float, int),
    "string": (str,),
    "path": (str,),
}


def check(sections: Mapping[str, Mapping[str, Value]], known: Keys = nvinfer) -> None:
    """Hold sections to what the parsers accept in both dialects.

    Args:
        known: the keys of a group; nvinfer's, or deepstream-app's.

    Raises:
        ForgeError: a group or key that nobody reads, or a value of the wrong type or out of range.
    """
    for group, keys in sections.items():
        table = known(group)
        if table is None:
            raise ForgeError(f"[{group}]: a group that nobody reads", "")
        for name, value in keys.items():
            if name not in table:
                near = nearest(name, table)
                raise ForgeError(
                    f"[{group}] {name}: no such key", f"did you mean {near}?" if near else ""
                )
            if fault := _fault(table[name], value):
                raise ForgeError(f"[{group}] {name}: {value!r} {fault}", "")


def _fault(key: Key, value: Value) -> str:
    if isinstance(value, tuple):
        kinds = _KINDS.get(key.kind[:-1], ()) if key.kind.endswith("s") else ()
        if any(isinstance(item, bool) or not isinstance(item, kinds) for item in value):
            return f"is not of type {key.kind}"
        if any(isinstance(item, str) and ";" in item for item in value):
            return "holds a semicolon, which ends an item in YAML"
    elif not isinstance(value, _KINDS.get(key.kind, ())) or (
        isinstance(value, bool) and key.kind != "bool"
    ):
        return f"is not of type {key.kind}"
    if isinstance(value, str) and any(ord(char) < 32 or ord(char) == 127 for char in value):
        return "holds a control character"
    if isinstance(value, str) and value != value.strip():
        return "begins or ends with a blank"
    if len(key.dialects) == 1:
        return "is for INI files only"
    return key.fault(value)


def read(path: Path, known: Keys = nvinfer) -> Config:
    """Read a file as typed values; a repeated key has its last value, unknown keys are left out.

    Raises:
        ForgeError: the parser of its dialect would refuse it; names the line.
    """
    document = read_document(path)
    if document.faults:
        fault = document.faults[0]
        raise ForgeError(
            f"{path}:{fault.line}: {redact(fault.problem)}", "`trtforge deepstream lint` tells more"
        )
    sections: Config = {}
    for entry in document.effective():
        table = known(entry.group)
        if (
            table is None
            or entry.key not in table
            or document.dialect not in table[entry.key].dialects
        ):
            continue
        try:
            value = parse(table[entry.key], entry.text, document.dialect)
        except ValueError as error:
            raise ForgeError(
                f"{path}:{entry.line}: {entry.key}: {redact(str(error))}",
                "`trtforge deepstream lint` tells more",
            ) from error
        sections.setdefault(entry.group, {})[entry.key] = value
    return sections


def write(
    sections: Mapping[str, Mapping[str, Value]],
    dialect: str,
    comments: Sequence[str] = (),
    known: Keys = nvinfer,
) -> str:
    """Return a file's text, which both parsers read as the same values.

    Raises:
        ForgeError: see :func:`check`.
    """
    check(sections, known)
    return yml.write(sections, comments) if dialect == "yaml" else ini.write(sections, comments)
