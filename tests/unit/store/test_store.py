"""The store: a stage runs once, and what it leaves is whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from trtforge.errors import ForgeError
from trtforge.store import (
    RECORD,
    File,
    Stage,
    Store,
    default_root,
    digest,
    source,
    tools,
    version_of,
)
from trtforge.store.drafts import draft_in, draft_name


@dataclass(frozen=True)
class Text:
    text: File


@dataclass(frozen=True)
class Times:
    times: int = 1


class Counting:
    """A stage that counts how often it runs."""

    def __init__(self, fail: bool = False) -> None:
        self.runs = 0
        self.fail = fail

    def __call__(self, draft: Path, inputs: Text, options: Times) -> Times:
        self.runs += 1
        (draft / "out.txt").write_text(inputs.text.path.read_text() * options.times)
        if self.fail:
            raise ForgeError("it failed", "")
        return options


@pytest.fixture
def text(tmp_path: Path) -> Path:
    (tmp_path / "in.txt").write_text("abc")
    return tmp_path / "in.txt"


def stage(run: Any, **changes: Any) -> Stage[Any, Any, Any]:
    given = {"name": "repeat", "version": 1, "tools": ("numpy",), "run": run, "facts": Times}
    return Stage(**(given | changes))


def entries(root: Path) -> list[Path]:
    return sorted(root.glob("repeat/*"))


def test_a_stage_runs_once(text: Path, store_root: Path) -> None:
    run = Counting()
    first = Store(store_root).run(stage(run), Text(source(text)), Times(2))
    again = Store(store_root).run(stage(run), Text(source(text)), Times(2))
    assert run.runs == 1
    assert (first.cached, again.cached) == (False, True)
    assert (first.why, again.why) == ("first time", "unchanged")
    assert first.folder == again.folder
    assert again.facts == Times(2)
    assert (again.folder / "out.txt").read_text() == "abcabc"


def test_artifacts_hand_out_their_files_by_digest(text: Path, store_root: Path) -> None:
    made = Store(store_root).run(stage(Counting()), Text(source(text)), Times())
    assert made.file("out.txt") == File(made.folder / "out.txt", digest(made.folder / "out.txt"))
    assert made.file("out.txt").digest == digest(text)


def test_what_ran_is_remembered_in_order(text: Path, store_root: Path) -> None:
    store = Store(store_root)
    for times in (1, 2, 1):
        store.run(stage(Counting()), Text(source(text)), Times(times))
    assert [artifact.cached for artifact in store.ran] == [False, False, True]


def test_the_same_contents_elsewhere_are_the_same_input(
    text: Path, store_root: Path, tmp_path: Path
) -> None:
    run = Counting()
    (tmp_path / "copy.txt").write_text("abc")
    for path in (text, tmp_path / "copy.txt"):
        Store(store_root).run(stage(run), Text(source(path)), Times())
    assert run.runs == 1


# ---------------------------------------------------------------------------------------------- why
# it runs again


def test_changed_options(text: Path, store_root: Path) -> None:
    store, run = Store(store_root), Counting()
    store.run(stage(run), Text(source(text)), Times(1))
    assert store.run(stage(run), Text(source(text)), Times(2)).why == "times changed"
    assert run.runs == 2


def test_changed_inputs(text: Path, store_root: Path) -> None:
    store, run = Store(store_root), Counting()
    store.run(stage(run), Text(source(text)), Times())
    text.write_text("xyz")
    assert store.run(stage(run), Text(source(text)), Times()).why == "text changed"
    assert run.runs == 2


def test_changed_version(text: Path, store_root: Path) -> None:
    store, run = Store(store_root), Counting()
    store.run(stage(run), Text(source(text)), Times())
    assert store.run(stage(run, version=2), Text(source(text)), Times()).why == "trtforge changed"
    assert run.runs == 2


def test_changed_tool(text: Path, store_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, run = Store(store_root), Counting()
    store.run(stage(run), Text(source(text)), Times())
    monkeypatch.setattr(tools, "version_of", lambda tool: "0.0")
    assert store.run(stage(run), Text(source(text)), Times()).why == "numpy changed"
    assert run.runs == 2


def test_the_most_similar_entry_is_compared(text: Path, store_root: Path) -> None:
    store, run = Store(store_root), Counting()
    store.run(stage(run), Text(source(text)), Times(1))
    text.write_text("xyz")
    store.run(stage(run, version=2), Text(source(text)), Times(2))
    assert store.run(stage(run, version=2), Text(source(text)), Times(1)).why == "times changed"


def test_force(text: Path, store_root: Path) -> None:
    run = Counting()
    Store(store_root).run(stage(run), Text(source(text)), Times())
    made = Store(store_root, force=True).run(stage(run), Text(source(text)), Times())
    assert (run.runs, made.why, made.cached) == (2, "forced", False)
    assert len(entries(store_root)) == 1


@dataclass(frozen=True)
class Sizes:
    sizes: Sequence[int]


def test_options_of_other_types_with_the_same_json_are_the_same(
    text: Path, store_root: Path
) -> None:
    run = Counting()

    def ignoring(draft: Path, inputs: Text, options: Sizes) -> Times:
        return run(draft, inputs, Times())

    for value in ((1, 2), [1, 2]):
        Store(store_root).run(stage(ignoring), Text(source(text)), Sizes(value))
    assert run.runs == 1


# ------------------------------------------------------------------------------------------------------
# failures


def test_a_failure_is_never_stored(text: Path, store_root: Path) -> None:
    run = Counting(fail=True)
    for _ in range(2):
        with pytest.raises(ForgeError, match="it failed"):
            Store(store_root).run(stage(run), Text(source(text)), Times())
    assert run.runs == 2
    assert entries(store_root) == []
    assert not list(store_root.glob(".trtforge-*"))


@pytest.mark.parametrize("content", ["", "{", "null", "[]", '{"digests": {}}', '{"request": 1}'])
def test_a_damaged_record_is_made_anew(text: Path, store_root: Path, content: str) -> None:
    run = Counting()
    made = Store(store_root).run(stage(run), Text(source(text)), Times())
    (made.folder / RECORD).write_text(content)
    again = Store(store_root).run(stage(run), Text(source(text)), Times())
    assert (run.runs, again.cached) == (2, False)
    assert json.loads((made.folder / RECORD).read_text())["facts"] == {"times": 1}


def test_facts_of_another_form_are_made_anew(text: Path, store_root: Path) -> None:
    run = Counting()
    made = Store(store_root).run(stage(run), Text(source(text)), Times())
    record = json.loads((made.folder / RECORD).read_text())
    (made.folder / RECORD).write_text(json.dumps(record | {"facts": {"times": "many"}}))
    again = Store(store_root).run(stage(run), Text(source(text)), Times())
    assert (run.runs, again.cached, again.facts) == (2, False, Times())


def test_an_entry_without_its_file_is_made_anew(text: Path, store_root: Path) -> None:
    run = Counting()
    made = Store(store_root).run(stage(run), Text(source(text)), Times())
    (made.folder / "out.txt").unlink()
    again = Store(store_root).run(stage(run), Text(source(text)), Times())
    assert run.runs == 2
    assert (again.folder / "out.txt").read_text() == "abc"


def test_a_damaged_neighbour_does_not_matter(text: Path, store_root: Path) -> None:
    made = Store(store_root).run(stage(Counting()), Text(source(text)), Times())
    (made.folder / RECORD).write_text("null")
    assert (
        Store(store_root).run(stage(Counting()), Text(source(text)), Times(3)).why == "first time"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_store_that_may_not_be_written(text: Path, store_root: Path) -> None:
    store_root.mkdir()
    store_root.chmod(0o500)
    with pytest.raises(ForgeError, match="can't be written"):
        Store(store_root).run(stage(Counting()), Text(source(text)), Times())


def test_a_store_below_a_file(text: Path) -> None:
    with pytest.raises(ForgeError, match="can't be written"):
        Store(text / "store").run(stage(Counting()), Text(source(text)), Times())


def test_a_missing_input(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="none"):
        source(tmp_path / "none")


def test_an_input_that_is_edited_meanwhile_is_not_published(text: Path, store_root: Path) -> None:
    """The digest is older than what the stage reads: the entry would lie to every later run."""
    run, before = Counting(), source(text)
    text.write_text("xyz")
    with pytest.raises(ForgeError, match=r"in\.txt: changed while it was read"):
        Store(store_root).run(stage(run), Text(before), Times())
    assert entries(store_root) == [] and text.read_text() == "xyz"
    text.write_text("abc")
    made = Store(store_root).run(stage(run), Text(source(text)), Times())
    assert (made.folder / "out.txt").read_text() == "abc" and not made.cached


def test_what_belongs_to_an_input_counts(text: Path, store_root: Path, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("1")
    given = source(text, tmp_path / "data")
    Store(store_root).run(stage(Counting()), Text(given), Times())
    (tmp_path / "data").write_text("2")
    with pytest.raises(ForgeError, match="changed while it was read"):
        Store(store_root, force=True).run(stage(Counting()), Text(given), Times())


def test_a_folder_and_what_went_away_are_not_looked_at(text: Path, store_root: Path) -> None:
    @dataclass(frozen=True)
    class TextAndFolder:
        text: File
        folder: File

    def run(draft: Path, inputs: TextAndFolder, options: Times) -> Times:
        inputs.text.path.unlink()
        return Times()

    inputs = TextAndFolder(source(text), File(text.parent, "0"))
    assert not Store(store_root).run(stage(run), inputs, Times()).cached


def test_an_input_damaged_in_the_store_is_made_anew(text: Path, store_root: Path) -> None:
    store = Store(store_root)
    first = store.run(stage(Counting()), Text(source(text)), Times())
    (first.folder / "out.txt").write_text("flipped")
    with pytest.raises(ForgeError, match="damaged in the store"):
        store.run(stage(Counting(), name="second"), Text(first.file("out.txt")), Times())
    assert store.run(stage(Counting()), Text(source(text)), Times()).file(
        "out.txt"
    ).digest == digest(text)


# ------------------------------------------------------------------------------------------------------
# planning


def test_planning_runs_nothing(text: Path, store_root: Path) -> None:
    run = Counting()
    planned = Store(store_root, planning=True).run(stage(run), Text(source(text)), Times())
    assert (run.runs, planned.cached, planned.why) == (0, False, "first time")
    assert (planned.planned, planned.facts) == (True, Times())
    assert not store_root.exists()


def test_planning_says_what_is_there(text: Path, store_root: Path) -> None:
    Store(store_root).run(stage(Counting()), Text(source(text)), Times())
    assert (
        Store(store_root, planning=True).run(stage(Counting()), Text(source(text)), Times()).cached
    )


def test_planning_behind_what_is_not_made_yet(text: Path, store_root: Path) -> None:
    store = Store(store_root, planning=True)
    first = store.run(stage(Counting()), Text(source(text)), Times())
    second = store.run(stage(Counting()), Text(first.file("out.txt")), Times())
    assert second.why == "its inputs are made anew"


# --------------------------------------------------------------------------------------------------------
# drafts


def test_a_draft_is_gone_afterwards(tmp_path: Path) -> None:
    with draft_in(tmp_path) as draft:
        (draft / "x").write_text("x")
    assert list(tmp_path.iterdir()) == []


def test_a_draft_that_was_renamed_stays(tmp_path: Path) -> None:
    with draft_in(tmp_path) as draft:
        draft.rename(tmp_path / "kept")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_old_drafts_are_swept_and_new_ones_left(tmp_path: Path) -> None:
    old, new = tmp_path / draft_name(), tmp_path / draft_name()
    for path in (old, new):
        path.mkdir(parents=True)
    os.utime(old, (1, 1))
    with draft_in(tmp_path):
        assert not old.exists()
        assert new.exists()


def test_what_others_call_alike_stays(tmp_path: Path) -> None:
    """Drafts lie beside outputs, in anybody's folders."""
    theirs = [
        tmp_path / name
        for name in (
            ".trtforge-notes",
            f".trtforge-{'a' * 31}",
            f"{draft_name()}.old",
            f"{draft_name()}.bak",
        )
    ]
    for path in theirs:
        path.mkdir()
        (path / "notes.txt").write_text("mine")
        os.utime(path, (1, 1))
    with draft_in(tmp_path):
        pass
    assert all((path / "notes.txt").is_file() for path in theirs)


