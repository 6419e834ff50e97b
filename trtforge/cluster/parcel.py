"""Arguments on their way to another machine: every ``File`` in them stays outside the pickle and
travels by itself.

A file or folder is cut into blocks, which Ray brings to a node once however many cells there read
them; the node keeps it in its store, by its digest. Pickles go between machines that trust each
other as the processes of one machine do.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trtforge.errors import MachineError
from trtforge.store import NOTHING, File, Nothing, Stage, Store, changed

BLOCK = 64 * 2**20  # bytes
Put = Callable[[bytes], Any]  # a block into a place from which every node can get it
Get = Callable[[Any], bytes]


@dataclass(frozen=True)
class Parcel:
    """A file or folder on its way.

    Attributes:
        digest: of the ``File``.
        name: of the file; empty for a folder.
        blocks: of each file, by its path inside.
        beside: which of the files the digest covers besides the first; None if it covers some that
            stay behind.
    """

    digest: str
    name: str
    blocks: dict[str, list[Any]]
    beside: tuple[str, ...] | None = ()


def pack(value: Any) -> tuple[bytes, list[File]]:
    """A value without the files in it, and the files."""
    files: list[File] = []

    class Packer(pickle.Pickler):
        def persistent_id(self, obj: Any) -> str | None:
            if not isinstance(obj, File):
                return None
            assert obj.digest
            files.append(obj)
            return obj.digest

    stream = io.BytesIO()
    Packer(stream).dump(value)
    return stream.getvalue(), files


def unpack(content: bytes, place: Callable[[str], File]) -> Any:
    """The value, with files from ``place``, which is asked for each by its digest."""

    class Unpacker(pickle.Unpickler):
        def persistent_load(self, pid: str) -> File:
            return place(pid)

    return Unpacker(io.BytesIO(content)).load()


def send(file: File, put: Put) -> Parcel:
    """A file, with what belongs to it, or a folder of images."""
    from trtforge.calibration.images import list_images
    from trtforge.graph.model import external_files

    assert file.digest
    if file.path.is_dir():
        paths, folder, name = list_images(file.path), file.path, ""
    else:
        beside = external_files(file.path) if file.path.suffix == ".onnx" else []
        # Data outside the folder stays here: reading the model says what is wrong with that.
        inside = [
            path for path in beside if path.resolve().is_relative_to(file.path.parent.resolve())
        ]
        paths, folder, name = [file.path, *inside], file.path.parent, file.path.name
    blocks = {
        path.relative_to(folder).as_posix(): [put(block) for block in blocks_of(path)]
        for path in paths
    }
    covered = [path.relative_to(folder).as_posix() for path in file.beside if path in paths]
    return Parcel(
        file.digest, name, blocks, tuple(covered) if len(covered) == len(file.beside) else None
    )


@dataclass(frozen=True)
class ReceiveOptions:
    """Which parcel is received: see ``Parcel``."""

    digest: str
    name: str


def receive(parcel: Parcel, get: Get, store: Store) -> File:
    """Write the file or folder of a parcel on this machine, and keep it in the store.

    Raises:
        MachineError: it is not what its digest says.
    """

    def run(draft: Path, inputs: Nothing, options: ReceiveOptions) -> Nothing:
        write(draft, parcel.blocks, get)
        if _damaged(parcel, draft):
            raise MachineError(
                f"{parcel.name or 'a folder of images'}: arrived damaged, or changed on the way",
                "run again",
            )
        return NOTHING

    stage = Stage("received", 1, (), run, Nothing)
    kept = Store(store.root).run(stage, NOTHING, ReceiveOptions(parcel.digest, parcel.name))
    return File(kept.folder / parcel.name, parcel.digest, _beside(parcel, kept.folder))


def _beside(parcel: Parcel, folder: Path) -> tuple[Path, ...]:
    return tuple(folder / name for name in parcel.beside or ())


def _damaged(parcel: Parcel, folder: Path) -> bool:
    from trtforge.calibration import images

    if not parcel.name:
        return (
            images.folder_digest(images.image_digests(images.list_images(folder), folder))
            != parcel.digest
        )
    if parcel.beside is None:
        return False
    return changed(File(folder / parcel.name, parcel.digest, _beside(parcel, folder)))


def write(folder: Path, files: dict[str, list[Any]], get: Get) -> None:
    """Files out of their blocks.

    Raises:
        ValueError: a path leaves the folder.
    """
    for name, blocks in files.items():
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            raise ValueError(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as stream:
            for block in blocks:
                stream.write(get(block))


def blocks_of(path: Path) -> Iterator[bytes]:
    """A file, piece by piece."""
    if not path.is_file():  # a broken link counts as an empty file
        return
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            yield block
