"""The output folder: all at once, and never over what someone else wrote."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trtforge.bundle import folder as module
from trtforge.bundle.folder import (
    MANIFEST,
    Contents,
    changed,
    check_output,
    listed_files,
    read_document,
    write,
)
from trtforge.errors import ForgeError
from trtforge.store import NOTHING, File, Nothing, Stage, Store, digest
from trtforge.store.drafts import draft_in


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "parent" / "out"


@pytest.fixture
def contents(tmp_path: Path) -> Contents:
    def run(draft: Path, inputs: Nothing, options: Nothing) -> Nothing:
        (draft / "model.onnx").write_bytes(b"model")
        return NOTHING

    stage = Stage("make", 1, (), run, Nothing)
    stored = Store(tmp_path / "store").run(stage, NOTHING, NOTHING).file("model.onnx")
    return {"a.onnx": stored, "labels.txt": b"cat\n"}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def edited(out: Path, **changes: Any) -> None:
    """Change keys of the manifest; ``...`` drops one."""
    content = json.loads((out / MANIFEST).read_text()) | changes
    (out / MANIFEST).write_text(
        json.dumps({key: value for key, value in content.items() if value is not ...})
    )


def test_a_new_folder(out: Path, contents: Contents) -> None:
    assert write(out, contents, {"name": "x"}, force=False)
    assert names(out) == ["a.onnx", "labels.txt", MANIFEST]
    assert names(out.parent) == ["out"]
    assert read_document(out)["name"] == "x"
    assert listed_files(out)["labels.txt"].bytes == 4
    assert changed(out) == []


def test_an_empty_folder_may_exist(out: Path, contents: Contents) -> None:
    out.mkdir(parents=True)
    assert write(out, contents, {}, force=False)


def test_nothing_is_written_when_nothing_changed(out: Path, contents: Contents) -> None:
    write(out, contents, {"name": "x"}, force=False)
    before = (out / "a.onnx").stat().st_ino
    assert not write(out, contents, {"name": "x"}, force=False)
    assert not write(out, contents, {"name": "x"}, force=True)
    assert (out / "a.onnx").stat().st_ino == before


def test_a_new_manifest_is_a_change(out: Path, contents: Contents) -> None:
    write(out, contents, {"name": "x"}, force=False)
    assert write(out, contents, {"name": "y"}, force=False)


def test_files_that_are_no_longer_made_go(out: Path, contents: Contents) -> None:
    write(out, contents, {}, force=False)
    assert write(out, {"only.txt": b"1"}, {}, force=False)
    assert names(out) == [MANIFEST, "only.txt"]


def test_the_same_contents_give_the_same_bytes(tmp_path: Path, contents: Contents) -> None:
    for name in ("a", "b"):
        write(
            tmp_path / name,
            dict(reversed(contents.items())) if name == "b" else contents,
            {},
            force=False,
        )
    assert (tmp_path / "a" / MANIFEST).read_bytes() == (tmp_path / "b" / MANIFEST).read_bytes()


# --------------------------------------------------------------------------------------------------------
# refusals


def test_an_edited_file_is_refused_without_force(out: Path, contents: Contents) -> None:
    write(out, contents, {}, force=False)
    (out / "labels.txt").write_text("dog\n")
    with pytest.raises(ForgeError, match=r"labels\.txt: changed since trtforge wrote it"):
        write(out, contents, {"name": "new"}, force=False)
    assert (out / "labels.txt").read_text() == "dog\n"


def test_an_edited_file_is_replaced_with_force(out: Path, contents: Contents) -> None:
    write(out, contents, {}, force=False)
    (out / "labels.txt").write_text("dog\n")
    assert write(out, contents, {}, force=True)
    assert (out / "labels.txt").read_text() == "cat\n"


def test_a_removed_file_counts_as_changed(out: Path, contents: Contents) -> None:
    write(out, contents, {}, force=False)
    (out / "labels.txt").unlink()
    assert changed(out) == ["labels.txt"]


def test_a_file_that_was_added_is_not_lost(out: Path, contents: Contents) -> None:
    """Notes that someone keeps in the folder survive, or are refused: never silently deleted."""
    write(out, contents, {}, force=False)
    (out / "notes.txt").write_text("mine")
    try:
        write(out, contents, {"name": "new"}, force=False)
    except ForgeError as error:
        assert "notes.txt" in error.problem
    assert (out / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("force", [False, True])
def test_a_foreign_folder_is_refused_even_with_force(
    out: Path, contents: Contents, force: bool
) -> None:
    out.mkdir(parents=True)
    (out / "thesis.txt").write_text("mine")
    with pytest.raises(ForgeError, match="holds other files"):
        write(out, contents, {}, force=force)
    assert names(out) == ["thesis.txt"]


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    "content", ["", "{}", "[]", "null", '{"name": "a web extension"}', '{"files": {}}']
)
def test_a_foreign_manifest_is_refused_even_with_force(
    out: Path, contents: Contents, force: bool, content: str
) -> None:
    out.mkdir(parents=True)
    (out / MANIFEST).write_text(content)
    with pytest.raises(ForgeError):
        write(out, contents, {}, force=force)
    assert (out / MANIFEST).read_text() == content


@pytest.mark.parametrize("force", [False, True])
def test_an_output_that_is_a_file(out: Path, contents: Contents, force: bool) -> None:
    out.parent.mkdir()
    out.write_text("mine")
    with pytest.raises(ForgeError, match="is a file"):
        write(out, contents, {}, force=force)
    assert out.read_text() == "mine"


def test_an_output_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ForgeError, match="can't be written"):
        check_output(tmp_path / "file" / "out")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_output_whose_parent_may_not_be_written(out: Path) -> None:
    out.parent.mkdir()
    out.parent.chmod(0o500)
    with pytest.raises(ForgeError, match="no permission"):
        check_output(out)


def test_checking_changes_nothing(out: Path) -> None:
    check_output(out)
    assert not out.parent.exists()


def test_a_linked_output_folder(tmp_path: Path, contents: Contents) -> None:
    """The folder behind the link is what gets written."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write(tmp_path / "link", contents, {}, force=False)
    write(tmp_path / "link", contents, {"name": "again"}, force=False)
    assert (tmp_path / "link" / "labels.txt").read_bytes() == b"cat\n"


