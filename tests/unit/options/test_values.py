"""Values as people write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from trtforge.errors import ForgeError
from trtforge.options import values


@pytest.mark.parametrize(
    ("text", "want"),
    [
        (None, None),
        ("1", (1, 1, 1)),
        ("8", (1, 8, 8)),
        ("1:8:16", (1, 8, 16)),
        ("4:4:4", (4, 4, 4)),
    ],
)
def test_batch(text: str | None, want: tuple[int, int, int] | None) -> None:
    assert values.parse_batch(text) == want


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "-1",
        "x",
        "1.5",
        "1:2",
        "1:2:3:4",
        "0:1:2",
        "4:2:8",
        "1:8:4",
        "1: 8:16",
        ":",
        "²",
        "1e3",
    ],
)
def test_bad_batches(text: str) -> None:
    with pytest.raises(ForgeError, match="--batch"):
        values.parse_batch(text)


def test_numbers_without_end_are_one_line_each() -> None:
    endless = "9" * 5000
    for read in (
        values.parse_batch,
        values.parse_memory,
        values.parse_timeout,
        lambda text: values.parse_percent(text, "--max-slower"),
    ):
        for text in (
            endless,
            f"1.{endless}",
            f"1:1:{endless}",
            f"{endless}s",
            f"{endless}GiB",
            f"{endless}%",
        ):
            with pytest.raises(ForgeError) as error:
                read(text)
            assert "\n" not in error.value.problem
    with pytest.raises(ForgeError, match="not an amount of memory"):
        values.parse_memory("9999999999GiB")
    assert values.parse_memory("1024GiB") == 2**40


@pytest.mark.parametrize("text", ["10000000000000000000000", "1:8:99999999999"])
def test_batches_beyond_reason(text: str) -> None:
    with pytest.raises(ForgeError, match="--batch"):
        values.parse_batch(text)


@pytest.mark.parametrize(
    ("text", "want"),
    [(None, None), ("640x640", (640, 640)), ("384X640", (384, 640)), ("1x99999", (1, 99999))],
)
def test_size(text: str | None, want: tuple[int, int] | None) -> None:
    assert values.parse_size(text) == want


@pytest.mark.parametrize(
    "text",
    ["", "640", "640x", "x640", "0x640", "640x0640x1", "640x-1", "640*640", "6.4x640", "123456x1"],
)
def test_bad_sizes(text: str) -> None:
    with pytest.raises(ForgeError, match="--size"):
        values.parse_size(text)


@pytest.mark.parametrize(
    ("text", "want"),
    [
        (None, None),
        ("1000000", 1000000),
        ("4GiB", 4 << 30),
        ("4gib", 4 << 30),
        ("512MB", 512 * 10**6),
        ("1.5G", 1500 * 10**6),
        ("2 KiB", 2048),
        ("1Gi", 1 << 30),
        ("7b", 7),
        ("0.5GiB", 1 << 29),
    ],
)
def test_memory(text: str | None, want: int | None) -> None:
    assert values.parse_memory(text) == want


@pytest.mark.parametrize(
    "text", ["", "0", "0GiB", "-1GiB", "GiB", "4TiB", "4 G i B", "4i", "4ib", "1e9", "nan", "1.GiB"]
)
def test_bad_memory(text: str) -> None:
    with pytest.raises(ForgeError, match="--workspace"):
        values.parse_memory(text)


def test_memory_of_less_than_a_byte() -> None:
    with pytest.raises(ForgeError, match="--workspace"):
        values.parse_memory("0.1")


def test_one_of() -> None:
    assert values.parse_choice("a", ("a", "b"), "--x") == "a"
    with pytest.raises(ForgeError, match="--x c: not known") as caught:
        values.parse_choice("c", ("a", "b"), "--x")
    assert caught.value.hint == "one of: a, b"


@pytest.mark.parametrize(("text", "want"), [("1/1", (1, 1)), ("2/8", (2, 8)), ("8/8", (8, 8))])
def test_shards(text: str, want: tuple[int, int]) -> None:
    assert values.parse_shard(text) == want


def test_python_gives_the_values_themselves() -> None:
    assert values.parse_batch(8) == (1, 8, 8)
    assert values.parse_batch((1, 8, 16)) == (1, 8, 16)
    assert values.parse_size((640, 384)) == (640, 384)
    assert values.parse_memory(1 << 30) == 1 << 30
    assert values.parse_seconds(2) == 2
    assert values.parse_seconds(0.25) == 0.25
    assert values.parse_numbers([1, 8], "--batch", 16) == [1, 8]
    assert values.parse_numbers(4, "--batch", 16) == [4]
    assert values.parse_names(["fp32", "int8"], "--precision", ("fp32", "int8")) == ["fp32", "int8"]
    assert values.parse_percent(3, "--max-slower") == 3
    assert values.parse_shard((1, 2)) == (1, 2)
    assert values.parse_class_ids([0, 2]) == (0, 2)
    assert values.names_of("orin-nx") == ["orin-nx"]
    assert values.paths_of("a") == [Path("a")]
    assert values.paths_of(["a", Path("b")]) == [Path("a"), Path("b")]


@pytest.mark.parametrize("value", [0, -1, 2.5, (1, 2), (4, 2, 8), [], True])
def test_python_gives_a_wrong_batch(value: object) -> None:
    with pytest.raises(ForgeError, match="--batch"):
        values.parse_batch(value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "images=1x3x64x64:4x3x64x64:8x3x64x64",
            {"images": ((1, 3, 64, 64), (4, 3, 64, 64), (8, 3, 64, 64))},
        ),
        (
            "in:0=1x2:1x2:1x2,a=b=1:2:3",
            {"in:0": ((1, 2), (1, 2), (1, 2)), "a=b": ((1,), (2,), (3,))},
        ),
    ],
)
def test_profile(text: str, found: values.Profile) -> None:
    assert values.parse_profile(text) == found


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("images", "not NAME=MIN:OPT:MAX"),
        ("images=1x3", "not NAME=MIN:OPT:MAX"),
        ("=1:2:3", "not NAME=MIN:OPT:MAX"),
        ("a=1x3:2x3:3", "not in order"),
        ("a=4:2:8", "not in order"),
        ("a=0:1:2", "not in order"),
        ("a=1:2:x", "not NAME=MIN:OPT:MAX"),
    ],
)
def test_profile_that_is_none(text: str, why: str) -> None:
    with pytest.raises(ForgeError, match=why):
        values.parse_profile(text)
