"""Write an output folder, all at once or not at all, with a manifest that lists every file of it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trtforge.documents import read_json
from trtforge.errors import FULL, ForgeError
from trtforge.store import File, digest, lost
from trtforge.store.drafts import draft_in, draft_name, set_aside
from trtforge.version import __version__

MANIFEST = "manifest.json"
FORMAT = "trtforge-bundle-1"
Contents = dict[str, File | bytes]


@dataclass(frozen=True)
class FileEntry:
    """A file of an output folder, as its manifest lists it.

    Attributes:
        bytes: size in bytes; None if an old manifest does not contain it.
    """

    sha256: str
    bytes: int | None = None


def write(out: Path, contents: Contents, manifest: Mapping[str, object], force: bool) -> bool:
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
    out = out.resolve()  # the folder behind a link is replaced, not the link
    files = {name: _described(content) for name, content in sorted(contents.items())}
    document = {"format": FORMAT, "trtforge": __version__, **manifest, "files": files}
    text = json.dumps(document, indent=1) + "\n"
    check_output(out, force)
    listed = out / MANIFEST
    if listed.is_file() and listed.read_text(encoding="utf-8") == text and not changed(out):
        return False
    with draft_in(out.absolute().parent) as draft:
        for name, content in contents.items():
            _put(content, draft / name)
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
        # Read the manifest even with --force: another program's folder must not be overwritten.
        edited = changed(out)
        written = {MANIFEST, *listed_files(out)}
        extra = sorted(path.name for path in out.iterdir() if path.name not in written)
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
    """Return the sorted names of files that are missing or differ from the folder's manifest.

    Raises:
        ForgeError: trtforge did not write the manifest.
    """
    return sorted(
        name
        for name, entry in listed_files(folder).items()
        if not (folder / name).is_file() or digest(folder / name) != entry.sha256
    )


def listed_files(folder: Path) -> dict[str, FileEntry]:
    """Return the files that the manifest of a bundle or prepared folder lists, by name.

    The manifest is not trusted: a name in it never leaves the folder.

    Raises:
        ForgeError: there is no manifest, or trtforge did not write it.
    """
    path = folder / MANIFEST
    content = read_document(folder)
    files = content.get("files") if content.get("format") == FORMAT else None
    if not isinstance(files, dict):
        raise ForgeError(
            f"{path}: not a manifest of this version ({FORMAT})", "make the folder again"
        )
    entries: dict[str, FileEntry] = {}
    for name, entry in files.items():
        sha256 = entry.get("sha256") if isinstance(entry, dict) else None
        if name in ("", ".", "..") or Path(name).name != name or not isinstance(sha256, str):
            raise ForgeError(
                f"{path}: lists {name!r}, which is no file in the folder", "make the folder again"
            )
        size = entry.get("bytes")
        entries[name] = FileEntry(sha256=sha256, bytes=size if isinstance(size, int) else None)
    return entries


def read_document(folder: Path) -> dict[str, object]:
    """Return the unchecked manifest of a folder; empty if it is not a JSON object.

    Raises:
        ForgeError: there is no manifest, or it can't be read.
    """
    path = folder / MANIFEST
    if not path.exists():
        raise ForgeError(
            f"{folder}: no {MANIFEST} in it", "give a folder made by `trtforge prepare`"
        )
    content = read_json(path, "manifest", "make the folder again")
    return content if isinstance(content, dict) else {}


def _described(content: File | bytes) -> dict[str, str | int | None]:
    if isinstance(content, bytes):
        return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    return {"sha256": content.digest, "bytes": content.path.stat().st_size}


def _put(content: File | bytes, path: Path) -> None:
    """Write a file of the folder.

    Raises:
        ForgeError: its content does not match its digest.
    """
    if isinstance(content, bytes):
        path.write_bytes(content)
        return
    shutil.copyfile(content.path, path)
    if digest(path) != content.digest:
        raise lost(content.path)


def swap(draft: Path, out: Path) -> None:
    """Put a new folder in the place of the old one, which is put back if that fails."""
    out.parent.mkdir(parents=True, exist_ok=True)
    old = None
    try:
        if out.exists():
            old = set_aside(out, draft)
    except OSError as error:
        # A mount point, or no permission to move it: replace its files, the manifest last.
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
    """Put new files in the place of old ones, in a folder that can't be moved.

    Old files are deleted only after all new ones are copied, so a full disk changes nothing.
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
