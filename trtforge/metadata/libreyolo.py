"""What LibreYOLO's families take: its files name the family, and not the preprocessing.

After `libreyolo/backends/base.py` of version 1.6, which dispatches by `model_family`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trtforge.metadata.records import Color, Letterbox, Normalization

FAMILY = "model_family"
VERSION = "libreyolo_version"


@dataclass(frozen=True)
class Feed:
    """What a family's networks take."""

    normalization: Normalization
    color: Color
    letterbox: Letterbox


_IMAGENET = Normalization(1 / 255, (123.675, 116.28, 103.53), (0.229, 0.224, 0.225))
_MMDET = Normalization(
    1 / 255, (103.53, 116.28, 123.675), (57.375 / 255, 57.12 / 255, 58.395 / 255)
)
_FEEDS: Mapping[str, Feed] = {
    "yolox": Feed(Normalization(1.0), "bgr", "top-left"),
    "rtmdet": Feed(_MMDET, "bgr", "top-left"),
    "picodet": Feed(_IMAGENET, "rgb", "none"),
    "ppyoloe": Feed(_IMAGENET, "rgb", "none"),
    "efficientdet": Feed(_IMAGENET, "rgb", "top-left"),
    "yolonas": Feed(Normalization(), "rgb", "symmetric"),
    "yolo2": Feed(Normalization(), "rgb", "top-left"),
    "yolo3": Feed(Normalization(), "rgb", "top-left"),
    "yolo4": Feed(Normalization(), "rgb", "top-left"),
    "dfine": Feed(Normalization(), "rgb", "none"),
    "rtdetr": Feed(Normalization(), "rgb", "none"),
    "rfdetr": Feed(_IMAGENET, "rgb", "none"),
}


def feed(texts: Mapping[str, str]) -> Feed | None:
    """Return what the detector of a file takes; None if LibreYOLO did not write it as a detector."""
    if VERSION not in texts or texts.get("task", "detect") != "detect":
        return None
    if texts.get(FAMILY) == "yolo9":
        centred = texts.get("letterbox_pad") == "center"
        return Feed(Normalization(), "rgb", "symmetric" if centred else "top-left")
    return _FEEDS.get(texts.get(FAMILY, ""))
