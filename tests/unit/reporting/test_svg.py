"""A picture as a file: whole XML with its own style, in colours that any viewer knows."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

from trtforge.reporting import svg

SVG = f"{{{svg.NAMESPACE}}}"


def picture() -> ET.Element:
    root = svg.figure("a plot", 300, 100)
    svg.line(root, 0, 0, 10, 10, "grid")
    return root


def test_a_file_has_both_themes_and_no_variables() -> None:
    root = ET.fromstring(svg.document(picture(), ".mine { fill: var(--accent) }"))
    assert [each.tag for each in root] == [f"{SVG}style", f"{SVG}rect", f"{SVG}line"]
    style = str(root[0].text)
    day, night = style.split("@media (prefers-color-scheme: dark)")
    assert "var(" not in style
    colors = [re.search(r"\.mine { fill: (#\w+) }", part) for part in (day, night)]
    assert all(colors) and colors[0] != colors[1]
    assert style.count("{") == style.count("}")


def test_the_page_takes_its_colours_from_the_same_file() -> None:
    """Every variable that plots and pages use has a colour, in both themes or for both."""
    known = set(re.findall(r"--([\w-]+):", svg.asset("colors.css")))
    assert (
        set(re.findall(r"var\(--([\w-]+)\)", svg.asset("plot.css") + svg.asset("page.css")))
        <= known
    )


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "x" * 10_000, "a\nb\x00", "&]]>", "\ud800", ""]
)
def test_a_heading_of_any_words(name: str) -> None:
    root = ET.fromstring(svg.document_with_heading(name, [name, "one more"], picture()).encode())
    words = [str(each.text or "") for each in root.iter(f"{SVG}text")]
    assert len(words) == 3
    assert max(map(len, words)) <= 300 / svg.LETTER
    assert not list(root.iter(f"{SVG}script"))
    (inner,) = root.findall(f"{SVG}svg")
    top, high = float(inner.attrib["y"]), float(inner.attrib["height"])
    assert top > 64
    assert top + high <= float(root.attrib["height"])
