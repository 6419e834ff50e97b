"""Take the recipe's value, or what the graph shows where the recipe says ``auto``."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from trtforge.graph.detection.records import Activation, Background, Extra, Geometry
from trtforge.graph.detection.sources import ChannelSource, operations
from trtforge.graph.tensors import fixed_shape
from trtforge.recipe import Decode


def geometry(decode: Decode, seen: Geometry | None, default: Geometry) -> Geometry:
    """Return the recipe's geometry, else what a trial of the decode showed, else the form's own."""
    auto = seen or default
    return Geometry(
        auto.coding if decode.coding == "auto" else decode.coding,
        auto.unit if decode.unit == "auto" else decode.unit,
        auto.order if decode.order == "auto" else decode.order,
    )


def activation(
    decode: Decode, scores: list[ChannelSource], otherwise: Activation = "none"
) -> Activation:
    """Return what the scores still need: nothing behind a Sigmoid, a Softmax or a product."""
    if decode.activation != "auto":
        return decode.activation
    return (
        "none" if operations(scores) & {"Sigmoid", "Softmax", "Mul", "HardSigmoid"} else otherwise
    )


def foreground(decode: Decode, channels: int | None) -> int:
    """Return the number of classes among the channels of the scores."""
    return (channels or 0) - (decode.background != "none")


def background(decode: Decode) -> Background | None:
    """Return the place of the background class; None where the recipe has none."""
    return None if decode.background == "none" else decode.background


def extras(decode: Decode, low: int, output: int = 0) -> tuple[Extra, ...]:
    """Return the recipe's extras, one behind the other from channel `low` on."""
    found = []
    for name, width in decode.extra.items():
        found.append(Extra(name, output, low, low + width))
        low += width
    return tuple(found)


def shown(tensor: gs.Tensor) -> str:
    """Return the tensor's shape as text, with B for the batch."""
    return "[B, " + ", ".join(map(str, fixed_shape(tensor)[1:])) + "]"


def count(number: int, noun: str) -> str:
    """Return the number with its noun in singular or plural."""
    plural = {"class": "classes", "box": "boxes"}.get(noun, f"{noun}s")
    return f"{number} {noun if number == 1 else plural}"
