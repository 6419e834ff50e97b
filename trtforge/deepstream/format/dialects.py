"""Read a configuration file of DeepStream, as INI or YAML according to its name."""

from __future__ import annotations

from pathlib import Path

from trtforge.deepstream.format import ini, yml
from trtforge.deepstream.format.document import Document
from trtforge.errors import ForgeError

MAX_BYTES = 1 << 20  # a larger file is no configuration
# nvinfer chooses by the suffix alone; a file with any other name is INI.
YAML_SUFFIXES = (".yml", ".yaml")


def dialect_of(path: Path) -> str:
    """Return the dialect in which nvinfer reads a file: ``yaml`` or ``ini``."""
    return "yaml" if path.suffix in YAML_SUFFIXES else "ini"


def read(path: Path) -> Document:
    """Read a file; faults in it are listed in the document, not raised.

    Raises:
        ForgeError: the file is missing, too large, or not text.
    """
    hint = "give a configuration file of nvinfer or deepstream-app"
    if not path.is_file():
        raise ForgeError(f"{path}: no such file", hint)
    if path.stat().st_size > MAX_BYTES:
        raise ForgeError(f"{path}: larger than 1 MiB, so not a configuration", "")
    data = path.read_bytes()
    if b"\0" in data:
        raise ForgeError(f"{path}: not text", hint)
    return parse(data.decode("utf-8", errors="replace"), path)


def parse(text: str, path: Path) -> Document:
    """Parse a file's text in the dialect that its name says."""
    return yml.parse(text, path) if dialect_of(path) == "yaml" else ini.parse(text, path)
