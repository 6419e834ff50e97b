"""Read and write values as nvinfer's two parsers do."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from trtforge.deepstream.format.keys import Key, Value

_INT = re.compile(r"[ \t\n\v\f\r]*[+-]?\d+")
_FLOAT = re.compile(
    r"[ \t\n\v\f\r]*[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|inf(inity)?|nan)",
    re.IGNORECASE,
)
_ESCAPES = {"s": " ", "n": "\n", "t": "\t", "r": "\r", "\\": "\\"}
_INT_RANGE = range(-(2**31), 2**31)
_SPACE = " \t\n\f\r"


def parse(key: Key, text: str, dialect: str) -> Value:
    """Convert the text of a value as nvinfer does.

    Args:
        text: what stands in the file: in INI behind ``=`` without leading blanks, in YAML the
            scalar.
        dialect: ini or yaml.

    Raises:
        ValueError: the parser fails there: an error in INI, an uncaught exception in YAML. The
            message says why.
    """
    if not key.kind.endswith("s"):
        yaml = _YAML_PREFIX if key.prefix else _YAML
        readers = _INI if dialect == "ini" else yaml
        value: Value = _shorten(key, readers[key.kind](text), dialect)
        return value
    texts = _ini_list(text) if dialect == "ini" else text.split(";")
    read_item = (_INI_ITEM if dialect == "ini" else _YAML_PREFIX)[key.kind[:-1]]
    return tuple(_shorten(key, read_item(item), dialect) for item in texts)


def _shorten(key: Key, value: Any, dialect: str) -> Any:
    """Return a text as YAML's parser keeps it, up to ``key.cut`` characters; else the value."""
    return value[: key.cut] if dialect == "yaml" and key.cut and isinstance(value, str) else value


# -------------------------------------------------------------------------------------------------
# GLib's key file


def _ini_int(text: str) -> int:
    """Convert as strtol does: a blank may follow, so ``8 # eight`` is 8; a blank list item is 0."""
    digits = _INT.match(text)
    if not digits and text[:1] in tuple(_SPACE):
        return 0
    if not digits or (text[digits.end() :] and text[digits.end()] not in _SPACE):
        raise ValueError(f"{text!r} is not a whole number")
    return _check_range(int(digits[0]))


def _ini_float(text: str) -> float:
    """Convert as g_ascii_strtod does; nothing may follow the number, not even a blank."""
    if re.fullmatch(r"[+-]?0[xX][0-9a-fA-F]+", text):
        return float(int(text, 16))
    number = _FLOAT.match(text)
    if not number:
        raise ValueError(f"{text!r} is not a number")
    if number.end() != len(text):
        raise ValueError(f"{text!r} is not a number: nothing may follow {number[0]!r}")
    return float(text)


def _ini_bool(text: str) -> bool:
    word = text.rstrip(_SPACE)
    if word in ("true", "1"):
        return True
    if word in ("false", "0"):
        return False
    raise ValueError(f"{text!r} is none of true, false, 1 and 0")


def unescape(text: str) -> str:
    """Replace escapes as g_key_file_get_string does: ``\\s \\n \\t \\r \\\\`` and no others.

    Raises:
        ValueError: another escape.
    """
    return _unescaped(text, _ESCAPES)


def _unescaped(text: str, escapes: dict[str, str]) -> str:
    parts, rest = [], iter(text)
    for char in rest:
        if char != "\\":
            parts.append(char)
            continue
        code = next(rest, None)
        if code is None or code not in escapes:
            raise ValueError(f"{text!r} has a backslash, which begins an escape here")
        parts.append(escapes[code])
    return "".join(parts)


def _ini_list(text: str) -> list[str]:
    """Split a list at its semicolons, but not at ``\\;``; a last semicolon adds no empty item."""
    parts = re.findall(r"((?:[^;\\]|\\.|\\$)*)(;|$)", text)
    texts = [part for part, end in parts if part or end]
    return [_unescaped(part, {**_ESCAPES, ";": ";"}) for part in texts]


# -------------------------------------------------------------------------------------------------------
# yaml-cpp


def _yaml_int(text: str) -> int:
    """Convert as yaml-cpp's ``as<int>`` does: decimal, 0x.. or 0.. (octal), and nothing else."""
    word = text.strip(_SPACE)
    for pattern, base in (
        (r"[+-]?0[xX][0-9a-fA-F]+", 16),
        (r"[+-]?0[0-7]+", 8),
        (r"[+-]?(0|[1-9]\d*)", 10),
    ):
        if re.fullmatch(pattern, word):
            return _check_range(int(word, base))
    raise ValueError(f"{text!r} is not a whole number")


def _yaml_float(text: str) -> float:
    word = text.strip(_SPACE)
    if infinity := re.fullmatch(r"([+-]?)\.(inf|Inf|INF)", word):
        return -math.inf if infinity[1] == "-" else math.inf
    if word in (".nan", ".NaN", ".NAN"):
        return math.nan
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", word):
        raise ValueError(f"{text!r} is not a number")
    return float(word)


def _yaml_bool(text: str) -> bool:
    try:
        return bool(_yaml_int(text))
    except ValueError:
        raise ValueError(f"{text!r} is neither 0 nor 1: any other value ends the process") from None


def _prefix_int(text: str) -> int:
    """Convert the whole number at the beginning of a text, as std::stoi does."""
    digits = _INT.match(text)
    if not digits:
        raise ValueError(f"{text!r} does not begin with a whole number")
    return _check_range(int(digits[0]))


def _prefix_float(text: str) -> float:
    number = _FLOAT.match(text)
    if not number:
        raise ValueError(f"{text!r} does not begin with a number")
    return float(number[0])


def _prefix_bool(text: str) -> bool:
    try:
        return bool(_prefix_int(text))
    except ValueError:
        raise ValueError(f"{text!r} is neither 0 nor 1: any other value ends the process") from None


def _check_range(number: int) -> int:
    if number not in _INT_RANGE:
        raise ValueError(f"{number} does not fit into 32 bits")
    return number


_INI: dict[str, Callable[[str], Any]] = {
    "int": _ini_int,
    "bool": _ini_bool,
    "float": _ini_float,
    "string": unescape,
    "path": unescape,
}
_INI_ITEM = _INI | {"string": str, "path": str}  # the escapes of a list are gone when it is split
_YAML: dict[str, Callable[[str], Any]] = {
    "int": _yaml_int,
    "bool": _yaml_bool,
    "float": _yaml_float,
    "string": str,
    "path": str,
}
_YAML_PREFIX = _YAML | {"int": _prefix_int, "bool": _prefix_bool, "float": _prefix_float}


# ---------------------------------------------------------------------------------------------------------
# writing


def format_value(value: Value) -> str:
    """Return a value as text that both parsers read alike: 0 and 1, ``a;b;c``."""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, (str, int)):
        return str(value)
    if isinstance(value, float):
        return f"{value:.10g}"
    return ";".join(format_value(item) for item in value)
