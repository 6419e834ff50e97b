"""One store, many writers: processes that share a folder, machines that share a URL, and kills at
any time.
"""

from __future__ import annotations

import os
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.extras import needs
from trtforge.errors import ForgeError, MachineError
from trtforge.store import RECORD, File, Stage, Store, digest, opened, shared, source

needs("shared")


@dataclass(frozen=True)
class Text:
    text: File


@dataclass(frozen=True)
class Times:
    times: int = 0


def run(draft: Path, inputs: Text, options: Times) -> Times:
    (draft / "sub").mkdir()
    (draft / "sub" / "out.txt").write_text(inputs.text.path.read_text() * 2)
    return Times(2)


def never(draft: Path, inputs: Text, options: Times) -> Times:
    raise AssertionError("it is there already")


def stage(runs: Any = run) -> Stage[Text, Times, Times]:
    return Stage("repeat", 1, (), runs, Times)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    (tmp_path / "in.txt").write_text("abc")
    return tmp_path / "in.txt"


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"file://{tmp_path}/shared"


def packed(tmp_path: Path) -> Path:
    (found,) = (tmp_path / "shared").glob("repeat/*.tar")
    return found


def test_what_one_machine_makes_the_other_reads(text: Path, tmp_path: Path, url: str) -> None:
    made = Store(tmp_path / "a", shared=url).run(stage(), Text(source(text)), Times())
    read = Store(tmp_path / "b", shared=url).run(stage(never), Text(source(text)), Times())
    assert (made.cached, read.cached) == (False, True)
    assert (read.digests, read.facts) == (made.digests, made.facts) and list(read.digests) == [
        "sub/out.txt"
    ]
    assert (tmp_path / "b" / read.name / "sub" / "out.txt").read_text() == "abcabc"
    assert [path.name for path in (tmp_path / "shared").rglob("*") if path.is_file()] == [
        packed(tmp_path).name
    ]
    packed(tmp_path).unlink()
    # The second store has its own copy.
    assert Store(tmp_path / "b", shared=url).run(stage(never), Text(source(text)), Times()).cached


def test_the_environment_names_folder_or_url(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert opened().shared is None
    monkeypatch.setenv("TRTFORGE_STORE", url)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert (opened().root, opened().shared) == (tmp_path / "trtforge", url)


def test_force_replaces_the_shared_entry(text: Path, tmp_path: Path, url: str) -> None:
    Store(tmp_path / "a", shared=url).run(stage(), Text(source(text)), Times())
    before = packed(tmp_path).stat().st_ino
    Store(tmp_path / "b", shared=url, force=True).run(stage(), Text(source(text)), Times())
    assert packed(tmp_path).stat().st_ino != before


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:600])


def with_other_contents(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"abcabc", b"abcabd"))


def of_another_key(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"version": 1', b'"version": 2'))


def outside(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("../../escaped"))


def a_link(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        link = tarfile.TarInfo(RECORD)
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)


@pytest.mark.parametrize(
    "damage", [cut_short, with_other_contents, of_another_key, outside, a_link]
)
def test_a_damaged_shared_entry_is_made_anew(
    text: Path, tmp_path: Path, url: str, damage: Any
) -> None:
    Store(tmp_path / "a", shared=url).run(stage(), Text(source(text)), Times())
    whole = digest(packed(tmp_path))
    damage(packed(tmp_path))
    assert digest(packed(tmp_path)) != whole
    made = Store(tmp_path / "b", shared=url).run(stage(), Text(source(text)), Times())
    assert not made.cached and (made.folder / "sub" / "out.txt").read_text() == "abcabc"
    assert not list(tmp_path.glob("**/escaped")) and not list((tmp_path / "b").glob(".trtforge-*"))
    assert Store(tmp_path / "c", shared=url).run(stage(never), Text(source(text)), Times()).cached


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_shared_store_that_may_not_be_written(text: Path, tmp_path: Path, url: str) -> None:
    (tmp_path / "shared").mkdir(mode=0o500)
    with pytest.raises(ForgeError, match="the shared store fails"):
        Store(tmp_path / "a", shared=url).run(stage(), Text(source(text)), Times())


def test_a_url_that_nobody_knows_keeps_its_password(text: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "a", shared="nosuch://user:secret@host/x")
    with pytest.raises(ForgeError) as error:
        store.run(stage(), Text(source(text)), Times())
    assert error.value.problem.startswith("nosuch://host/x: ") and "secret" not in str(error.value)


def test_an_upload_that_failed_is_made_up_for(text: Path, tmp_path: Path, url: str) -> None:
    inputs = Text(source(text))
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "repeat").write_text("in the way")
    with pytest.raises(ForgeError, match="the shared store fails"):
        Store(tmp_path / "a", shared=url).run(stage(), inputs, Times())
    (tmp_path / "shared" / "repeat").unlink()
    # Without the URL nothing is shared.
    assert Store(tmp_path / "a").run(stage(never), inputs, Times()).cached
    assert (
        Store(tmp_path / "a", shared=url, planning=True).run(stage(never), inputs, Times()).cached
    )
    assert not (tmp_path / "shared" / "repeat").exists()
    assert Store(tmp_path / "a", shared=url).run(stage(never), inputs, Times()).cached
    before = packed(tmp_path).stat().st_ino
    assert Store(tmp_path / "a", shared=url).run(stage(never), inputs, Times()).cached
    assert packed(tmp_path).stat().st_ino == before  # once is enough
    assert Store(tmp_path / "b", shared=url).run(stage(never), inputs, Times()).cached


