"""Turn the text of a file's metadata into values. The text is untrusted, and nothing in it is run.

Exporters write Python literals (Ultralytics), JSON, a name a line (OCR tools), or words between
spaces or commas. Text that is none of these, too long or nested too deeply has no value here.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping, Sequence

MAX_CHARACTERS = 1 << 20  # as much as a labels file may have
MAX_LEVELS = 16
MAX_NAMES = 1 << 16
LARGEST = 1e9  # of a number; none of an image's is near
MAX_PIXELS = 1 << 16  # of a side
LONGEST_NAME = 200  # characters; nvinfer itself keeps 127 bytes
# What a literal is made of, apart from strings. A number stands behind a separator, never behind
# another value, so no chain of signs or sums is a literal.
_PLAIN = re.compile(
    r"(?:[\s\[\](){},:]"
    r"|(?<![\w.)\]}'\"])[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?(?![\w.])"
    r"|\b(?:True|False|None|true|false|null)\b)+"
)
_STRING = re.compile(r"'(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\"")
_LEVELS = {"[": 1, "(": 1, "{": 1, "]": -1, ")": -1, "}": -1}


def literal(text: str) -> object:
    """Return the value of a JSON text or a Python literal; None if it is neither, or too large."""
    text = text.strip()
    if not text or len(text) > MAX_CHARACTERS or not _is_literal(text):
        return None
    try:
        value: object = json.loads(text)
        return value
    except (ValueError, RecursionError):
        pass
    try:
        found: object = ast.literal_eval(text)
        return found
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None


def _is_literal(text: str) -> bool:
    """Tell whether a text is made of the tokens of literals and JSON, and nests no deeper than we allow."""
    place, level = 0, 0
    while place < len(text):
        found = _PLAIN.match(text, place)
        for char in found[0] if found else "":
            level += _LEVELS.get(char, 0)
            if level > MAX_LEVELS:
                return False
        found = found or _STRING.match(text, place)
        if found is None:
            return False
        place = found.end()
    return True


def names(text: str) -> tuple[str, ...]:
    """Return the names of classes in the order of their numbers; empty where the text has none.

    A literal is a list of names, a mapping from numbers to names, or one from names to numbers. Else
    each line has a name, or commas part them.
    """
    value = literal(text)
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
        value = value[0]  # the names of each output
    if isinstance(value, Mapping):
        return _by_number(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return _cleaned(value)
    text = value if isinstance(value, str) else text
    if value is not None and not isinstance(value, str):
        return ()
    if len(text) > MAX_CHARACTERS or text.lstrip()[:1] in ("{", "["):
        return ()
    parts = text.strip().splitlines()
    if len(parts) == 1:
        parts = text.split(",")
    return _cleaned(parts) if len(parts) > 1 else ()


def words(text: str) -> tuple[str, ...]:
    """Return the names between spaces, as OpenVINO's tools write them."""
    return _cleaned(text.split()) if len(text) <= MAX_CHARACTERS else ()


def characters(text: str) -> tuple[str, ...]:
    """Return the lines of an OCR dictionary as they are: a space may be a character."""
    lines = tuple(text.splitlines()) if len(text) <= MAX_CHARACTERS else ()
    return lines if 1 < len(lines) <= MAX_NAMES else ()


def _by_number(value: Mapping[object, object]) -> tuple[str, ...]:
    """Return the values of a mapping from numbers, or the keys of a mapping to numbers, in order.

    A number without a name gets one, as a category that a data set has dropped.
    """
    pairs = [(_number(key), name) for key, name in value.items()]
    if any(number is None for number, _ in pairs):
        pairs = [(_number(number), name) for name, number in value.items()]
    named = {number: name for number, name in pairs if number is not None}
    if len(named) < len(value) or not named or min(named) < 0 or max(named) >= MAX_NAMES:
        return ()
    return _cleaned([named.get(number, "") for number in range(max(named) + 1)])


def _number(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, str) and re.fullmatch(r"\d{1,9}", value) else None


def _cleaned(values: Sequence[object]) -> tuple[str, ...]:
    """Return names that a line of nvinfer's label files can hold; empty where a value is no name."""
    if not values or len(values) > MAX_NAMES:
        return ()
    if any(not isinstance(value, str | int | float) for value in values):
        return ()
    return tuple(clean(str(value)) or f"class{number}" for number, value in enumerate(values))


def clean(name: str) -> str:
    """Return a name without line breaks and control characters, and with commas for semicolons.

    nvinfer ends a label at a semicolon.
    """
    printable = "".join(char if char.isprintable() else " " for char in name)
    return " ".join(printable.replace(";", ",").split())[:LONGEST_NAME]


def numbers(text: str) -> tuple[float, ...]:
    """Return the numbers of a literal list, or between spaces; empty where there are none."""
    value = literal(text)
    parts: Sequence[object] = value if isinstance(value, list | tuple) else [value]
    if value is None and len(text) <= MAX_CHARACTERS:
        parts = [literal(part) for part in text.replace(",", " ").split()]
    found = tuple(
        float(part)
        for part in parts
        if isinstance(part, int | float) and not isinstance(part, bool) and abs(part) < LARGEST
    )
    return found if len(found) == len(parts) else ()


def whole(text: str) -> int | None:
    """Return a whole number that a side or a count may be; None where the text is none."""
    found = numbers(text)
    fits = len(found) == 1 and found[0].is_integer() and 1 <= found[0] <= MAX_PIXELS
    return int(found[0]) if fits else None


def sides(text: str) -> tuple[int, int] | None:
    """Return height and width: two numbers, or one for both; None where the text has none."""
    found = [int(number) for number in numbers(text) if number.is_integer()]
    found = found * 2 if len(found) == 1 else found
    fits = len(found) == 2 and all(1 <= side <= MAX_PIXELS for side in found)
    return (found[0], found[1]) if fits else None


def truth(text: str) -> bool | None:
    """Return True or False where the text says it."""
    return {"true": True, "1": True, "false": False, "0": False}.get(text.strip().lower())
