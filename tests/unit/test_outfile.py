"""Files that are written whole, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from trtforge.errors import ForgeError
from trtforge.outfile import single


def upper(draft: Path, text: Path) -> int:
    (draft / "made.txt").write_text(text.read_text().upper())
    return 1


def write_single(out: Path, text: Path, write: Callable[[Path, Path], int] = upper) -> int:
    return single(lambda draft: write(draft, text), "made.txt", out, reads=[text])


@pytest.fixture
def text(tmp_path: Path) -> Path:
    (tmp_path / "in.txt").write_text("abc")
    return tmp_path / "in.txt"


def test_single_writes_one_file(text: Path) -> None:
    out = text.with_name("out.txt")
    assert write_single(out, text) == 1
    assert out.read_text() == "ABC"
    assert sorted(path.name for path in text.parent.iterdir()) == ["in.txt", "out.txt"]


def test_single_leaves_the_old_file_when_it_fails(text: Path) -> None:
    out = text.with_name("out.txt")
    out.write_text("old")

    def fail(draft: Path, text: Path) -> int:
        upper(draft, text)
        raise ForgeError("no", "")

    with pytest.raises(ForgeError, match="no"):
        write_single(out, text, fail)
    assert out.read_text() == "old"
    assert sorted(path.name for path in text.parent.iterdir()) == ["in.txt", "out.txt"]


def test_single_refuses_its_own_input(text: Path) -> None:
    with pytest.raises(ForgeError, match="is the input itself"):
        write_single(text.parent / "." / "in.txt", text)
    assert text.read_text() == "abc"


def test_single_refuses_one_of_several_inputs(text: Path) -> None:
    other = text.with_name("other.txt")
    other.write_text("x")
    with pytest.raises(ForgeError, match="is the input itself"):
        single(lambda draft: upper(draft, text), "made.txt", text, reads=[other, text])


def test_single_refuses_its_own_input_behind_a_link(text: Path) -> None:
    text.with_name("link").symlink_to(text)
    with pytest.raises(ForgeError, match="is the input itself"):
        write_single(text.with_name("link"), text)


def test_single_refuses_a_folder(text: Path) -> None:
    with pytest.raises(ForgeError, match="is a folder"):
        write_single(text.parent, text)
