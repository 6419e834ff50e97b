"""What a file from elsewhere may do when torch loads it, and what has to be trusted first.

Seen in torch 2.13. A TorchScript archive is read by torch's own unpickler and run by its own
interpreter, which knows no Python; of its operators, ``aten::save`` and ``aten::from_file`` write
to any path. ``torch.export.load`` reads a ``.pt2`` file with ``weights_only=False`` where that is
needed, evaluates its expressions over sizes as Python, looks its operators up by any name below
``torch``, and loads compiled libraries: such a file can do what a program can.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from trtforge import present
from trtforge.errors import ForgeError

WRITERS = re.compile(rb"\b(save|from_file)\b")
LONGEST = 2**26  # bytes of one source file in an archive


def check_torchscript(path: Path, trusted: bool) -> None:
    """Refuse an archive whose code names an operator that writes files, unless it is trusted.

    Raises:
        ForgeError: it does.
    """
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if not member.filename.endswith(".py"):
                continue
            with archive.open(member) as stream:
                code = stream.read(LONGEST + 1)
            found = WRITERS.search(code)
            if found or len(code) > LONGEST:
                what = (
                    f"names {found[1].decode()}, which can write any file"
                    if found
                    else "is too long to search"
                )
                _demand(path, f"its code ({member.filename}) {what}", trusted)


def check_program(path: Path, trusted: bool) -> None:
    """Refuse a ``.pt2`` file, unless it is trusted.

    Raises:
        ForgeError: it is not.
    """
    _demand(
        path,
        "torch unpickles parts of a .pt2 file and evaluates others as Python: it can run any code",
        trusted,
    )


def _demand(path: Path, why: str, trusted: bool) -> None:
    if not trusted:
        raise ForgeError(f"{path}: {why}", "--trust-pickle, if you made the file or trust who did")
    present.note(f"warning: loading {path} as --trust-pickle says: {why}")
