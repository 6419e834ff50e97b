"""What a file says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

Value_co = TypeVar("Value_co", covariant=True)
Task = Literal[
    "detect",
    "segment",
    "pose",
    "obb",
    "classify",
    "semantic",
    "embed",
    "other",
]
Color = Literal["rgb", "bgr"]
Letterbox = Literal["symmetric", "top-left", "none"]
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Entry(Generic[Value_co]):
    """A value that a file states, and the key of the metadata that holds it."""

    value: Value_co
    key: str

    @property
    def origin(self) -> str:
        """Where the value is from, in words."""
        return f"{self.key} in the file's metadata"


@dataclass(frozen=True)
class Normalization:
    """What is done to pixels, 0..255: ``scale * (pixel - offset) / std``."""

    scale: float = 1 / 255
    offsets: Triple = (0.0, 0.0, 0.0)
    std: Triple | None = None


@dataclass(frozen=True)
class Metadata:
    """What a file says of itself; None where it says nothing that is understood.

    Attributes:
        names: names of the classes, in the order of their channels.
        characters: an OCR dictionary, without the blank that CTC adds.
        size: height and width of the input in pixels.
        task: what comes out.
        batch, channels, stride: of the input; its sides are multiples of the stride.
        end2end: the outputs are final boxes.
        best_class: a box counts under its best class only.
        normalization, color, letterbox: how a picture becomes the input.
        unread: keys that should say such a thing, and hold no value that can be read.
    """

    names: Entry[tuple[str, ...]] | None = None
    characters: Entry[tuple[str, ...]] | None = None
    size: Entry[tuple[int, int]] | None = None
    task: Entry[Task] | None = None
    batch: Entry[int] | None = None
    channels: Entry[int] | None = None
    stride: Entry[int] | None = None
    end2end: Entry[bool] | None = None
    best_class: Entry[bool] | None = None
    normalization: Entry[Normalization] | None = None
    color: Entry[Color] | None = None
    letterbox: Entry[Letterbox] | None = None
    unread: tuple[str, ...] = ()


NOTHING = Metadata()
