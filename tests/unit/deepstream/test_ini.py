"""Key files against GLib itself: what it refuses, and what it makes of each value."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import pytest

from trtforge.deepstream.format import ini
from trtforge.deepstream.format.keys import Key
from trtforge.deepstream.format.values import parse

from .glib import KeyFile

ATOMS = [
    "[p]",
    "[",
    "]",
    "=",
    "a",
    "b",
    " ",
    "\t",
    "#",
    ";",
    "\\",
    "\\s",
    "\\;",
    "1",
    "0",
    "-",
    "+",
    ".",
    "e",
    "true",
    "false",
    "é",
    "\r",
    "//",
    "x",
    "[q]",
    "a=1",
    "0x1",
    "nan",
    "inf",
    ": ",
]
KINDS = ("int", "bool", "float", "string", "ints", "floats", "strings")
VALUES = [
    "1", "1 # one", "1#one", "1 ", "+1", "0x1", "010", "1.0", "", "99999999999", "-1", "true", "true ", "TRUE", "yes",
    "0.5 # half", "0.5 ", "1e-3", ".5", "5.", "nan", "3;640;640", "3;640;640;", "3; 640; 640", "3,640", "3;;4", "a b  ",
    "c:\\x", "x\\", "a\\;b;c", "\\sx", "1;2 # two", ";", "é",
]  # fmt: skip


def of_glib(file: KeyFile, key: str, kind: str) -> Any:
    try:
        return file.get("p", key, kind)
    except ValueError:
        return "refused"


def of_ours(text: str, kind: Any) -> Any:
    try:
        return parse(Key(kind), text, "ini")
    except ValueError:
        return "refused"


def same(one: Any, other: Any) -> bool:
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other or (
        isinstance(one, float)
        and isinstance(other, float)
        and math.isnan(one)
        and math.isnan(other)
    )


@pytest.mark.parametrize("text", VALUES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_value_is_what_glib_makes_of_it(text: str, kind: str) -> None:
    file, document = KeyFile(f"[p]\na={text}\n"), ini.parse(f"[p]\na={text}\n", Path("a.txt"))
    ours = of_ours(document.group("p")["a"].text, kind)
    theirs = of_glib(file, "a", kind)
    assert same(ours, theirs), (ours, theirs)


@pytest.mark.parametrize(
    "text",
    [
        "[p]\na = 1\n",
        "[p] \na=1",
        "[p] # c\na=1",
        "; c\n[p]\na=1",
        "a=1\n[p]\n",
        "[p]\n=1\n",
        "[p]\na\n",
        "[p]\r\na=1\r\n",
        "  [p]\n  a=1\n",
        "[p]\na b=1",
        "[p]\na[b]=1",
        "[p]\na[=1",
        "\ufeff[p]\na=1",
        "[p\na=1",
        "[]\n",
        "[a[b]\nc=1",
        "[p]\n[x=1]\n",
        "[p]\n;a=1\n",
        "",
        "#\n",
        "[p]\na=1\na=2\n[q]\n[p]\nb=1",
        "[p]]\n",
    ],
)
def test_a_file_is_refused_where_glib_refuses_it(text: str) -> None:
    assert bool(ini.parse(text, Path("a.txt")).faults) == refused(text)


def refused(text: str) -> bool:
    try:
        KeyFile(text)
    except ValueError:
        return True
    return False


def test_random_files_are_read_as_glib_reads_them() -> None:
    draw = random.Random(0)
    for _ in range(4000):
        lines = [
            "[p]",
            *(
                "".join(draw.choices(ATOMS, k=draw.randint(0, 6)))
                for _ in range(draw.randint(0, 3))
            ),
        ]
        text = "\n".join(lines[draw.random() < 0.2 :]) + "\n"
        document = ini.parse(text, Path("a.txt"))
        assert bool(document.faults) == refused(text), text
        if document.faults:
            continue
        file = KeyFile(text)
        for key, entry in document.group("p").items():
            for kind in KINDS:
                assert same(of_ours(entry.text, kind), of_glib(file, key, kind)), (text, key, kind)


def test_the_last_of_two_holds_and_groups_are_joined() -> None:
    document = ini.parse("[p]\na=1\n[q]\n[p]\na=2\nb=3\n", Path("a.txt"))
    assert {key: entry.text for key, entry in document.group("p").items()} == {"a": "2", "b": "3"}
    assert document.repeats == [("p", 4)]


@pytest.mark.parametrize("text", ["a\\b", "  x", "plain", "käse", "a;b", "#x", "$(x)"])
def test_a_written_text_is_read_back(text: str) -> None:
    assert KeyFile(ini.write({"p": {"a": text}})).get("p", "a", "string") == text
