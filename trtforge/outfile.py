"""Files that commands write: each whole, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from trtforge.errors import ForgeError
from trtforge.store import Facts
from trtforge.store.drafts import draft_in


def single(
    run: Callable[..., Facts], made: str, out: Path, *, beside: str = "", **arguments: Any
) -> Facts:
    """Run one stage for one file: ``out`` appears whole, or stays as it was.

    Args:
        beside: a second file that the stage may make, for a model that is no use without it.

    Raises:
        ForgeError: the stage's own, or ``out`` is a folder or an input.
    """
    given = [
        value
        for each in arguments.values()
        for value in (each if isinstance(each, list) else [each])
    ]
    check(out, *(value for value in given if isinstance(value, Path)))
    with draft_in(out.absolute().parent) as draft:
        facts = run(draft, **arguments)
        if beside and (draft / beside).exists():
            (draft / beside).replace(out.with_name(beside))
        (draft / made).replace(out)
    return facts


def check(out: Path, *inputs: Path | None) -> None:
    """Refuse, before any work, a place where no file can be.

    Raises:
        ForgeError: it is a folder, or in none; it is one of the inputs, or an image in one of them.
    """
    if out.is_dir():
        raise ForgeError(f"{out}: is a folder", "give a file")
    if not out.absolute().parent.is_dir():
        raise ForgeError(f"{out}: there is no folder {out.parent}", "make it first")
    spare([each for each in inputs if each], [out], "give another file")


def spare(
    inputs: Sequence[Path], outs: Iterable[Path], hint: str = "give another folder with -o"
) -> None:
    """Refuse, before any work, to write over what is read.

    Raises:
        ForgeError: one of ``outs`` is one of ``inputs``, by this name or another, or an image in
            one of them.
    """
    read = {
        (found.st_dev, found.st_ino) for path in inputs if path.exists() for found in [path.stat()]
    }
    folders = [path.resolve() for path in inputs if path.is_dir()]
    for out in filter(Path.exists, outs):
        found = out.stat()
        if (found.st_dev, found.st_ino) in read:
            raise ForgeError(f"{out}: is the input itself", hint)
        if out.is_file() and any(out.resolve().is_relative_to(folder) for folder in folders):
            from trtforge.calibration.images import SUFFIXES

            if out.suffix.lower() in SUFFIXES:
                raise ForgeError(f"{out}: is one of the images", hint)


def write_text(out: Path, text: str) -> None:
    """Write a file, whole or not at all.

    Raises:
        ForgeError: see ``single``.
    """

    def run(draft: Path) -> Facts:
        (draft / "text").write_text(text, encoding="utf-8")
        return {}

    single(run, "text", out)
