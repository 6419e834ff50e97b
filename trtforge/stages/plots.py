"""calibration.json -> pictures: each tensor's histogram with its range."""

from __future__ import annotations

import re
from pathlib import Path

from trtforge.bundle.folder import swap
from trtforge.errors import ForgeError
from trtforge.store.drafts import draft_in

OURS = re.compile(r"\d{4,}-[\w.-]*\.svg", re.ASCII)
LONGEST = 60  # letters of a tensor's name in a file's


def write(table: Path, out: Path) -> int:
    """Write an SVG of each observed tensor into ``out``, the folder whole or not at all.

    Pictures that lie there are replaced. A file is named after the tensor's place in the table and
    those letters of its name that any file system takes.

    Args:
        table: ``calibration.json`` of trtforge.

    Returns:
        The number of pictures.

    Raises:
        ForgeError: see ``check``.
    """
    from trtforge import present
    from trtforge.calibration import ranges
    from trtforge.reporting import range_picture

    loaded = ranges.load(table)
    images = len(loaded.source.images) if loaded.source else 0
    with (
        draft_in(out.absolute().parent) as draft,
        present.progress("plots", len(loaded.histograms)) as done,
    ):
        for number, (name, histogram) in enumerate(loaded.histograms.items(), 1):
            picture = range_picture.render(
                name, histogram, loaded.amax[name], loaded.methods[name], images
            )
            (draft / file_name(number, name)).write_text(picture, encoding="utf-8")
            done(number)
        check(out)
        swap(draft, out.resolve())
    return len(loaded.histograms)


def file_name(number: int, name: str) -> str:
    """Return the name of a tensor's picture.

    The number tells files apart, whatever the names are, and sorts them as the tensors.
    """
    return f"{number:04d}-{re.sub('[^A-Za-z0-9]+', '-', name[-LONGEST:]).strip('-')}.svg"


def check(out: Path) -> None:
    """Refuse a folder whose files would be lost.

    Raises:
        ForgeError: it is a file, or holds anything but such pictures.
    """
    if out.exists() and not out.is_dir():
        raise ForgeError(f"{out}: is a file", "give a folder with --plots")
    there = out.iterdir() if out.is_dir() else ()
    other = [path.name for path in there if not (path.is_file() and OURS.fullmatch(path.name))]
    if other:
        raise ForgeError(
            f"{out}: holds {min(other)!r}, which is no plot",
            "give a new or empty folder with --plots",
        )
