"""Pictures of what DeepStream will show with a bundle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from trtforge.deepstream import preview
from trtforge.evaluate.detections import Objects
from trtforge.stages.detect import Detections, draw_all, targets

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class Preview(Detections):
    """Results that nvinfer would attach to several frames.

    Attributes:
        dropped: number of objects that nvinfer drops, by the reason.
    """

    dropped: Mapping[str, int] = field(default_factory=dict)

    def document(self) -> dict[str, object]:
        """Return the JSON document."""
        document = super().document()
        return {
            "images": document["images"],
            "sheet": self.sheet,
            "dropped": dict(self.dropped),
            "remarks": list(self.remarks),
        }


def run(bundle: Path, images: Sequence[Path], out: Path) -> Preview:
    """Write each image with the objects that nvinfer would attach to it drawn into ``out``.

    Args:
        bundle: folder with pgie_config.txt and the files that it names.
        images: files, or folders of them; each is taken for one frame of the muxer.
        out: folder; files of the same names in it are replaced.

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

    def remarks() -> tuple[str, ...]:
        return tuple(f"{count} objects not shown: {reason}" for reason, count in dropped.items())

    drawn = draw_all(named, out, detector.names, find, remarks)
    return Preview(drawn.pictures, drawn.sheet, drawn.remarks, dict(dropped))
