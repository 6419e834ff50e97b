"""Processes that are killed at any time leave no torn entry in a store that several share."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

from tests.extras import needs

needs("shared")

KILLING = textwrap.dedent(
    """
    import json, os, random, signal, sys, time
    from dataclasses import dataclass
    from pathlib import Path
    import fsspec.implementations.local  # once, not in each child
    from trtforge.store import shared
    from trtforge.store import RECORD, File, Stage, Store, digest, from_json, source

    folder, tries = Path(sys.argv[1]), int(sys.argv[2])
    chance = random.Random(9)
    text = folder / "in.txt"
    text.write_text("abc")

    @dataclass(frozen=True)
    class Text:
        text: File

    @dataclass(frozen=True)
    class Number:
        number: int = 0

    def run(draft, inputs, options):
        for name in "abcdef":
            (draft / name).write_bytes(f"{name}{options.number}".encode() * 5_000)
        return options

    stage = Stage("fill", 1, (), run, Number)
    from_json(Number, {})  # imports pydantic once, not in each child

    def stores(force=False):
        url = f"file://{folder}/url"
        return [Store(folder / "one", force=force), Store(folder / "one", force=force),
                Store(folder / "node1", force=force, shared=url), Store(folder / "node2", force=force, shared=url)]

    def write(store, number):
        pid = os.fork()
        if not pid:
            try:
                store.run(stage, Text(source(text)), Number(number))
                os._exit(0)
            except BaseException:
                import traceback
                traceback.print_exc()
                os._exit(1)
        return pid

    def watch():
        (folder / "over").unlink(missing_ok=True)
        pid = os.fork()
        if not pid:
            try:
                while not (folder / "over").exists():
                    for root in ("one", "node1", "node2"):
                        known = sorted((folder / root / "fill").glob("*"), key=lambda path: -path.stat().st_mtime)
                        for entry in known[:2]:
                            check(entry)
                os._exit(0)
            except BaseException:
                import traceback
                traceback.print_exc()
                os._exit(1)
        return pid

    def check(entry):
        record = json.loads((entry / RECORD).read_text())
        number = record["request"]["options"]["number"]
        assert sorted(record["digests"]) == list("abcdef"), entry
        for name, sha256 in record["digests"].items():
            assert digest(entry / name) == sha256, entry / name
            assert (entry / name).read_bytes() == f"{name}{number}".encode() * 5_000

    killed = seen = 0
    for number in range(tries):
        again = number > 2 and chance.random() < 0.3  # a key that is there, by force
        key = chance.randrange(number) if again else number
        if number % 10 == 9:  # one that is there and damaged
            key = number - 1
            for entry in (folder / "one" / "fill").iterdir():
                if json.loads((entry / RECORD).read_text())["request"]["options"]["number"] == key:
                    (entry / "a").unlink()
        reader = None if again or number % 10 == 9 else watch()
        pids = [write(store, key) for store in stores(again)]
        time.sleep(chance.random() * 0.02)
        victims = chance.sample(pids, chance.randrange(1, 4))
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        for pid in pids:
            status = os.waitpid(pid, 0)[1]
            assert status in (0, signal.SIGKILL), status
            killed += status == signal.SIGKILL
        if number % 10 == 9:  # both that would have repaired it may have been killed
            stores()[0].run(stage, Text(source(text)), Number(key))
        if reader:
            (folder / "over").touch()
            assert os.waitpid(reader, 0)[1] == 0
        for root in ("one", "node1", "node2"):
            for entry in sorted((folder / root / "fill").glob("*"), key=lambda path: -path.stat().st_mtime)[:3]:
                check(entry)
                seen += 1
    for number in range(tries):  # everything can be had, by all, and by a machine that comes late
        for store in [*stores(), Store(folder / "late", shared=f"file://{folder}/url")]:
            check(store.run(stage, Text(source(text)), Number(number)).folder)
    print(json.dumps({"killed": killed, "seen": seen}))
    """
)


def test_random_kills_leave_no_torn_entry(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLING, str(tmp_path), "200"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr
    found = json.loads(done.stdout)
    assert found["killed"] >= 100 and found["seen"] >= 200, found
