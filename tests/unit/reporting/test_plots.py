"""Plots are well-formed SVG that says what the data says."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from trtforge.reporting import plots, svg
from trtforge.reporting.histogram_plot import histogram
from trtforge.reporting.plots import Part, Point

SVG = "{http://www.w3.org/2000/svg}"


def drawn(plot: ET.Element | None) -> ET.Element:
    """As a reader of its text finds it."""
    return ET.fromstring(svg.inline(plot))


def all_of(root: ET.Element, name: str) -> list[ET.Element]:
    return [each for each in root.iter() if each.tag.removeprefix(SVG) == name]


def test_bars_are_to_scale() -> None:
    root = drawn(
        plots.bars(
            "b",
            [
                ("one", [Part(10, "int8", "ten")], "10"),
                ("two", [Part(3, "half", ""), Part(2, "x", "")], "5"),
            ],
        )
    )
    wide, first, second = (float(each.attrib["width"]) for each in all_of(root, "rect"))
    assert wide == pytest.approx(2 * (first + second), rel=0.01)
    assert all_of(root, "title")[0].text == "ten"


@pytest.mark.parametrize("rows", [[], [("a", [], "0")], [("a", [Part(0, "x", "")], "0")]])
def test_bars_of_nothing(rows) -> None:
    drawn(plots.bars("b", rows))


@pytest.mark.parametrize(
    "name",
    ["<script>alert(1)</script>", "a & b", '"', "'", "x" * 10_000, "узел", "\x00\x1b\ud800\uffff"],
)
def test_odd_names(name: str) -> None:
    for plot in (
        plots.bars(name, [(name, [Part(1, "x", name)], name)]),
        plots.pareto(name, [Point(1, 1, "x", name, name)], name, name),
        histogram(name, [1, 2], 1.0, 0.5),
    ):
        assert "<script" not in svg.inline(plot)
        drawn(plot)


def test_scatter_leaves_out_what_a_logarithm_cannot_show() -> None:
    root = drawn(
        plots.scatter(
            "s",
            [Point(1, 10, "x", ""), Point(0, 5, "x", ""), Point(100, 1000, "x", "")],
            "x",
            "y",
            log=True,
        )
    )
    low, high = all_of(root, "circle")
    assert float(low.attrib["cx"]) < float(high.attrib["cx"])
    assert float(low.attrib["cy"]) > float(high.attrib["cy"])
    assert plots.scatter("s", [Point(0, 0, "x", "")], "x", "y", log=True) is None
    assert svg.inline(None) == ""


def test_labels_lie_on_no_other_label_and_inside() -> None:
    points = [Point(1 + number / 50, 1, "x", "", f"engine {number}") for number in range(12)]
    root = drawn(
        plots.scatter(
            "s", points, "x", "y", lines=[("a limit", "mark", [(1, 1.001), (1.2, 1.001)])]
        )
    )
    found = [
        each for each in all_of(root, "text") if (each.text or "").startswith(("engine", "a limit"))
    ]
    assert 5 < len(found) <= 13
    boxes = [
        (float(each.attrib["x"]), float(each.attrib["y"]), svg.LETTER * len(each.text or ""))
        for each in found
    ]
    assert all(x >= 0 and x + wide <= 760 and 0 < y < 340 for x, y, wide in boxes)
    for number, (x, y, wide) in enumerate(boxes):
        for other_x, other_y, other_wide in boxes[:number]:
            assert abs(y - other_y) >= 12 or x >= other_x + other_wide or other_x >= x + wide


def test_an_axis_ends_where_its_values_do() -> None:
    root = drawn(
        plots.scatter("s", [Point(60, 1, "x", ""), Point(99, 2, "x", "")], "share", "y", most=100)
    )
    assert "100" in [each.text for each in all_of(root, "text")]
    assert "110" not in [each.text for each in all_of(root, "text")]
    (alone,) = all_of(
        drawn(plots.scatter("s", [Point(100, 1, "x", "")], "share", "y", most=100)), "circle"
    )
    assert float(alone.attrib["cx"]) == pytest.approx(760 - 34)


def test_pareto_joins_those_that_none_beats() -> None:
    points = [
        Point(5, 0.89, "x", ""),
        Point(2, 0.88, "x", ""),
        Point(3, 0.80, "x", ""),
        Point(1, 0.70, "x", ""),
    ]
    root = drawn(plots.pareto("p", points, "ms", "mAP"))
    (line,) = all_of(root, "polyline")
    assert len(line.attrib["points"].split()) == 3
    assert len(all_of(root, "circle")) == 4


def test_pareto_where_more_of_both_is_better() -> None:
    points = [
        Point(5, 0.7, "x", ""),
        Point(2, 0.88, "x", ""),
        Point(3, 0.80, "x", ""),
        Point(1, 0.85, "x", ""),
    ]
    (line,) = all_of(drawn(plots.pareto("p", points, "share", "mAP", more=True)), "polyline")
    assert len(line.attrib["points"].split()) == 3
    assert not all_of(
        drawn(plots.pareto("p", [*points, Point(6, 0.9, "x", "")], "share", "mAP", more=True)),
        "polyline",
    )


def test_histogram_marks_where_int8_ends() -> None:
    root = drawn(histogram("h", [100] * 64 + [1] * 64, 8.0, 4.0))
    kinds = [each.attrib["class"] for each in all_of(root, "rect")]
    assert kinds == ["fill int8"] * 30 + ["fill other"] * 30
    (mark,) = all_of(root, "line")
    assert float(mark.attrib["x1"]) == pytest.approx(120)


@pytest.mark.parametrize(("counts", "limit"), [([], 0.0), ([0] * 9, 1.0), ([5], 1.0)])
def test_histogram_of_little(counts, limit) -> None:
    drawn(histogram("h", counts, limit, 0.5))


@pytest.mark.parametrize(
    ("text", "want"), [("abc", "abc"), ("a\n b", "a b"), ("x" * 50, "x" * 4 + "…" + "x" * 4)]
)
def test_cut(text: str, want: str) -> None:
    assert svg.shorten(text, 10) == want