def test_planning_copies_nothing(text: Path, tmp_path: Path, url: str) -> None:
    made = Store(tmp_path / "a", shared=url).run(stage(), Text(source(text)), Times())
    planned = Store(tmp_path / "b", shared=url, planning=True).run(
        stage(never), Text(source(text)), Times()
    )
    assert planned.cached and (planned.digests, planned.facts) == (made.digests, made.facts)
    assert not (tmp_path / "b").exists()
    other = Store(tmp_path / "b", shared=url, planning=True).run(
        stage(never), Text(source(text)), Times(1)
    )
    assert not other.cached
    of_another_key(packed(tmp_path))
    planned = Store(tmp_path / "b", shared=url, planning=True).run(
        stage(never), Text(source(text)), Times()
    )
    assert not planned.cached and not (tmp_path / "b").exists()


@pytest.mark.parametrize("damage", [cut_short, outside, a_link])
def test_planning_with_a_damaged_shared_entry(
    text: Path, tmp_path: Path, url: str, damage: Any
) -> None:
    Store(tmp_path / "a", shared=url).run(stage(), Text(source(text)), Times())
    damage(packed(tmp_path))
    store = Store(tmp_path / "b", shared=url, planning=True)
    assert not store.run(stage(never), Text(source(text)), Times()).cached


def test_a_url_keeps_the_secret_in_its_query(text: Path, tmp_path: Path) -> None:
    for url in ("nosuch://host/x?sas=Xy7", f"file://{text}/x?sas=Xy7"):
        with pytest.raises(ForgeError) as error:
            Store(tmp_path / "a", shared=url).run(stage(), Text(source(text)), Times())
        assert "Xy7" not in error.value.problem + error.value.hint


def test_a_file_in_the_way_of_the_folder(text: Path, tmp_path: Path) -> None:
    with pytest.raises(ForgeError, match="the shared store fails"):
        Store(tmp_path / "a", shared=f"file://{text}").run(stage(), Text(source(text)), Times())


def test_an_entry_of_another_store_is_adopted(text: Path, tmp_path: Path) -> None:
    made = Store(tmp_path / "a").run(stage(), Text(source(text)), Times())

    def fill(draft: Path) -> None:
        for name, path in made.files.items():
            (draft / name).parent.mkdir(exist_ok=True)
            (draft / name).write_bytes(path.read_bytes())

    store = Store(tmp_path / "b")
    kept = store.adopt(made, fill)
    assert kept.folder == tmp_path / "b" / made.name and store.ran == [kept] and not kept.cached
    assert store.run(stage(never), Text(source(text)), Times()).cached
    assert store.adopt(made, never).digests == made.digests  # type: ignore[arg-type]

    def lie(draft: Path) -> None:
        fill(draft)
        (draft / "sub" / "out.txt").write_text("abcabd")

    with pytest.raises(MachineError, match="arrived damaged"):
        Store(tmp_path / "c").adopt(made, lie)
    assert not list((tmp_path / "c").rglob(RECORD))


def test_fetch_of_what_is_not_there(tmp_path: Path, url: str) -> None:
    assert shared.fetch(url, "repeat/0", tmp_path) is False


# Four writers at one key: two processes at one folder, and two machines, each with a cache, at one
# URL; one to three of them are killed. A fifth reads meanwhile what it finds.
