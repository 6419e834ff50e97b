"""Send arguments to another machine: pickled, but with every ``File`` in them sent separately.

A file or folder is cut into blocks. Ray sends a block to a node once, however many cells read it
there, and the node keeps the file in its store under its digest. Pickles are sent only between
machines that trust each other as the processes of one machine do.
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
# A block is Ray's reference to bytes, or the bytes themselves where everything runs on one machine.
Put = Callable[[bytes], Any]  # stores a block where every node can get it
Get = Callable[[Any], bytes]
Blocks = dict[str, list[Any]]  # the blocks of each file, by its path in the folder


@dataclass(frozen=True)
class Parcel:
    """A file or folder in transfer.

    Attributes:
        digest: digest of the ``File``.
        name: name of the file; empty for a folder.
        blocks: blocks of each file, by its path in the folder.
        beside: the files beside the first that the digest covers; None if the digest covers files
            that are not sent.
    """

    digest: str
    name: str
    blocks: Blocks
    beside: tuple[str, ...] | None = ()


def pack(value: Any) -> tuple[bytes, list[File]]:
    """Return a value, pickled without the files in it, and the files."""
    files: list[File] = []

    class Packer(pickle.Pickler):
        def persistent_id(self, obj: Any) -> str | None:
            if not isinstance(obj, File):
                return None
            files.append(obj)
            return digest_of(obj)

    stream = io.BytesIO()
    Packer(stream).dump(value)
    return stream.getvalue(), files


def unpack(content: bytes, place: Callable[[str], File]) -> Any:
    """Return the value; ``place`` returns each file in it, given its digest."""

    class Unpacker(pickle.Unpickler):
        def persistent_load(self, pid: str) -> File:
            return place(pid)

    return Unpacker(io.BytesIO(content)).load()


def digest_of(file: File) -> str:
    """Return a file's digest, under which it is sent.

    Raises:
        ValueError: it has none: its stage was only planned.
    """
    if not file.digest:
        raise ValueError(f"{file.path}: no digest, so it can't be sent")
    return file.digest


def send(file: File, put: Put) -> Parcel:
    """Send a file, with the files that belong to it, or a folder of images."""
    from trtforge.calibration.images import list_images
    from trtforge.graph.model import external_files

    if file.path.is_dir():
        paths, folder, name = list_images(file.path), file.path, ""
    else:
        beside = external_files(file.path) if file.path.suffix == ".onnx" else []
        # Data outside the folder is not sent: reading the model there explains that it is refused.
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
        digest_of(file), name, blocks, tuple(covered) if len(covered) == len(file.beside) else None
    )


@dataclass(frozen=True)
class ReceiveOptions:
    """Digest and name of the parcel to receive; see ``Parcel``."""

    digest: str
    name: str


def receive(parcel: Parcel, get: Get, store: Store) -> File:
    """Write the file or folder of a parcel on this machine, and keep it in the store.

    Raises:
        MachineError: its contents do not match its digest.
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


def write(folder: Path, files: Blocks, get: Get) -> None:
    """Write files from their blocks.

    Raises:
        ValueError: a path leads out of the folder.
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
    """Yield the blocks of a file."""
    if not path.is_file():  # a broken link counts as an empty file
        return
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            yield block
