"""Making room in the store."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from trtforge.errors import ForgeError
from trtforge.store import NOTHING, RECORD, Nothing, Stage, Store, clean
from trtforge.store.drafts import STALE_S, draft_in, draft_name

DAY = 86400.0
NOW = 2_000_000_000.0


def fill(root: Path, stage: str, number: int, size: int = 1000, age: float = 0.0) -> Path:
    """An entry of ``size`` bytes that was last used ``age`` seconds before NOW."""
    made = (
        Store(root)
        .run(
            Stage(stage, 1, (), write, Nothing),
            NOTHING,
            Entry(number),
        )
        .folder
    )
    missing = size - sum(file.stat().st_size for file in made.iterdir())
    with (made / "data").open("ab") as stream:
        stream.write(b"x" * missing)
    os.utime(made / RECORD, (NOW - age, NOW - age))
    return made


@dataclass(frozen=True)
class Entry:
    number: int


def write(draft: Path, inputs: Nothing, options: Entry) -> Nothing:
    (draft / "data").write_bytes(b"x")
    return NOTHING


def run(root: Path, **limits: float) -> list[str]:
    """Cleans; the entries that stay, by stage and place."""
    planned = clean.plan(root, limits.get("older_than"), limits.get("max_size"), NOW)  # type: ignore[arg-type]
    clean.carry_out(root, planned, lambda done: None)
    return sorted(str(path.parent.relative_to(root)) for path in root.glob(f"*/*/{RECORD}"))


def test_by_age(tmp_path: Path) -> None:
    old, new = fill(tmp_path, "fold", 1, age=31 * DAY), fill(tmp_path, "fold", 2, age=29 * DAY)
    assert run(tmp_path, older_than=30 * DAY) == [f"fold/{new.name}"]
    assert not old.exists() and sorted(tmp_path.iterdir()) == [tmp_path / "fold"]


def test_by_size_the_longest_unused_goes_first(tmp_path: Path) -> None:
    made = [fill(tmp_path, "build", number, 1000, number * DAY) for number in (1, 2, 3, 4)]
    assert run(tmp_path, max_size=2500) == sorted(f"build/{path.name}" for path in made[:2])


def test_by_size_leaves_what_may_be_in_use(tmp_path: Path) -> None:
    fill(tmp_path, "build", 1, 1000, age=600)
    old = fill(tmp_path, "build", 2, 1000, age=2 * 3600)
    assert len(run(tmp_path, max_size=10)) == 1
    assert not old.exists()


def test_both_limits(tmp_path: Path) -> None:
    made = [fill(tmp_path, "build", number, 1000, number * DAY) for number in (1, 2, 3, 4)]
    assert run(tmp_path, older_than=3.5 * DAY, max_size=1000) == [f"build/{made[0].name}"]


def test_a_use_is_what_counts(tmp_path: Path) -> None:
    """The store notes it, and does not make the entry again."""
    stage = Stage("fold", 1, (), write, Nothing)
    folder = Store(tmp_path).run(stage, NOTHING, Entry(1)).folder
    os.utime(folder / RECORD, (1, 1))
    assert Store(tmp_path).run(stage, NOTHING, Entry(1)).cached
    assert (folder / RECORD).stat().st_mtime > 1_000_000


def test_looking_for_what_differs_is_no_use(tmp_path: Path) -> None:
    folder = fill(tmp_path, "fold", 1, age=DAY)
    before = (folder / RECORD).stat().st_mtime
    fill(tmp_path, "fold", 2)
    assert (folder / RECORD).stat().st_mtime == before


def test_what_is_not_trtforges_stays(tmp_path: Path) -> None:
    """The store may be a folder that holds other things, too."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / RECORD).write_text("{}")
    root = tmp_path / "store"
    (root / "photos" / "holiday").mkdir(parents=True)
    (root / "photos" / "holiday" / "one.jpg").write_bytes(b"x")
    (root / "notes.txt").write_text("x")
    (root / "fold").mkdir()
    (root / "fold" / "linked").symlink_to(outside)
    (root / "linked").symlink_to(tmp_path)
    run(root, older_than=1.0)
    assert (root / "photos/holiday/one.jpg").exists() and (root / "notes.txt").exists()
    assert (outside / RECORD).exists() and (root / "fold" / "linked").is_symlink()


def test_timing_caches_and_dead_drafts(tmp_path: Path) -> None:
    cache = tmp_path / "timing" / "tensorrt-10.16-sm89.cache"
    cache.parent.mkdir()
    cache.write_bytes(b"x" * 10)
    os.utime(cache, (NOW - 40 * DAY,) * 2)
    with draft_in(tmp_path) as fresh:
        os.utime(fresh, (NOW, NOW))
        dead = tmp_path / draft_name()
        dead.mkdir()
        os.utime(dead, (NOW - STALE_S - 1,) * 2)
        run(tmp_path, older_than=30 * DAY)
        assert fresh.exists()
    assert not cache.exists() and not dead.exists()


def test_what_was_used_in_the_meantime_stays(tmp_path: Path) -> None:
    folder = fill(tmp_path, "fold", 1, age=DAY)
    planned = clean.plan(tmp_path, 1.0, None, NOW)
    os.utime(folder / RECORD, (NOW, NOW))
    done = clean.carry_out(tmp_path, planned, lambda done: None)
    assert (len(done.gone), len(done.kept)) == (0, 1) and folder.exists()


def test_two_cleaners_at_once(tmp_path: Path) -> None:
    for number in range(30):
        fill(tmp_path, "fold", number, age=DAY)
    planned = clean.plan(tmp_path, 1.0, None, NOW)
    gone: list[int] = []
    workers = [
        threading.Thread(
            target=lambda: gone.append(len(clean.carry_out(tmp_path, planned, bool).gone))
        )
        for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sum(gone) == 30
    assert run(tmp_path, older_than=1.0) == []


def test_beside_processes_at_work(tmp_path: Path) -> None:
    """Drafts and what is in them come and go while they are sized."""
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            with draft_in(tmp_path) as draft:
                for number in range(20):
                    (draft / str(number)).mkdir()
                    (draft / str(number) / "data").write_bytes(b"x")

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    try:
        for _ in range(100):
            clean.plan(tmp_path, DAY, None, NOW)
    finally:
        over.set()
        for worker in workers:
            worker.join()


def test_no_limit_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ForgeError, match="nothing says what to clean"):
        clean.plan(tmp_path, None, None, NOW)


def test_store_that_is_not_there(tmp_path: Path) -> None:
    assert clean.plan(tmp_path / "none", 1.0, None, NOW) == clean.Cleaning((), ())


def test_what_is_said(tmp_path: Path) -> None:
    for number in (1, 2):
        fill(tmp_path, "fold", number, age=3 * DAY)
    fill(tmp_path, "build", 1)
    planned = clean.plan(tmp_path, DAY, None, NOW)
    said = clean.text(tmp_path, planned, True, NOW)
    assert "fold  2        2.0 kB  3 days and more" in said
    assert "would go: 2 entries, 2.0 kB; 1 stay with 1.0 kB" in said
    told = json.loads(json.dumps(clean.document(tmp_path, planned, True)))
    assert (told["freed"], told["kept"], told["kept_size"], len(told["gone"])) == (2000, 1, 1000, 2)