def test_the_current_folder(
    tmp_path: Path, contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    write(Path("out"), contents, {}, force=False)
    assert names(tmp_path / "here") == ["out"]


# -------------------------------------------------------------------------------------------------------
# untrusted


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "sub/x", "..", ".", ""])
def test_names_that_leave_the_folder_are_refused(out: Path, contents: Contents, name: str) -> None:
    write(out, contents, {}, force=False)
    edited(out, files={name: {"sha256": "0", "bytes": 0}})
    with pytest.raises(ForgeError, match="which is no file in the folder"):
        listed_files(out)


@pytest.mark.parametrize("files", [[], None, "x", {"a": 1}, {"a": {}}, ...])
def test_lists_of_files_that_are_none(out: Path, contents: Contents, files: Any) -> None:
    write(out, contents, {}, force=False)
    edited(out, files=files)
    with pytest.raises(ForgeError):
        listed_files(out)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe", b"[" * 100000])
def test_manifests_that_are_no_json(out: Path, text: bytes) -> None:
    out.mkdir(parents=True)
    (out / MANIFEST).write_bytes(text)
    with pytest.raises(ForgeError, match="not a manifest"):
        listed_files(out)


def test_another_format(out: Path, contents: Contents) -> None:
    write(out, contents, {}, force=False)
    edited(out, format="trtforge-bundle-99")
    with pytest.raises(ForgeError, match="not a manifest of this version"):
        listed_files(out)


def test_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(ForgeError, match=r"no manifest\.json"):
        listed_files(tmp_path)


# ----------------------------------------------------------------------------------------------------------
# damage


def test_a_file_damaged_in_the_store_is_not_handed_out(out: Path, contents: Contents) -> None:
    stored = contents["a.onnx"]
    assert isinstance(stored, File)
    stored.path.write_bytes(b"flipped")
    with pytest.raises(ForgeError, match="damaged in the store"):
        write(out, contents, {}, force=False)
    assert not out.exists()
    assert not stored.path.parent.exists()


def test_a_prepared_folder_that_changes_meanwhile_stays(
    out: Path, contents: Contents, tmp_path: Path
) -> None:
    """What is built from it was listed before; the folder is the user's, and no entry of the store."""
    write(tmp_path / "prepared", contents, {}, force=False)
    graph = File(tmp_path / "prepared" / "a.onnx", digest(tmp_path / "prepared" / "a.onnx"))
    graph.path.write_bytes(b"another")
    with pytest.raises(ForgeError, match=r"a\.onnx: changed while it was read"):
        write(out, {"b.onnx": graph}, {}, force=False)
    assert names(tmp_path / "prepared") == ["a.onnx", "labels.txt", MANIFEST] and not out.exists()


def test_a_failure_leaves_the_old_folder(out: Path, contents: Contents) -> None:
    write(out, contents, {}, force=False)
    stored = contents["a.onnx"]
    assert isinstance(stored, File)
    stored.path.write_bytes(b"flipped")
    with pytest.raises(ForgeError):
        write(out, contents | {"new.txt": b"1"}, {}, force=False)
    assert names(out) == ["a.onnx", "labels.txt", MANIFEST]
    assert changed(out) == []
    assert names(out.parent) == ["out"]


KILLED = """
import os, sys
from pathlib import Path
from trtforge.bundle.folder import write

def die(draft, out):
    os._exit(9)  # the old folder is away, the new one not there yet

out = Path(sys.argv[1])
write(out, {"labels.txt": b"cat"}, {}, force=False)
Path.rename, there = (lambda path, to: die(path, to) if Path(to) == out else there(path, to)), Path.rename
write(out, {"labels.txt": b"dog"}, {}, force=False)
"""


def test_a_kill_between_the_two_renames(out: Path) -> None:
    """The folder that was replaced is the only copy: it comes back, with any later work beside it."""
    done = subprocess.run([sys.executable, "-c", KILLED, str(out)], check=False)
    assert done.returncode == 9 and not out.exists()
    with draft_in(out.parent):
        assert not out.exists()  # that process may still be at it
    for old in out.parent.iterdir():
        os.utime(old, (1, 1))
    with draft_in(out.parent):
        pass
    assert (out / "labels.txt").read_text() == "cat" and changed(out) == []
    assert names(out.parent) == ["out"]


def test_an_old_folder_that_has_a_successor_goes(out: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(out)], check=False)
    write(out, {"labels.txt": b"bird"}, {}, force=False)
    assert len(names(out.parent)) == 3  # and the draft of the one that died
    for old in out.parent.iterdir():
        os.utime(old, (1, 1))
    with draft_in(out.parent):
        pass
    assert names(out.parent) == ["out"] and (out / "labels.txt").read_text() == "bird"


def test_a_folder_that_cannot_be_moved(
    out: Path, contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mount point's files are replaced; when the disk is full, they stay."""

    def busy(output: Path, draft: Path) -> Path:
        raise OSError(errno.EBUSY, "busy", str(output))

    def full(one: Path, other: Path) -> None:
        other.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "full", str(other))

    write(out, contents, {}, force=False)
    monkeypatch.setattr(module, "set_aside", busy)
    write(out, {"labels.txt": b"dog"}, {}, force=False)
    assert names(out) == ["labels.txt", MANIFEST] and changed(out) == []
    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(OSError, match="full"):
        write(out, {"labels.txt": b"bird"}, {}, force=False)
    assert names(out) == ["labels.txt", MANIFEST] and changed(out) == []
    assert (out / "labels.txt").read_text() == "dog" and names(out.parent) == ["out"]
