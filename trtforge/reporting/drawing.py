"""Describe the drawing of an engine's layers, which the page's script lays out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TypedDict

from trtforge.reporting.cost import edges
from trtforge.reporting.model import Layer, LayerReport, Node, labels
from trtforge.reporting.plots import css_class
from trtforge.reporting.svg import shorten

DRAWN = 400  # a larger graph is drawn when the user asks for it: the layout takes seconds
NAME, OPERATORS = 60, 44  # letters in a box
_SHORT = {"QuantizeLinear": "Q", "DequantizeLinear": "DQ"}


class Box(TypedDict):
    """The box of a layer; ``what`` are the operators in it, ``kind`` is a CSS class."""

    id: int
    name: str
    what: str
    kind: str
    role: str
    precision: str


class Drawing(TypedDict):
    """Boxes, and arrows as pairs of boxes; ``atOnce``: draw it without being asked."""

    boxes: list[Box]
    links: list[tuple[int, int]]
    atOnce: bool


def drawing(report: LayerReport) -> Drawing:
    """Return boxes and arrows for all layers except those that only wait."""
    nodes = {node.name: (index, node) for index, node in enumerate(report.nodes)}
    names = labels(report)
    boxes: list[Box] = []
    for number, layer in enumerate(report.layers):
        if layer.role != "sync":
            boxes.append(
                {
                    "id": number,
                    "name": shorten(names[number], NAME),
                    "what": _operators(layer, nodes),
                    "kind": css_class(layer.precision),
                    "role": layer.role,
                    "precision": layer.precision,
                }
            )
    drawn = {box["id"] for box in boxes}
    links = [pair for pair in edges(report.layers) if drawn.issuperset(pair)]
    return {"boxes": boxes, "links": links, "atOnce": len(boxes) <= DRAWN}


def _operators(layer: Layer, nodes: Mapping[str, tuple[int, Node]]) -> str:
    """Return the operators in a layer, in the graph's order.

    A convolution or matrix product that another layer computes is left out.
    """
    members = sorted(nodes[name][0] for name in layer.members if name in nodes)
    by_index = dict(nodes.values())
    ordered = [by_index[index] for index in members]
    computed = [node for node in ordered if layer.macs or not node.learned] or ordered
    kinds = dict.fromkeys(_SHORT.get(node.op, node.op) for node in computed)
    return shorten(" + ".join(kinds) or layer.type or "?", OPERATORS)


def json_island(document: Drawing) -> str:
    """Return JSON for a script element: no HTML parser finds the element's end in it."""
    text = json.dumps(document, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
