"""Check every exported file with trtforge, one process a file; what is known of the same file and code is kept.

python -m tests.zoo.check FOLDER RESULTS [--jobs N] [--failing] [ONLY ...]

``--failing`` keeps the rows in which nothing failed, though the code has changed since.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from itertools import zip_longest
from pathlib import Path

from tests.zoo.reference import Reference, load

ROOT = Path(__file__).parents[2]
PHOTOS = ROOT / "calibration/demo"
# Seconds of the processor: for all checks of a file, and for the builder's own try. A busy machine may take longer.
BOUND, RAW_BOUND, SLOWER = 400, 200, 4
STORE = "3GB"
NOTHING = '{"recognised": "", "steps": {}, "doing": "start"}'


@dataclass(frozen=True)
class Row:
    """What is known of one file.

    Attributes:
        digest: of the file and of its reference.
        commit: of trtforge, by its sources.
        raw: empty if TensorRT-RTX builds the untouched file, else its first error.
        steps: (passed, note) of each check, in order.
        stopped: the check in which the process ended or was ended, if any.
    """

    name: str
    digest: str
    commit: str
    raw: str
    recognised: str
    steps: dict[str, tuple[bool, str]] = field(default_factory=dict)
    stopped: str = ""
    seconds: float = 0.0

    @property
    def failed(self) -> bool:
        return bool(self.stopped) or not all(ok for ok, _ in self.steps.values())


def main(folder: Path, results: Path, only: list[str], jobs: int, failing: bool) -> None:
    """Check what is chosen, ``jobs`` files at a time."""
    names = sorted(
        str(file.relative_to(folder).with_suffix(""))
        for file in folder.rglob("*.json")
        if file.with_suffix(".onnx").exists()
    )
    chosen = [name for name in names if not only or name.startswith(tuple(only))]
    code = digest_of([ROOT / "trtforge", ROOT / "recipes"], ("*.py", "*.yaml"))
    todo = spread([name for name in chosen if not known(folder, results, name, code, failing)])
    photos = results / "photos"
    photos.mkdir(parents=True, exist_ok=True)
    for file in sorted(PHOTOS.glob("*.jpg"))[:4]:
        shutil.copy(file, photos)
    print(f"{len(chosen)} files, {len(todo)} to be checked", flush=True)
    with ThreadPoolExecutor(jobs) as pool:
        running = [pool.submit(check, folder, results, code, name) for name in todo]
        for index, ended in enumerate(as_completed(running), 1):
            row = ended.result()
            failed = [name for name, (ok, _) in row.steps.items() if not ok]
            word = f"stopped in {row.stopped}" if row.stopped else ", ".join(failed) or "right"
            print(f"{index}/{len(todo)} {row.name} {row.seconds:.0f} s {word}", flush=True)
            if index % 10 == 0:
                trtforge(results, "clean", "--max-size", STORE)


def spread(names: list[str]) -> list[str]:
    """Return the names in an order that takes one of each family before the second of any."""
    families: dict[str, list[str]] = defaultdict(list)
    for name in names:
        families[name.rsplit("/", 1)[0]].append(name)
    turns = zip_longest(*families.values())
    return [name for turn in turns for name in turn if name]


def check(folder: Path, results: Path, code: str, name: str) -> Row:
    """Check one file, and keep the row."""
    began = time.monotonic()
    model = folder / f"{name}.onnx"
    digest = digest_of([model, model.with_suffix(".json")], ("*",))
    scratch = results / "scratch" / name.replace("/", "-")
    scratch.mkdir(parents=True, exist_ok=True)
    said = scratch / "steps.json"
    said.unlink(missing_ok=True)
    words = [sys.executable, "-m", "tests.zoo.one", model, said, results / "photos", scratch]
    ended = bounded([str(word) for word in words], BOUND, scratch / "log.txt", results)
    found = json.loads(said.read_text() if said.exists() else NOTHING)
    stopped = f"{found['doing'] or 'the end'}: {ended}" if ended else ""
    if stopped and (scratch / "log.txt").stat().st_size:
        (*_, last) = (scratch / "log.txt").read_text(errors="replace").strip().splitlines() or [""]
        stopped += f" ({last[:200]})"
    row = Row(
        name=name,
        digest=digest,
        commit=code,
        raw=raw(folder, results, name, digest),
        recognised=found["recognised"],
        steps={key: (step["ok"], step["note"]) for key, step in found["steps"].items()},
        stopped=stopped,
        seconds=round(time.monotonic() - began, 1),
    )
    file = row_file(results, name)
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(".draft")
    draft.write_text(json.dumps(asdict(row), indent=1))
    draft.replace(file)
    shutil.rmtree(scratch)
    return row


def raw(folder: Path, results: Path, name: str, digest: str) -> str:
    """Return what TensorRT-RTX says of the untouched file, empty if it builds; asked once a file."""
    kept = results / "raw" / f"{digest}.txt"
    if kept.exists():
        return kept.read_text()
    model = folder / f"{name}.onnx"
    reference, _ = load(model)
    words = [sys.executable, "-m", "tests.zoo.raw", str(model), *map(str, reference.size), "1"]
    log = results / "scratch" / f"raw-{digest}.txt"
    ended = bounded(words, RAW_BOUND, log, results)
    lines = log.read_text(errors="replace").strip().splitlines()
    said = (lines[0] if lines and "exit 1" in ended else ended) if ended else ""
    log.unlink()
    kept.parent.mkdir(exist_ok=True)
    kept.write_text(said[:400])
    return said[:400]


def bounded(words: list[str], seconds: int, log: Path, results: Path) -> str:
    """Run a command within a time, and return how it ended, empty if well."""
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "TRTFORGE_STORE": str(results / "store"),
        "OMP_NUM_THREADS": "1",
    }
    with log.open("w") as stream:
        try:
            code = subprocess.run(words, stdout=stream, stderr=subprocess.STDOUT, timeout=SLOWER * seconds, env=environment, cwd=ROOT, check=False, preexec_fn=lambda: limit(seconds)).returncode  # fmt: skip
        except subprocess.TimeoutExpired:
            return f"took over {SLOWER * seconds} s"
    if code == 0:
        return ""
    if code == -signal.SIGXCPU:
        return f"took over {seconds} s"
    return f"killed by signal {-code}" if code < 0 else f"exit {code}"


def limit(seconds: int) -> None:
    """Bound time and memory of a process, so that a runaway is a row and no dead machine."""
    import resource

    resource.setrlimit(resource.RLIMIT_DATA, (10 << 30, 10 << 30))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))


def trtforge(results: Path, *words: str) -> None:
    bounded([sys.executable, "-m", "trtforge", *words], 60, results / "clean.txt", results)


def known(folder: Path, results: Path, name: str, code: str, failing: bool) -> bool:
    """Tell whether there is a row of this file and code, or of this file and right."""
    row = read(results, name)
    model = folder / f"{name}.onnx"
    if row is None or row.digest != digest_of([model, model.with_suffix(".json")], ("*",)):
        return False
    return row.commit == code or (failing and not row.failed)


def read(results: Path, name: str) -> Row | None:
    """Return the kept row of a file."""
    file = row_file(results, name)
    return Row(**json.loads(file.read_text())) if file.exists() else None


def row_file(results: Path, name: str) -> Path:
    return results / "rows" / f"{name}.json"


def digest_of(places: list[Path], patterns: tuple[str, ...]) -> str:
    """Return a digest of files, or of the files in folders that fit a pattern."""
    total = hashlib.sha256()
    for place in places:
        files = [file for pattern in patterns for file in place.rglob(pattern)] if place.is_dir() else [place]  # fmt: skip
        for file in sorted(files):
            total.update(file.read_bytes())
    return total.hexdigest()[:16]


def reference_of(folder: Path, name: str) -> Reference:
    """Return what the library says of a file."""
    return load(folder / f"{name}.onnx")[0]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("only", nargs="*")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--failing", action="store_true")
    given = parser.parse_intermixed_args()
    main(given.folder.resolve(), given.results.resolve(), given.only, given.jobs, given.failing)
