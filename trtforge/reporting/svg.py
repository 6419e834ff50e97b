"""Elements of SVG pictures: drawn into a page, whose style they take, or as files that bring it
with them.

Every text is escaped by ElementTree.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib import resources
from xml.etree import ElementTree as ET

LETTER = 7.0  # pixels that a letter of 12 pixels takes, about
HEADING = 10.0  # and one of a heading
NAMESPACE = "http://www.w3.org/2000/svg"
EDGE = 16.0  # pixels around what a file holds
# Characters that XML 1.0 has no way to write.
FOREIGN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def figure(title: str, width: float, height: float) -> ET.Element:
    """A picture, or a part of one.

    Args:
        title: what a screen reader says.
        width, height: in pixels.
    """
    return ET.Element(
        "svg",
        {
            "viewBox": f"0 0 {width:.0f} {height:.0f}",
            "class": "plot",
            "role": "img",
            "aria-label": title,
            "width": f"{width:.0f}",
            "height": f"{height:.0f}",
        },
    )


def add(parent: ET.Element, name: str, **attributes: float | str) -> ET.Element:
    """An element of that name; ``_`` in an attribute's stands for ``-``, ``kind`` for ``class``."""
    written = {
        "class" if key == "kind" else key.replace("_", "-"): f"{value:.2f}"
        if isinstance(value, float)
        else str(value)
        for key, value in attributes.items()
    }
    return ET.SubElement(parent, name, written)


def text(
    parent: ET.Element, x: float, y: float, words: str, anchor: str = "start", **more: float | str
) -> None:
    add(parent, "text", x=float(x), y=float(y), text_anchor=anchor, **more).text = words


def line(parent: ET.Element, x1: float, y1: float, x2: float, y2: float, kind: str) -> None:
    add(parent, "line", x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2), kind=kind)


def place(parent: ET.Element, part: ET.Element, x: float, y: float) -> None:
    """A picture into another one, at that place."""
    part.set("x", f"{x:.0f}")
    part.set("y", f"{y:.0f}")
    parent.append(part)


def inline(root: ET.Element | None) -> str:
    """For a page, whose style is its own: nothing for no picture."""
    return (
        ""
        if root is None
        else FOREIGN.sub("\N{REPLACEMENT CHARACTER}", ET.tostring(root, encoding="unicode"))
    )


def document(root: ET.Element, rules: str = "") -> str:
    """As a file, with paper and the style of both themes; a viewer that knows no themes shows the
    light one.

    Args:
        rules: CSS of its own, with the colours of ``colors.css`` as variables.
    """
    root.set("xmlns", NAMESPACE)
    style = ET.Element("style")
    style.text = _style(rules)
    root[:0] = [style, ET.Element("rect", {"width": "100%", "height": "100%", "class": "paper"})]
    return inline(root) + "\n"


def add_heading(root: ET.Element, title: str, notes: Sequence[str]) -> float:
    """What a file is about, and lines that say more; how far down they reach."""
    wide = float(root.attrib["width"]) - 2 * EDGE
    text(root, EDGE, 26, shorten(title, int(wide / HEADING)), font_size=15, font_weight=600)
    for number, note in enumerate(notes):
        text(root, EDGE, 46 + 18 * number, shorten(note, int(wide / LETTER)), kind="soft")
    return 36.0 + 18 * len(notes)


def document_with_heading(title: str, notes: Sequence[str], plot: ET.Element) -> str:
    """A plot as a file, with a heading."""
    wide, high = (float(plot.attrib[side]) for side in ("width", "height"))
    root = figure(title, wide + 2 * EDGE, high + 44 + 18 * len(notes))
    place(root, plot, EDGE, add_heading(root, title, notes))
    return document(root)


def shorten(words: str, length: int) -> str:
    """The text on one line, with its middle left out where it is longer."""
    flat = " ".join(words[: 100 * length].split()) if len(words) <= 100 * length else words
    half = (length - 1) // 2
    return flat if len(flat) <= length else f"{flat[:half]}…{flat[-half:]}"


def asset(name: str) -> str:
    """A file of this package."""
    return resources.files("trtforge.reporting").joinpath(name).read_text("utf-8")


def _style(rules: str) -> str:
    """CSS with the colours in the place of their variables, which only browsers know."""
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#\w+);", block))
        for block in re.findall(r":root \{(.*?)\}", asset("colors.css"), re.DOTALL)
    )
    wanted = asset("plot.css") + rules
    day, night = (_coloured(wanted, colors) for colors in (light, light | dark))
    return f"\n{day}@media (prefers-color-scheme: dark) {{\n{night}}}\n"


def _coloured(rules: str, colors: Mapping[str, str]) -> str:
    return re.sub(r"var\(--([\w-]+)\)", lambda found: colors[found[1]], rules)
