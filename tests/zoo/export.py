"""Export the zoo: one process a file, with a bound on its time; what is there already stays.

python -m tests.zoo.export FOLDER [ONLY ...]
"""

from __future__ import annotations

import importlib
import os
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

from tests.zoo.entry import Entry
from tests.zoo.reference import save

EXPORTERS = Path(__file__).parent / "exporters"
BOUND, SLOWER = 240, 4  # seconds of the processor for one file; a busy machine may take longer


def all_entries() -> Iterator[Entry]:
    """Return the entries of all families."""
    for module in sorted(EXPORTERS.glob("[a-z]*.py")):
        family = importlib.import_module(f"tests.zoo.exporters.{module.stem}")
        yield from family.entries()


def preload(entries: list[Entry]) -> None:
    """Import what the exporters of entries import, once for all processes."""
    for library in {entry.name.partition("/")[0] for entry in entries}:
        module = f"tests.zoo.exporters.{library.replace('-', '_')}"
        for name in importlib.import_module(module).PRELOAD:
            importlib.import_module(name)


def main(folder: Path, only: list[str]) -> None:
    """Export what is chosen and not yet there."""
    chosen = [entry for entry in all_entries() if not only or entry.name.startswith(tuple(only))]
    missing = [entry for entry in chosen if not done(folder, entry)]
    preload(missing)
    print(f"{len(chosen)} files, {len(missing)} to be exported", flush=True)
    for index, entry in enumerate(missing, 1):
        began = time.monotonic()
        outcome = bounded(folder, entry)
        print(f"{index}/{len(missing)} {entry.name} {time.monotonic() - began:.0f} s {outcome}", flush=True)  # fmt: skip


def done(folder: Path, entry: Entry) -> bool:
    """Tell whether the file is there with its reference, or its exporter has failed."""
    file = folder / f"{entry.name}.onnx"
    return file.with_suffix(".failed").exists() or file.with_suffix(".json").exists()


def bounded(folder: Path, entry: Entry) -> str:
    """Export one file in a process of its own; what goes wrong is kept beside it, as text."""
    file = folder / f"{entry.name}.onnx"
    file.parent.mkdir(parents=True, exist_ok=True)
    child = os.fork()
    if child == 0:
        run(entry, file)
    end = time.monotonic() + SLOWER * BOUND
    while time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        time.sleep(0.1)
    else:
        os.kill(child, 9)
        os.waitpid(child, 0)
        status = -1
        file.with_suffix(".failed").write_text(f"took over {SLOWER * BOUND} s\n")
    if status == 0:
        return ""
    if not file.with_suffix(".failed").exists():
        file.with_suffix(".failed").write_text(f"ended with status {status}\n")
    file.with_suffix(".json").unlink(missing_ok=True)
    return "failed: " + file.with_suffix(".failed").read_text().strip().splitlines()[-1]


def run(entry: Entry, file: Path) -> None:
    """Export in this process, and end it."""
    resource.setrlimit(resource.RLIMIT_CPU, (BOUND, BOUND + 5))
    status = 1
    with file.with_suffix(".log").open("w") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        place = tempfile.mkdtemp()
        os.chdir(place)  # some exporters write beside themselves
        try:
            reference, arrays = entry.make(file)
            save(file, reference, arrays)
            status = 0
        except BaseException:
            file.with_suffix(".failed").write_text(traceback.format_exc())
        finally:
            shutil.rmtree(place, ignore_errors=True)
    os._exit(status)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), sys.argv[2:])
