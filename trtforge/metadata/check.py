"""Hold what a file says of itself against its graph."""

from __future__ import annotations

from collections.abc import Iterator

from trtforge.metadata.records import Entry, Metadata

Dims = tuple[int | str, ...]
DETECTORS = ("detect", "segment", "pose", "obb")


def contradictions(
    stated: Metadata, image: Dims | None, size: tuple[int, int] | None, form: str | None
) -> list[str]:
    """Return what the graph denies, a line each.

    Args:
        image: the input of the original graph, (batch, channels, height, width); None where it has
            none.
        size: height and width that the graph is built with; None without an image input.
        form: of the detector's outputs; None where none is recognised.
    """
    unread = [
        f"{key} in the file's metadata can't be read, and is not used" for key in stated.unread
    ]
    return [*unread, *_of_input(stated, image, size), *_of_outputs(stated, form)]


def _of_input(stated: Metadata, image: Dims | None, size: tuple[int, int] | None) -> Iterator[str]:
    if image is None or size is None:
        return
    batch, channels = image[:2]
    if stated.size and stated.size.value != size:
        fixed = any(isinstance(side, int) for side in image[2:])
        yield _line(
            stated.size,
            _sides(stated.size.value),
            f"the input {'has' if fixed else 'gets'}",
            _sides(size),
        )
    if stated.channels and isinstance(channels, int) and channels != stated.channels.value:
        yield _line(stated.channels, stated.channels.value, "the input has", channels)
    if stated.batch and isinstance(batch, int) and batch != stated.batch.value:
        yield _line(stated.batch, stated.batch.value, "the input has", batch)
    stride = stated.stride
    if stride and any(side % stride.value for side in size):
        yield f"{_sides(size)} is no multiple of {stride.value}, the {stride.origin}"


def _of_outputs(stated: Metadata, form: str | None) -> Iterator[str]:
    task = stated.task
    if task and task.value not in DETECTORS and form:
        yield _line(task, task.value, "the outputs are a detector's:", form)
    if stated.end2end and stated.end2end.value and form not in (None, "ranked"):
        yield _line(stated.end2end, stated.end2end.value, "the outputs are of form", form)


def _line(entry: Entry[object], value: object, verb: str, found: object) -> str:
    return f"{entry.origin} says {value}, and {verb} {found}"


def _sides(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
