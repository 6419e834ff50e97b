"""Text of a file's metadata: read as values, never run."""

from __future__ import annotations

import time

import pytest

from trtforge.metadata import values


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{0: 'person', 1: \"it's\"}", {0: "person", 1: "it's"}),
        ('{"0": "a", "1": null}', {"0": "a", "1": None}),
        ("[320, 320]", [320, 320]),
        ("(1, -2.5e3, True)", (1, -2500.0, True)),
        ("'a\\'b'", "a'b"),
        ("640", 640),
        ("person", None),
        ("", None),
        ("1 + 1", None),
        ("1-1-1", None),
        ("-" * 5000 + "1", None),
        ("__import__('os').getcwd()", None),
        ("[x for x in (1,)]", None),
        ("{**{}}", None),
        ("9" * 5000, None),
        ("[" * 20 + "]" * 20, None),
        ("'" + "x" * values.MAX_CHARACTERS + "'", None),
    ],
)
def test_literals(text: str, value: object) -> None:
    assert values.literal(text) == value


@pytest.mark.parametrize(
    "text",
    ["[" * 500_000, '\\"' * 500_000, "'" * 999_999, "(" * 15 + "1," * 400_000, "-1" * 500_000],
)
def test_nothing_takes_long(text: str) -> None:
    start = time.process_time()
    values.literal(text)
    values.names(text)
    assert time.process_time() - start < 10


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("{0: 'cat', 1: 'dog'}", ("cat", "dog")),
        ("{1: 'dog', 0: 'cat'}", ("cat", "dog")),
        ('{"0": "cat", "1": "dog"}', ("cat", "dog")),
        ("{'cat': 0, 'dog': 1}", ("cat", "dog")),
        ("['cat', 'dog']", ("cat", "dog")),
        ("['cat']", ("cat",)),
        ("[{0: 'cat', 1: 'dog'}]", ("cat", "dog")),
        ("cat\ndog\n", ("cat", "dog")),
        ("cat, hot dog", ("cat", "hot dog")),
        ("{0: 'cat', 2: 'dog'}", ("cat", "class1", "dog")),
        ("{0: 'cat;pet', 1: 'a\\nb', 2: ''}", ("cat,pet", "a b", "class2")),
        ("['\\x1b[31mred']", ("[31mred",)),
        ("{0: 'cat', 10**9: 'dog'}", ()),
        ("{0: 'cat', 1000000000: 'dog'}", ()),
        ("{-1: 'cat'}", ()),
        ("{0: ['cat']}", ()),
        ("{0: 'cat', 1:", ()),
        ("cat", ()),
        ("3", ()),
        ("{}", ()),
    ],
)
def test_names(text: str, names: tuple[str, ...]) -> None:
    assert values.names(text) == names


def test_words_and_characters() -> None:
    assert values.words("cat hot_dog") == ("cat", "hot_dog")
    assert values.characters("a\n;\n \n#") == ("a", ";", " ", "#")


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("[1, 2.5]", (1.0, 2.5)),
        ("123.675 116.28", (123.675, 116.28)),
        ("255", (255.0,)),
        ("[1, 'a']", ()),
        ("1 x", ()),
        ("1e999", ()),
        ("[True]", ()),
    ],
)
def test_numbers(text: str, numbers: tuple[float, ...]) -> None:
    assert values.numbers(text) == numbers


def test_sides_and_counts() -> None:
    assert values.sides("[320, 640]") == (320, 640)
    assert values.sides("224") == (224, 224)
    assert values.sides("[1, 3, 224, 224]") is values.sides("[0, 5]") is values.sides("x") is None
    assert (values.whole("32"), values.whole("32.0"), values.whole("-1")) == (32, 32, None)
    assert (values.truth("True"), values.truth(" false"), values.truth("maybe")) == (
        True,
        False,
        None,
    )
