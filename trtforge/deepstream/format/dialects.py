"""Reading a configuration file, in the one of two dialects that its name says."""

from __future__ import annotations

from pathlib import Path

from trtforge.deepstream.format import ini, yml
from trtforge.deepstream.format.document import Document
from trtforge.errors import ForgeError

LONGEST = 1 << 20  # bytes of a configuration file: more is none
YAML_SUFFIXES = (
    ".yml",
    ".yaml",
)  # nvinfer goes by the suffix alone; every other name is an INI file


def dialect_of(path: Path) -> str:
    """nvinfer goes by the suffix alone."""
    return "yaml" if path.suffix in YAML_SUFFIXES else "ini"


def read(path: Path) -> Document:
    """Read a file, with its faults noted and not raised.

    Raises:
        ForgeError: there is no such file, or it is no text of a configuration's size.
    """
    if not path.is_file():
        raise ForgeError(
            f"{path}: no such file", "give a configuration file of nvinfer or deepstream-app"
        )
    if path.stat().st_size > LONGEST:
        raise ForgeError(f"{path}: larger than 1 MiB, so not a configuration", "")
    data = path.read_bytes()
    if b"\0" in data:
        raise ForgeError(
            f"{path}: not text", "give a configuration file of nvinfer or deepstream-app"
        )
    return parse(data.decode("utf-8", errors="replace"), path)


def parse(text: str, path: Path) -> Document:
    """Parse a file's text in the dialect that its name says."""
    return yml.parse(text, path) if dialect_of(path) == "yaml" else ini.parse(text, path)
