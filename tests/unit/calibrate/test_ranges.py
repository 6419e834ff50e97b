"""The table of ranges, as a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trtforge.calibrate.ranges import Ranges, load, save
from trtforge.errors import ForgeError


def table(**changes: Any) -> Ranges:
    given: dict[str, Any] = {
        "amax": {"image": 1.0, "a: b": 0.1 + 0.2, "dead": 0.0},
        "method": "entropy",
        "model": "0" * 64,
        "images": {"sub/a.jpg": "1" * 64},
        "skipped": ["broken.jpg"],
        "preprocess": {"scale": 1 / 255},
        "versions": {"numpy": "2"},
    }
    return Ranges(**(given | changes))


def changed(path: Path, **changes: Any) -> Path:
    """The table's file with keys changed; ``...`` drops one."""
    save(table(), path)
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not ...}))
    return path


def test_a_table_comes_back_exactly(tmp_path: Path) -> None:
    save(table(), tmp_path / "t.json")
    assert load(tmp_path / "t.json") == table()


def test_the_same_table_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save(table(), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(ForgeError, match="no such file"):
        load(tmp_path / "t.json")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", '"text"', "\x00\x01"])
def test_not_a_table(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(ForgeError, match="not a calibration table"):
        load(tmp_path / "t.json")


def test_not_text(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ForgeError, match="not a calibration table"):
        load(tmp_path / "t.json")


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ForgeError):
        load(tmp_path)


@pytest.mark.parametrize("format_", ["trtforge-calibration-0", None, ...])
def test_another_format(tmp_path: Path, format_: Any) -> None:
    with pytest.raises(ForgeError, match="not a calibration table of this version"):
        load(changed(tmp_path / "t.json", format=format_))


@pytest.mark.parametrize(
    "changes", [{"amax": ...}, {"more": 1}, {"amax": [1]}, {"amax": {"x": "y"}}, {"amax": {"x": None}}]
)
def test_keys_that_are_wrong(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(ForgeError, match="not a calibration table"):
        load(changed(tmp_path / "t.json", **changes))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1.0])
def test_ranges_that_are_no_magnitudes(tmp_path: Path, bad: float) -> None:
    with pytest.raises(ForgeError, match="the range of 'x' is"):
        load(changed(tmp_path / "t.json", amax={"image": 1.0, "x": bad}))


def test_whole_numbers_are_ranges_too(tmp_path: Path) -> None:
    assert load(changed(tmp_path / "t.json", amax={"image": 1})).amax == {"image": 1.0}
