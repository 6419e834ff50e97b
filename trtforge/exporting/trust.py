"""Refuse files that can run code when torch loads them, unless the user trusts them.

This holds for torch 2.13. A TorchScript archive is read by torch's own unpickler and run by its own
interpreter, which can't run Python; but its operators ``aten::save`` and ``aten::from_file`` write
to any path. ``torch.export.load`` reads parts of a ``.pt2`` file with ``weights_only=False``,
evaluates expressions over sizes as Python, finds operators by any name in ``torch``, and loads
compiled libraries: such a file can do everything that a program can do.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from trtforge import present
from trtforge.errors import ForgeError

WRITERS = re.compile(rb"\b(save|from_file)\b")
LONGEST = 2**26  # bytes of one source file in an archive that is searched


def check_torchscript(path: Path, trusted: bool) -> None:
    """Refuse an archive whose code has an operator that writes files, unless it is trusted.

    Raises:
        ForgeError: it has such an operator, and is not trusted.
    """
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if not member.filename.endswith(".py"):
                continue
            with archive.open(member) as stream:
                code = stream.read(LONGEST + 1)
            writer = WRITERS.search(code)
            reason = ""
            if writer:
                reason = f"uses {writer[1].decode()}, which can write any file"
            elif len(code) > LONGEST:
                reason = "is too long to search"
            if reason:
                _require_trust(path, f"its code ({member.filename}) {reason}", trusted)


def check_program(path: Path, trusted: bool) -> None:
    """Refuse a ``.pt2`` file, unless it is trusted.

    Raises:
        ForgeError: it is not trusted.
    """
    _require_trust(
        path,
        "torch unpickles parts of a .pt2 file and evaluates others as Python: it can run any code",
        trusted,
    )


def _require_trust(path: Path, why: str, trusted: bool) -> None:
    if not trusted:
        raise ForgeError(
            f"{path}: {why}", "add --trust-pickle, if you made the file or trust its author"
        )
    present.note(f"warning: loading {path} because of --trust-pickle: {why}")
