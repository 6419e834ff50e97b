"""The output folder: written all at once or not at all, with a manifest that lists what is in it
and by what digest.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trtforge import __version__
from trtforge.errors import FULL, ForgeError
from trtforge.store import File, digest, lost
from trtforge.store.drafts import draft_in, draft_name, set_aside

MANIFEST = "manifest.json"
FORMAT = "trtforge-bundle-1"
Contents = dict[str, File | bytes]


def write(out: Path, contents: Contents, manifest: Mapping[str, Any], force: bool) -> bool:
    """Make ``out`` hold exactly ``contents`` and their manifest, all at once.

    Args:
        out: folder; it may be missing, empty, or an older bundle.
        contents: files of the store, or text.
        manifest: everything but the list of files, which is added.
        force: replace files that were changed by hand.

    Returns:
        Whether anything was written: False if the bundle was there already, unchanged.

    Raises:
        ForgeError: ``out`` holds something else, was changed by hand, or can't be written.
    """
    out = out.resolve()  # a linked folder stays one
    files = {name: _described(content) for name, content in sorted(contents.items())}
    text = (
        json.dumps(
            {"format": FORMAT, "trtforge": __version__, **manifest, "files": files}, indent=1
        )
        + "\n"
    )
    check_output(out, force)
    if (
        (out / MANIFEST).is_file()
        and (out / MANIFEST).read_text(encoding="utf-8") == text
        and not changed(out)
    ):
        return False
    with draft_in(out.absolute().parent) as draft:
        for name, content in contents.items():
            _put(content, draft / name, files[name]["sha256"])
        (draft / MANIFEST).write_text(text, encoding="utf-8")
        swap(draft, out)
    return True


def check_output(out: Path, force: bool = False) -> None:
    """Refuse, before any work, an output folder that can't be used.

    Raises:
        ForgeError: see ``write``.
    """
    if out.exists() and not out.is_dir():
        raise ForgeError(f"{out}: is a file", "give a folder with -o")
    if out.is_dir() and any(out.iterdir()):
        if not (out / MANIFEST).is_file():
            raise ForgeError(
                f"{out}: holds other files, and no {MANIFEST}", "give a new or empty folder with -o"
            )
        edited = changed(out)  # even with --force: a manifest that is not ours protects its folder
        own = {MANIFEST, *read_manifest(out)["files"]}
        extra = sorted(path.name for path in out.iterdir() if path.name not in own)
        if extra:
            raise ForgeError(
                f"{out / extra[0]}: not written by trtforge, and would be lost", "move it elsewhere"
            )
        if edited and not force:
            raise ForgeError(
                f"{out / edited[0]}: changed since trtforge wrote it", "--force overwrites it"
            )
    parent = next(path for path in out.absolute().parents if path.exists())
    if not (parent.is_dir() and os.access(parent, os.W_OK)):
        raise ForgeError(
            f"{out}: can't be written (no permission in {parent})", "give another folder with -o"
        )


def changed(folder: Path) -> list[str]:
    """Files that are not what the folder's manifest says, sorted.

    Raises:
        ForgeError: the manifest is not ours.
    """
    files = read_manifest(folder)["files"]
    return sorted(
        name
        for name, entry in files.items()
        if not (folder / name).is_file() or digest(folder / name) != entry["sha256"]
    )


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a bundle or prepared folder. It is untrusted: file names in it never leave
    the folder.

    Raises:
        ForgeError: it is missing, or not ours.
    """
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ForgeError(
            f"{folder}: no {MANIFEST} in it", "give a folder made by `trtforge prepare`"
        ) from error
    except (ValueError, OSError, RecursionError) as error:
        raise ForgeError(f"{path}: can't be read", "make the folder again") from error
    files = (
        content.get("files")
        if isinstance(content, dict) and content.get("format") == FORMAT
        else None
    )
    if not isinstance(files, dict):
        raise ForgeError(
            f"{path}: not a manifest of this version ({FORMAT})", "make the folder again"
        )
    for name, entry in files.items():
        if (
            name in ("", ".", "..")
            or Path(name).name != name
            or not isinstance(entry, dict)
            or "sha256" not in entry
        ):
            raise ForgeError(
                f"{path}: lists {name!r}, which is no file in the folder", "make the folder again"
            )
    return dict(content)


def _described(content: File | bytes) -> dict[str, Any]:
    if isinstance(content, bytes):
        return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    return {"sha256": content.digest, "bytes": content.path.stat().st_size}


def _put(content: File | bytes, path: Path, sha256: str) -> None:
    if isinstance(content, bytes):
        path.write_bytes(content)
        return
    shutil.copyfile(content.path, path)
    if digest(path) != sha256:
        raise lost(content.path)


def swap(draft: Path, out: Path) -> None:
    """The new folder takes the old one's place; if that fails, the old one is back."""
    out.parent.mkdir(parents=True, exist_ok=True)
    old = None
    try:
        if out.exists():
            old = set_aside(out, draft)
    except (
        OSError
    ) as error:  # a mount point, or not ours to move: its files are replaced, the manifest last
        if error.errno in FULL:
            raise
        _replace_files(draft, out)
        return
    try:
        draft.rename(out)
    except BaseException:
        if old:
            old.rename(out)
            old.parent.rmdir()
        raise
    if old:
        shutil.rmtree(old.parent, ignore_errors=True)


def _replace_files(draft: Path, out: Path) -> None:
    """Nothing goes before all that takes its place is there: a full disk leaves the folder as it
    was.
    """
    old = list(out.iterdir())
    new = {
        path.name: out / draft_name()
        for path in sorted(draft.iterdir(), key=lambda path: path.name == MANIFEST)
    }
    try:
        for name, copy in new.items():
            shutil.copyfile(draft / name, copy)
    except BaseException:
        for copy in new.values():
            copy.unlink(missing_ok=True)
        raise
    (out / MANIFEST).unlink(missing_ok=True)
    for path in old:
        path.unlink(missing_ok=True)
    for name, copy in new.items():
        copy.rename(out / name)