# -----------------------------------------------------------------------------------------------------
# processes

PROGRAM = textwrap.dedent(
    """
    import os, sys, time
    from dataclasses import dataclass
    from pathlib import Path
    from trtforge.store import NOTHING, File, Nothing, Stage, Store, source

    @dataclass(frozen=True)
    class Text:
        text: File

    @dataclass(frozen=True)
    class Process:
        pid: int = 0

    def run(draft, inputs, options):
        (draft / "one.txt").write_text("one")
        if "die" in sys.argv:
            os._exit(9)
        Path(sys.argv[1]).touch()
        while "wait" in sys.argv and not Path(sys.argv[2]).exists():
            time.sleep(0.001)
        (draft / "two.txt").write_text("two")
        return Process(os.getpid())

    store = Store(Path(os.environ["TRTFORGE_STORE"]))
    made = store.run(Stage("repeat", 1, (), run, Process), Text(source(Path("in.txt"))), NOTHING)
    assert (made.folder / "one.txt").read_text() + (made.folder / "two.txt").read_text() == "onetwo"
    """
)


def process(text: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words], cwd=text.parent, stderr=subprocess.PIPE, text=True
    )


def test_a_killed_process_leaves_nothing_half_made(text: Path, store_root: Path) -> None:
    with process(text, "started", "go", "die") as killed:
        assert killed.wait(60) == 9
    assert entries(store_root) == []
    with process(text, "started", "go") as second:
        assert second.wait(60) == 0
    assert len(entries(store_root)) == 1


