"""Text for ``detect`` and ``deepstream preview``: a line for each object."""

from __future__ import annotations

from pathlib import Path

from trtforge import present
from trtforge.stages.detect import Detections


def summarize(result: Detections, out: Path) -> str:
    """Return the objects, and where the pictures are."""
    rows = [
        [
            picture.image.name,
            found.name,
            f"{found.score:.2f}",
            " ".join(f"{side:.0f}" for side in found.box),
        ]
        for picture in result.pictures
        for found in picture.objects
    ]
    header = ["image", "class", "score", "left top right bottom"]
    objects = present.table(rows, header) if rows else "nothing found"
    sheet = f", {result.sheet}" if result.sheet else ""
    pictures = f"{out}/: {len(result.pictures)} pictures{sheet}"
    return "\n".join([objects, "", *result.remarks, pictures])
