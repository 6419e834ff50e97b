"""Find out what the channels hold that follow a box's place and scores: masks, key points, an angle."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import onnx_graphsurgeon as gs

from trtforge.graph.detection.concrete import ConcreteGraph, trial
from trtforge.graph.detection.records import Coding
from trtforge.graph.detection.sources import Channels, ChannelSource, sources
from trtforge.graph.edit.nodes import upstream
from trtforge.graph.tensors import fixed_shape

_BOX = 4
# Places of key points against their box: a few for each level, not one for each cell.
_LEVEL_VARIETY = 64


class NamedExtra(NamedTuple):
    """The name of an extra, the outputs that belong to it, and the evidence."""

    name: str
    kept: tuple[str, ...]
    why: str


def named_extra(
    shaped: ConcreteGraph, boxes: Channels, more: Channels, coding: Coding
) -> NamedExtra | None:
    """Return what channels hold beside the boxes of the same rows; None where nothing shows it.

    Args:
        boxes: four channels of a tensor with a row for each box, on a grid.
        more: channels of the same rows, in the same tensor or another.
        coding: of the boxes.
    """
    width = more.high - more.low
    prototypes = masks(shaped, width)
    if len(prototypes) == 1:
        shown = f"{width} mask coefficients for the {width} prototypes of {prototypes[0]}"
        return NamedExtra("coefficients", prototypes, shown)
    if width == 1 and _turned(sources(*boxes), sources(*more)):
        return NamedExtra("angle", (), "boxes turned by the angle in the last channel")
    places, points = neutral_rows(shaped, boxes), neutral_rows(shaped, more)
    if places is None or points is None or len(places) != len(points):
        return None
    near, far = places[:, :2], places[:, 2:_BOX]
    centres = near if coding == "centre" else (near + far) / 2
    for step in (3, 2):
        if width % step == 0 and _on_grid(points, centres, step):
            shown = f"{width // step} key points of {step} values, on the same grid"
            return NamedExtra("keypoints", (), shown)
    return None


def masks(shaped: ConcreteGraph, width: int | None) -> tuple[str, ...]:
    """Return the outputs `(B, width, H, W)` that may be prototypes of masks."""
    return tuple(
        output.name
        for output in shaped.outputs(4)
        if fixed_shape(output)[1] == width and min(fixed_shape(output)[2:]) > 1
    )


def neutral_rows(shaped: ConcreteGraph, rows: Channels) -> np.ndarray | None:
    """Return the first image's rows `(N, channels)` when all heads give zeros."""
    value = trial(shaped, rows.tensor)
    if value is None:
        return None
    found: np.ndarray = np.moveaxis(value[0], rows.axis - 1, -1)[..., rows.low : rows.high]
    return found.reshape(-1, rows.high - rows.low)


def _turned(boxes: list[ChannelSource], angle: list[ChannelSource]) -> bool:
    """Tell whether the boxes' places depend on the cosine of the angle."""
    angles = {id(source.node) for source in angle}
    before = {id(node) for source in angle for node in upstream(source.node.outputs[0])}
    turns: list[gs.Node] = [
        node
        for source in boxes
        for node in (source.node, *upstream(source.node.outputs[0]))
        if node.op in {"Cos", "Sin"}
    ]
    # Cos reads the channel itself, past a Concat of levels, or what the channel is computed from.
    return any(
        any(id(producer) in before for producer in node.inputs[0].inputs)
        or any(id(producer) in angles for producer in upstream(node.inputs[0]))
        for node in turns
    )


def _on_grid(points: np.ndarray, centres: np.ndarray, step: int) -> bool:
    """Tell whether x and y of every point move with their box when all heads give zeros."""
    for axis in (0, 1):
        apart = points[:, axis::step] - centres[:, axis : axis + 1]
        moves = points[:, axis::step].max(0) - points[:, axis::step].min(0)
        if (
            len(np.unique(np.round(apart, 2))) > _LEVEL_VARIETY
            or (moves < 2 * np.ptp(apart, 0)).any()
        ):
            return False
    return True
