"""What PyTorch models say of themselves."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from trtforge.exporting import stated
from trtforge.metadata import Entry, parse


def archive(path: Path, text: str, member: str = "model/extra/config.txt") -> Path:
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("model/code/x.py", "")
        made.writestr(member, text)
    return path


def test_the_extra_file_of_a_torchscript_archive(tmp_path: Path) -> None:
    text = '{"task": "detect", "names": {"0": "anvil", "1": "barrel"}, "imgsz": [96, 96]}'
    found = stated.of_torchscript(archive(tmp_path / "m.torchscript", text))
    assert found["task"] == "detect"
    assert parse(found).names == Entry(("anvil", "barrel"), "names")
    assert parse(found).size == Entry((96, 96), "imgsz")


@pytest.mark.parametrize("text", ["", "[1]", "{", "x" * (1 << 21)])
def test_extra_files_that_say_nothing(tmp_path: Path, text: str) -> None:
    assert stated.of_torchscript(archive(tmp_path / "m", text)) == {}


def test_no_archive(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"PK")
    assert stated.of_torchscript(tmp_path / "m") == stated.of_torchscript(tmp_path / "none") == {}


class Named:
    """A module with names."""

    def __init__(self, names: object) -> None:
        self.names = names


def test_names_of_a_module() -> None:
    assert stated.of_module(Named({0: "anvil"})) == {"names": "{0: 'anvil'}"}
    assert stated.of_module(Named(["anvil", "barrel"])) == {"names": "['anvil', 'barrel']"}
    for names in (None, print, "anvil", [], [print]):
        assert stated.of_module(Named(names)) == {}
