"""Write the results of a sweep: its rows, their picture, and the bundle of the best engine."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

from trtforge.bundle.facts import BuildFacts
from trtforge.bundle.folder import check_output
from trtforge.bundle.prepared import Target
from trtforge.errors import ForgeError
from trtforge.pipeline import needed_backend, prepare
from trtforge.pipeline.job import Job
from trtforge.stages import build, bundle
from trtforge.store import Store
from trtforge.sweeping.rows import Pick, Swept, as_csv, best, job_for

FILES = ("sweep.json", "sweep.csv", "sweep.svg")
ENGINE = "engine"  # folder of the best engine


def check(out: Path, engine: bool) -> None:
    """Refuse, before any work, an output folder that can't be used.

    Args:
        engine: the best engine's bundle is going to be written, too.

    Raises:
        ForgeError: the folder is a file or lies in one, can't be written, or holds files that are
            not a sweep's.
    """
    parents = (out.absolute(), *out.absolute().parents)
    existing = next(path for path in parents if path.exists())
    if not existing.is_dir():
        raise ForgeError(f"{existing}: is a file", "give a folder with -o")
    if not os.access(existing, os.W_OK):
        raise ForgeError(
            f"{out}: can't be written (no permission in {existing})", "give another folder with -o"
        )
    for name in FILES:
        if (out / name).is_dir():
            raise ForgeError(f"{out / name}: is a folder", "give another folder with -o")
    if engine:
        check_output(out / ENGINE)


def write(found: Swept, out: Path) -> list[Path]:
    """Write the rows as JSON and CSV, and their picture, each file whole or not at all.

    Raises:
        ForgeError: the folder can't be written.
    """
    from trtforge import outfile
    from trtforge.sweeping import picture as sweep_picture

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ForgeError(
            f"{out}: can't be a folder ({error.strerror})", "give another folder with -o"
        ) from error
    texts = (
        json.dumps(asdict(found), indent=1) + "\n",
        as_csv(found.rows),
        sweep_picture.render(found),
    )
    for name, text in zip(FILES, texts, strict=True):
        outfile.write_text(out / name, text)
    return [out / name for name in FILES]


def deliver_best(
    found: Swept, pick: Pick, job: Job, target: Target, store: Store, out: Path
) -> Path:
    """Write the bundle of the best row into ``out/engine``.

    It holds the very engine that was measured, whoever built it.

    Args:
        store: the store of the sweep.

    Raises:
        ForgeError: see ``best`` and ``trtforge.stages.bundle.write``.
    """
    row = best(found.rows, pick)
    engine = next(made for made in store.ran if made.digests.get(build.ENGINE) == row.digest)
    prepared = prepare(job_for(job, row.cell), store, [needed_backend(target)])
    folder = out / ENGINE
    bundle.write(folder, prepared, target, engine.with_facts(BuildFacts), None, force=False)
    return folder
