"""Read the header of an engine file: what made it, and whether it can load on this machine."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trtforge.backends._driver import Machine
from trtforge.documents import DocumentError, load_json
from trtforge.errors import ForgeError

MAGIC = {b"ftrt": "TensorRT", b"vtrt": "TensorRT-RTX"}
HEADER = 64  # bytes
# Ultralytics puts its own header before the engine: 4 bytes of length, then JSON.
LENGTH = 4
MAX_METADATA = 1 << 20  # bytes; the names of a thousand classes take 30 kB


@dataclass(frozen=True)
class Plan:
    """Facts that an engine file states, read without loading the engine.

    Attributes:
        maker: TensorRT or TensorRT-RTX.
        version: version of the builder, such as ``10.3.0.26``.
        built: what the manifest beside the file says about the build; empty without a manifest.
        start: the byte of the file at which the engine begins; over 0 behind a header of JSON.
    """

    path: Path
    maker: str
    version: str
    built: Mapping[str, Any]
    start: int = 0

    @property
    def origin(self) -> str:
        """The compute capability and the builder, in words."""
        sm = f"for SM{self.built['sm']} " if self.built.get("sm") else ""
        behind = ", behind a header of JSON as Ultralytics writes it" if self.start else ""
        return f"built {sm}with {self.maker} {self.version}{behind}"


def maker(path: Path) -> str | None:
    """Return who made an engine, by its first bytes; None if the file is not an engine."""
    begin = start(path)
    with path.open("rb") as stream:
        stream.seek(begin)
        return MAGIC.get(stream.read(4))


def start(path: Path) -> int:
    """Return the byte at which an engine begins: 0, or behind a header of JSON.

    Neither TensorRT nor nvinfer knows such a header: they stop at "magicTag failed".
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(LENGTH), "little")
        if not 2 <= length <= min(MAX_METADATA, size - LENGTH):
            return 0
        text = stream.read(length)
    try:
        metadata = load_json(text.decode("utf-8"), repeats=True)
    except (UnicodeDecodeError, DocumentError):
        return 0
    return LENGTH + length if isinstance(metadata, dict) else 0


def without_header(path: Path) -> str:
    """Return the command that copies an engine without its header of JSON."""
    name, plain = shlex.quote(path.name), shlex.quote(f"plain-{path.name}")
    return f"tail -c +{start(path) + 1} {name} > {plain}"


def engine_bytes(path: Path) -> bytes:
    """Return an engine as TensorRT reads it: without a header of JSON."""
    begin = start(path)
    with path.open("rb") as stream:
        stream.seek(begin)
        return stream.read()


def read(path: Path) -> Plan:
    """Read the header of an engine, and what the manifest in its folder says about it.

    Bytes 24 to 27 hold the version, as NVIDIA's trtexec reads it (sampleEngines.cpp,
    getPlanVersionOnly). TensorRT-RTX writes the size of the engine into bytes 16 to 23. TensorRT is
    not known to write it, so for its engines only the manifest tells the size.

    Raises:
        ForgeError: the file is not an engine, or is shorter than it should be.
    """
    begin = start(path)
    size = path.stat().st_size
    with path.open("rb") as stream:
        stream.seek(begin)
        head = stream.read(HEADER)
    builder = MAGIC.get(head[:4])
    if builder is None:
        behind = ": nothing known lies behind its header of JSON" if begin else ""
        raise ForgeError(
            f"{path}: neither ONNX nor an engine{behind}",
            "give an ONNX file, an engine, or a folder that trtforge wrote",
        )
    listed_bytes, built = _manifest(path)
    expected = listed_bytes
    if expected is None and builder == "TensorRT-RTX" and len(head) == HEADER:
        expected = begin + int.from_bytes(head[16:24], "little")
    if len(head) < HEADER or (expected is not None and size < expected):
        whole = f" of {expected}" if expected else ""
        raise ForgeError(
            f"{path}: cut short ({size} bytes{whole})",
            "copy it again, or build it again",
        )
    return Plan(path, builder, ".".join(str(byte) for byte in head[24:28]), built, begin)


def _manifest(path: Path) -> tuple[int | None, Mapping[str, Any]]:
    """Return the file's size and what made the engine, as the manifest beside it says."""
    from trtforge.bundle.folder import listed_files, read_document

    try:
        entry = listed_files(path.parent).get(path.name)
        engine = read_document(path.parent).get("engine")
    except ForgeError:
        return None, {}
    if entry is None:
        return None, {}
    built = engine.get("built") if isinstance(engine, dict) else None
    return entry.bytes, built if isinstance(built, dict) else {}


def why_not_here(plan: Plan, installed: str | None, here: Machine | None) -> str:
    """Return why an engine can't load on this machine, in one sentence; empty if it should load.

    Args:
        installed: version of the installed TensorRT; None if there is none.
        here: this machine's GPU; None if there is none.
    """
    if installed is None:
        return f"{plan.path}: {plan.origin}; this machine has no TensorRT"
    if here is None:
        return f"{plan.path}: {plan.origin}; this machine has no NVIDIA GPU with a driver"
    same_release = _release(plan.version) == _release(installed)
    version_fits = same_release or plan.built.get("version_compatible")
    sm = plan.built.get("sm")
    gpu_fits = sm in (None, here.sm) or (plan.built.get("hardware_compatible") and here.sm >= 80)
    if version_fits and gpu_fits:
        return ""
    return f"{plan.path}: {plan.origin}; this is SM{here.sm} with {installed}"


def _release(version: str) -> list[str]:
    """Return major, minor and patch: engines of another release do not load."""
    return version.split(".")[:3]
