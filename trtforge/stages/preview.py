"""Pictures of what DeepStream will show with a bundle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trtforge.deepstream import preview
from trtforge.evaluate.detections import Objects
from trtforge.stages.detect import DetectionsJson, draw_all, targets

if TYPE_CHECKING:
    from PIL import Image


class PreviewJson(DetectionsJson):
    """The document that ``trtforge deepstream preview --json`` prints."""

    dropped: dict[str, int]


def run(bundle: Path, images: Sequence[Path], out: Path) -> PreviewJson:
    """Write each image with the objects that nvinfer would attach to it drawn into ``out``.

    Args:
        bundle: folder with pgie_config.txt and what it names.
        images: files, or folders of them, each taken for one frame of the muxer.
        out: folder; files of the same names in it are replaced.

    Returns:
        ``images`` and ``sheet`` as ``trtforge.stages.detect`` has them; ``dropped``: how many
        objects nvinfer drops, by the reason; ``remarks``.

    Raises:
        ForgeError: see ``trtforge.deepstream.preview``; an image can't be read, or ``out`` can't be
            written.
    """
    named = targets(images, out)
    detector = preview.open_bundle(bundle)
    dropped: Counter[str] = Counter()

    def find(image: Image.Image) -> Objects:
        objects, reasons = detector.find(image)
        dropped.update(reasons)
        return objects

    drawn = draw_all(named, out, detector.names, find)
    remarks = [f"{count} objects not shown: {reason}" for reason, count in dropped.items()]
    return {**drawn, "dropped": dict(dropped), "remarks": remarks}
