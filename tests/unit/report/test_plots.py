"""Plots are well-formed SVG that says what the data says."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from trtforge.report import plots
from trtforge.report.plots import Part, Point

SVG = "{http://www.w3.org/2000/svg}"


def drawn(text: str) -> ET.Element:
    return ET.fromstring(text)


def all_of(root: ET.Element, name: str) -> list[ET.Element]:
    return [each for each in root.iter() if each.tag.removeprefix(SVG) == name]


def test_bars_are_to_scale() -> None:
    root = drawn(
        plots.bars(
            "b", [("one", [Part(10, "int8", "ten")], "10"), ("two", [Part(3, "half", ""), Part(2, "x", "")], "5")]
        )
    )
    wide, first, second = (float(each.attrib["width"]) for each in all_of(root, "rect"))
    assert wide == pytest.approx(2 * (first + second), rel=0.01)
    assert all_of(root, "title")[0].text == "ten"


@pytest.mark.parametrize("rows", [[], [("a", [], "0")], [("a", [Part(0, "x", "")], "0")]])
def test_bars_of_nothing(rows) -> None:
    drawn(plots.bars("b", rows))


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "a & b", '"', "'", "x" * 10_000, "узел"])
def test_odd_names(name: str) -> None:
    text = plots.bars(name, [(name, [Part(1, "x", name)], name)]) + plots.pareto(
        name, [Point(1, 1, "x", name, name)], name, name
    )
    assert "<script" not in text
    drawn(f"<g>{text}</g>")


def test_scatter_leaves_out_what_a_logarithm_cannot_show() -> None:
    root = drawn(
        plots.scatter("s", [Point(1, 10, "x", ""), Point(0, 5, "x", ""), Point(100, 1000, "x", "")], "x", "y", log=True)
    )
    low, high = all_of(root, "circle")
    assert float(low.attrib["cx"]) < float(high.attrib["cx"])
    assert float(low.attrib["cy"]) > float(high.attrib["cy"])
    assert plots.scatter("s", [Point(0, 0, "x", "")], "x", "y", log=True) == ""


def test_pareto_joins_those_that_none_beats() -> None:
    points = [Point(5, 0.89, "x", ""), Point(2, 0.88, "x", ""), Point(3, 0.80, "x", ""), Point(1, 0.70, "x", "")]
    root = drawn(plots.pareto("p", points, "ms", "mAP"))
    (line,) = all_of(root, "polyline")
    assert len(line.attrib["points"].split()) == 3
    assert len(all_of(root, "circle")) == 4


def test_histogram_marks_where_int8_ends() -> None:
    root = drawn(plots.histogram("h", [100] * 64 + [1] * 64, 8.0, 4.0))
    kinds = [each.attrib["class"] for each in all_of(root, "rect")]
    assert kinds == ["fill int8"] * 30 + ["fill other"] * 30
    (mark,) = all_of(root, "line")
    assert float(mark.attrib["x1"]) == pytest.approx(120)


@pytest.mark.parametrize(("counts", "limit"), [([], 0.0), ([0] * 9, 1.0), ([5], 1.0)])
def test_histogram_of_little(counts, limit) -> None:
    drawn(plots.histogram("h", counts, limit, 0.5))


@pytest.mark.parametrize(("text", "want"), [("abc", "abc"), ("a\n b", "a b"), ("x" * 50, "x" * 4 + "…" + "x" * 4)])
def test_cut(text: str, want: str) -> None:
    assert plots.cut(text, 10) == want
