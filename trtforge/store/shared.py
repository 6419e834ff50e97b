"""A store that many machines share, at a URL that fsspec knows: s3://, gs://, file://, ...

An entry is one tar file, ``STAGE/KEY.tar``. It is uploaded under a temporary name and then moved to
its place, which happens at once or not at all on file systems and object stores alike. Readers
compare every file with the digests inside. Whoever may write there is trusted as much as the
machine itself: engines are code.
"""

from __future__ import annotations

import shutil
import tarfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from trtforge.errors import ForgeError, MachineError
from trtforge.store.drafts import DRAFT
from trtforge.store.record import RECORD, Record, parse_record

PACKED = "entry.tar"


class FileSystem(Protocol):
    """The part of fsspec's file systems that is used here."""

    def get_file(self, remote: str, local: str) -> None:
        """Download a file."""

    def put_file(self, local: str, remote: str) -> None:
        """Upload a file."""

    def open(self, path: str, mode: str) -> IO[bytes]:
        """Open a file."""

    def mv(self, source: str, target: str) -> None:
        """Move a file, over one that is there."""

    def makedirs(self, path: str, exist_ok: bool) -> None:
        """Make a folder, with those around it."""


def fetch(url: str, name: str, draft: Path) -> bool:
    """Copy the files of an entry into ``draft``.

    Args:
        name: ``STAGE/KEY``.

    Returns:
        Whether the shared store has it.

    Raises:
        ForgeError, MachineError: the URL can't be read.
    """
    packed = draft / PACKED
    with _opened(url) as (system, root):
        try:
            system.get_file(f"{root}/{name}.tar", str(packed))
        except FileNotFoundError:
            return False
    try:
        with tarfile.open(packed, "r:") as archive:
            for member in archive:
                _unpack(archive, member, draft)
    except (tarfile.TarError, EOFError, ValueError):  # no tar, or cut short: as good as none
        return False
    packed.unlink()
    return True


def look(url: str, name: str) -> Record | None:
    """Return the record of an entry, and read nothing else of it; None without such an entry.

    Args:
        name: ``STAGE/KEY``.

    Raises:
        ForgeError, MachineError: the URL can't be read.
    """
    with _opened(url) as (system, root):
        try:
            with (
                system.open(f"{root}/{name}.tar", "rb") as stream,
                tarfile.open(fileobj=stream, mode="r:") as archive,
            ):
                content = archive.extractfile(RECORD)
                return parse_record(content.read()) if content else None
        except (FileNotFoundError, KeyError, tarfile.TarError, EOFError, ValueError):
            # The entry is missing or damaged; either way it has to be made.
            return None


def publish(url: str, name: str, entry: Path, files: Iterable[str], draft: Path) -> None:
    """Put an entry into the shared store.

    Args:
        name: ``STAGE/KEY``.
        files: names of the files of ``entry``, without the record.
        draft: folder to pack them in.

    Raises:
        ForgeError, MachineError: the URL can't be written.
    """
    packed = draft / PACKED
    with tarfile.open(packed, "w") as archive:
        for file in (*files, RECORD):
            archive.add(entry / file, file, recursive=False)
    with _opened(url) as (system, root):
        place = f"{root}/{name}.tar"
        upload = f"{root}/{DRAFT}{uuid.uuid4().hex}"
        system.makedirs(place.rpartition("/")[0], exist_ok=True)
        system.put_file(str(packed), upload)
        system.mv(upload, place)


def _unpack(archive: tarfile.TarFile, member: tarfile.TarInfo, draft: Path) -> None:
    """Write one file of an archive into a folder.

    Raises:
        ValueError: the member is not a plain file, or would leave the folder.
    """
    path = PurePosixPath(member.name)
    content = archive.extractfile(member) if member.isreg() else None
    if content is None or path.is_absolute() or ".." in path.parts:
        raise ValueError(member.name)
    (draft / path).parent.mkdir(parents=True, exist_ok=True)
    with content, (draft / path).open("wb") as out:
        shutil.copyfileobj(content, out)


@contextmanager
def _opened(url: str) -> Iterator[tuple[FileSystem, str]]:
    """Open the file system behind a URL, and give the path in it."""
    scheme, _, place = url.partition("?")[0].partition("://")
    # without name and password, and what a query may hold
    shown = f"{scheme}://{place.rpartition('@')[2]}"
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise MachineError(
            f"{shown}: fsspec is not installed", "pip install 'trtforge[shared]'"
        ) from error
    try:
        opened: tuple[FileSystem, str] = url_to_fs(url)
        yield opened[0], opened[1].rstrip("/")
    except ImportError as error:  # fsspec names the package
        raise MachineError(
            f"{shown}: {error}", f"pip install what {shown.partition(':')[0]}:// needs"
        ) from error
    except Exception as error:  # what storages raise has no class in common
        secret = url.partition("?")[2]
        why = next(iter(str(error).splitlines()), "") or type(error).__name__
        why = why.replace(f"?{secret}", "").replace(secret, "...") if secret else why
        raise ForgeError(
            f"{shown}: the shared store fails: {why}",
            "check $TRTFORGE_STORE, its permissions and the network",
        ) from error
