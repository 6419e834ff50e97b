"""Make SVG pictures: inside a page, whose style they take, or as files with their own style.

ElementTree escapes every text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib import resources
from xml.etree import ElementTree as ET

# SVG has no way to measure text without a browser, so its width is estimated.
LETTER = 7.0  # pixels: average width of a letter at a font size of 12 pixels
HEADING = 10.0  # pixels: average width of a letter of a heading
NAMESPACE = "http://www.w3.org/2000/svg"
EDGE = 16.0  # pixels around the contents of a file
# Characters that XML 1.0 can't contain.
FOREIGN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def figure(title: str, width: float, height: float) -> ET.Element:
    """Return an empty picture, or an empty part of one.

    Args:
        title: text for screen readers.
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
    """Add an element.

    Args:
        attributes: ``_`` in a name stands for ``-``, and ``kind`` for ``class``.
    """
    texts: dict[str, str] = {}
    for key, value in attributes.items():
        attribute = "class" if key == "kind" else key.replace("_", "-")
        texts[attribute] = f"{value:.2f}" if isinstance(value, float) else str(value)
    return ET.SubElement(parent, name, texts)


def text(
    parent: ET.Element, x: float, y: float, words: str, anchor: str = "start", **more: float | str
) -> None:
    """Add a text at a position in pixels."""
    add(parent, "text", x=float(x), y=float(y), text_anchor=anchor, **more).text = words


def line(parent: ET.Element, x1: float, y1: float, x2: float, y2: float, kind: str) -> None:
    """Add a line between two positions in pixels."""
    add(parent, "line", x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2), kind=kind)


def place(parent: ET.Element, part: ET.Element, x: float, y: float) -> None:
    """Put a picture into another picture, at a position in pixels."""
    part.set("x", f"{x:.0f}")
    part.set("y", f"{y:.0f}")
    parent.append(part)


def inline(root: ET.Element | None) -> str:
    """Return a picture's text for a page, which has the style; empty without a picture."""
    if root is None:
        return ""
    return FOREIGN.sub("\N{REPLACEMENT CHARACTER}", ET.tostring(root, encoding="unicode"))


def document(root: ET.Element, rules: str = "") -> str:
    """Return a picture as a file, with background and the style of both themes.

    A viewer without themes shows the light theme.

    Args:
        rules: further CSS, with the colours of ``colors.css`` as variables.
    """
    root.set("xmlns", NAMESPACE)
    style = ET.Element("style")
    style.text = _style(rules)
    root[:0] = [style, ET.Element("rect", {"width": "100%", "height": "100%", "class": "paper"})]
    return inline(root) + "\n"


def add_heading(root: ET.Element, title: str, notes: Sequence[str]) -> float:
    """Add a heading and lines with notes, and return how far down they reach, in pixels."""
    width = float(root.attrib["width"]) - 2 * EDGE
    text(root, EDGE, 26, shorten(title, int(width / HEADING)), font_size=15, font_weight=600)
    for number, note in enumerate(notes):
        text(root, EDGE, 46 + 18 * number, shorten(note, int(width / LETTER)), kind="soft")
    return 36.0 + 18 * len(notes)


def document_with_heading(title: str, notes: Sequence[str], plot: ET.Element) -> str:
    """Return a plot as a file with a heading and lines with notes."""
    width, height = (float(plot.attrib[side]) for side in ("width", "height"))
    root = figure(title, width + 2 * EDGE, height + 44 + 18 * len(notes))
    place(root, plot, EDGE, add_heading(root, title, notes))
    return document(root)


def shorten(words: str, length: int) -> str:
    """Return the text on one line; a longer text loses its middle."""
    flat = " ".join(words[: 100 * length].split()) if len(words) <= 100 * length else words
    half = (length - 1) // 2
    return flat if len(flat) <= length else f"{flat[:half]}…{flat[-half:]}"


def asset(name: str) -> str:
    """Return the text of a file of this package."""
    return resources.files("trtforge.reporting").joinpath(name).read_text("utf-8")


def _style(rules: str) -> str:
    """Return the CSS of both themes, with colours in the place of their variables.

    Viewers of SVG files other than browsers don't know CSS variables.
    """
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#\w+);", block))
        for block in re.findall(r":root \{(.*?)\}", asset("colors.css"), re.DOTALL)
    )
    rules = asset("plot.css") + rules
    day, night = (_coloured(rules, colors) for colors in (light, light | dark))
    return f"\n{day}@media (prefers-color-scheme: dark) {{\n{night}}}\n"


def _coloured(rules: str, colors: Mapping[str, str]) -> str:
    return re.sub(r"var\(--([\w-]+)\)", lambda match: colors[match[1]], rules)