def test_two_processes_at_one_key_leave_one_whole_entry(text: Path, store_root: Path) -> None:
    """Each waits inside the stage until the other is there too, and reads the result afterwards."""
    with process(text, "a", "b", "wait") as one, process(text, "b", "a", "wait") as other:
        messages = one.communicate(timeout=60)[1] + other.communicate(timeout=60)[1]
    assert messages == ""
    (entry,) = entries(store_root)
    assert sorted(path.name for path in entry.iterdir()) == [RECORD, "one.txt", "two.txt"]
    assert not list(store_root.glob(".trtforge-*"))


def test_an_entry_that_another_process_made_meanwhile_stays(text: Path, store_root: Path) -> None:
    """It is the same, and someone may be reading it."""

    def race(draft: Path, inputs: Text, options: Times) -> Times:
        (draft / "out.txt").write_text("late")
        Store(store_root).run(stage(early), Text(source(text)), Times())
        return Times()

    def early(draft: Path, inputs: Text, options: Times) -> Times:
        (draft / "out.txt").write_text("early")
        return Times()

    made = Store(store_root).run(stage(race), Text(source(text)), Times())
    assert (made.folder / "out.txt").read_text() == "early"
    assert made.digests["out.txt"] == digest(made.folder / "out.txt")


# ---------------------------------------------------------------------------------------------------------
# parts


def test_where_the_store_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, store_root: Path
) -> None:
    assert default_root() == store_root
    monkeypatch.delenv("TRTFORGE_STORE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_root() == tmp_path / "trtforge"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_root() == tmp_path / ".cache" / "trtforge"


def test_a_source_of_several_files_depends_on_each(text: Path, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("1")
    before = source(text, tmp_path / "data").digest
    (tmp_path / "data").write_text("2")
    assert len({before, source(text, tmp_path / "data").digest, source(text).digest}) == 3


def test_digest_is_sha256(text: Path) -> None:
    assert digest(text) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_versions() -> None:
    import numpy as np

    assert version_of("numpy") == np.__version__
    assert version_of("no-such-distribution") == "none"


def test_wheels_with_cudas_version_in_their_names_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "made_up_engine_cu12-1.2.3.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: made-up-engine-cu12\nVersion: 1.2.3\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert version_of("made-up-engine") == "1.2.3"
