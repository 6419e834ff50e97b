"""Sources of a pipeline: URIs of cameras and files, which may carry passwords."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trtforge.deepstream.format.secrets import redact
from trtforge.errors import ForgeError

MOST = 1024  # sources that deepstream-app takes
LONGEST = 1 << 20  # bytes of a list
LIVE = ("rtsp", "rtsps", "v4l2", "csi")
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^\s:\[\]@]+)(:(?P<port>\d{1,5}))?", re.IGNORECASE)


@dataclass(frozen=True)
class Stream:
    """One source: its scheme, and the URI as DeepStream takes it. ``str()`` is without credentials."""

    scheme: str
    uri: str

    @property
    def live(self) -> bool:
        return self.scheme in LIVE

    def __str__(self) -> str:
        camera = {"v4l2": "usb:", "csi": "csi:"}.get(self.scheme)
        return f"{camera}{self.uri}" if camera else redact(self.uri)

    __repr__ = __str__


def parse(text: str, where: str = "") -> Stream:
    """Parse a URI, a camera (``csi:0``, ``usb:0``, ``/dev/video0``) or a file's path.

    Raises:
        ForgeError: it is none of these; the message does not repeat it.
    """
    if any(ord(char) < 33 or ord(char) == 127 for char in text):
        raise ForgeError(
            f"{where}a blank or control character in a URI", "write it as %20 or the like"
        )
    if found := re.fullmatch(r"(?:/dev/video|usb:)(\d+)", text):
        return Stream("v4l2", found[1])
    if found := re.fullmatch(r"csi:(\d+)", text):
        return Stream("csi", found[1])
    scheme, colon, rest = text.partition("://")
    if colon and scheme.lower() in ("rtsp", "rtsps", "http", "https"):
        _check_host(rest, where)
    if colon and scheme.lower() in ("rtsp", "rtsps", "file", "http", "https") and rest:
        return Stream(scheme.lower(), f"{scheme.lower()}://{rest}")
    if not colon and Path(text).suffix:
        return Stream("file", Path(text).absolute().as_uri())
    raise ForgeError(
        f"{where}neither a URI nor a camera nor a file",
        "for example rtsp://camera/stream, file:///data/a.mp4, usb:0, csi:0",
    )


def _check_host(rest: str, where: str) -> None:
    """Hold what stands behind ``://`` to beginning with ``[user:password@]host[:port]``."""
    host = re.split("[/?#]", rest, maxsplit=1)[0].rpartition("@")[2]
    found = _HOST.fullmatch(host)
    if not found or not 1 <= int(found["port"] or 1) <= 65535:
        raise ForgeError(
            f"{where}a URI without host, or whose port is no number from 1 to 65535",
            "for example rtsp://user:password@camera:554/a; in a password write / as %2F",
        )


def read(path: Path) -> list[Stream]:
    """Read a list with one source a line; ``#`` begins a comment line.

    Raises:
        ForgeError: there is no such file, nothing in it, or a line that is no source.
    """
    if not path.is_file():
        raise ForgeError(f"{path}: no such file", "give a text file with one URI a line")
    if path.stat().st_size > LONGEST:
        raise ForgeError(f"{path}: larger than 1 MiB, so not a list of cameras", "")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ForgeError(
            f"{path}: not UTF-8 text", "give a text file with one URI a line"
        ) from error
    found = [
        parse(line.strip(), f"{path}:{number}: ")
        for number, line in enumerate(lines, 1)
        if line.strip() and not line.strip().startswith("#")
    ]
    if not found:
        raise ForgeError(f"{path}: no source in it", "write one URI a line")
    if len(found) > MOST:
        raise ForgeError(
            f"{path}: {len(found)} sources; deepstream-app takes {MOST}", "split the list"
        )
    return found


def secret(streams: Sequence[Stream]) -> bool:
    """Tell whether a URI carries what may be a secret."""
    return any(redact(stream.uri) != stream.uri for stream in streams)
