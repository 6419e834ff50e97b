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
from trtforge.pipeline.check import check_engine
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
        ForgeError: the path is a file or lies inside one, the folder can't be written, a result's
            name is taken by a folder, or ``engine`` holds files that trtforge did not write.
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


def write(swept: Swept, out: Path) -> list[Path]:
    """Write the rows as JSON, as CSV and as a picture, and return the paths.

    A write that fails leaves no partial file behind.

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
        json.dumps(asdict(swept), indent=1) + "\n",
        as_csv(swept.rows),
        sweep_picture.render(swept),
    )
    for name, text in zip(FILES, texts, strict=True):
        outfile.write_text(out / name, text)
    return [out / name for name in FILES]


def deliver_best(
    swept: Swept, pick: Pick, job: Job, target: Target, store: Store, out: Path
) -> Path:
    """Write the bundle of the best row into ``out/engine``.

    The bundle contains exactly the engine that the sweep measured; nothing is built again.

    Args:
        store: the store of the sweep.

    Raises:
        ForgeError: see ``best`` and ``trtforge.stages.bundle.write``.
    """
    row = best(swept.rows, pick)
    # Cells with equal engines share a digest: any of their artifacts is the measured engine.
    engine = next(built for built in store.ran if built.digests.get(build.ENGINE) == row.digest)
    job_of_row = job_for(job, row.cell)
    prepared = prepare(job_of_row, store, [needed_backend(target)])
    folder = out / ENGINE
    built = engine.with_facts(BuildFacts)
    check, _ = check_engine(job_of_row, prepared, target, built, row.cell.options, store)
    bundle.write(folder, prepared, target, built, check, None, force=False)
    return folder
