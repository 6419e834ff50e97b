"""Text for ``detect`` and ``deepstream preview``: a line for each object."""

from __future__ import annotations

from trtforge import present
from trtforge.api.results import Detections


def summarize(result: Detections) -> str:
    """Return the objects, and where the pictures are."""
    rows = [
        [
            image.image.name,
            found.name,
            f"{found.score:.2f}",
            " ".join(f"{side:.0f}" for side in found.box),
        ]
        for image in result.images
        for found in image.objects
    ]
    header = ["image", "class", "score", "left top right bottom"]
    objects = present.table(rows, header) if rows else "nothing found"
    sheet = f", {result.sheet.name}" if result.sheet else ""
    place = f"{result.out}/: {len(result.images)} pictures{sheet}"
    return "\n".join([objects, "", *result.remarks, place])
