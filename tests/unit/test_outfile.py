"""Files that are written whole, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from trtforge.errors import ForgeError
from trtforge.outfile import single
from trtforge.store import Facts


def upper(draft: Path, text: Path, *, fail: bool = False, extra: bool = False) -> Facts:
    (draft / "made.txt").write_text(text.read_text().upper())
    if extra:
        (draft / "made.txt.data").write_text("data")
    if fail:
        raise ForgeError("no", "")
    return {"ok": 1}


@pytest.fixture
def text(tmp_path: Path) -> Path:
    (tmp_path / "in.txt").write_text("abc")
    return tmp_path / "in.txt"


def test_single_writes_one_file(text: Path) -> None:
    out = text.with_name("out.txt")
    assert single(upper, "made.txt", out, text=text) == {"ok": 1}
    assert out.read_text() == "ABC"
    assert sorted(path.name for path in text.parent.iterdir()) == ["in.txt", "out.txt"]


def test_single_leaves_the_old_file_when_it_fails(text: Path) -> None:
    out = text.with_name("out.txt")
    out.write_text("old")
    with pytest.raises(ForgeError):
        single(upper, "made.txt", out, text=text, fail=True)
    assert out.read_text() == "old"
    assert sorted(path.name for path in text.parent.iterdir()) == ["in.txt", "out.txt"]


def test_single_refuses_its_own_input(text: Path) -> None:
    with pytest.raises(ForgeError, match="is the input itself"):
        single(upper, "made.txt", text.parent / "." / "in.txt", text=text)
    assert text.read_text() == "abc"


def test_single_refuses_one_of_several_inputs(text: Path) -> None:
    other = text.with_name("other.txt")
    other.write_text("x")
    with pytest.raises(ForgeError, match="is the input itself"):
        single(upper, "made.txt", text, texts=[other, text])


def test_single_refuses_its_own_input_behind_a_link(text: Path) -> None:
    text.with_name("link").symlink_to(text)
    with pytest.raises(ForgeError, match="is the input itself"):
        single(upper, "made.txt", text.with_name("link"), text=text)


def test_single_refuses_a_folder(text: Path) -> None:
    with pytest.raises(ForgeError, match="is a folder"):
        single(upper, "made.txt", text.parent, text=text)
