"""The page and the Markdown: everything is there, nothing breaks out."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace

import pytest

from tests.unit.reporting.rows import layer, t
from trtforge.devices import device
from trtforge.reporting import assemble
from trtforge.reporting.markdown import markdown
from trtforge.reporting.model import EngineInfo, LayerReport, Node, Remark
from trtforge.reporting.page import Candidate as Swept
from trtforge.reporting.page import Context, TensorRange, html

HOSTILE = [
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'`;--",
    "x" * 10_000,
    "<!--",
    "]]>",
    "{{ 7 * 7 }}",
    "\x00\x1f",
    "a\nb",
    "\u2028",
    "&lt;b&gt;",
    "| a | b |",
]


def report(name: str = "conv") -> LayerReport:
    layers = [
        layer(
            name,
            name,
            reads=[t("x")],
            writes=[t(name)],
            macs=100,
            precision="Half",
            type=name,
            tactic=name,
            input_bytes=9,
        ),
        layer(
            "b",
            "relu",
            reads=[t(name)],
            writes=[t("z")],
            precision="Int8",
            role="convert",
            inferred=[name],
        ),
        layer("s", type="signal", role="sync"),
    ]
    nodes = [
        Node(name=name, op=name, place="layer", learned=True),
        Node(name=f"{name}!", op="Add", place="unaccounted"),
        Node(name=f"{name}?", op="Shape", place="folded", why="shape arithmetic"),
    ]
    finding = Remark(title=name, why=name, act=name, layers=[0])
    return LayerReport(
        layers=layers,
        nodes=nodes,
        findings=[finding],
        engine=EngineInfo(backend="tensorrt-rtx", sm=89),
    )


def context(name: str = "title") -> Context:
    return Context(
        name,
        device("rtx-4090"),
        [TensorRange(name, [5, 4, 3, 2], 4.0, 2.0)],
        [Swept(name, 1.0, 0.5, "Int8"), Swept("b", 2, 0.6)],
        {
            "engines": [name, "b"],
            "metric": "mAP",
            "accuracy": [0.5, 0.4],
            "more": {"mAP50": [0.6, 0.5]},
            "drop_points": [10.0],
            "images": 5,
        },
    )


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_text(name: str) -> None:
    page = html(report(name), context(name))
    scripts = re.findall(r"<script([^>]*)>(.*?)</script>", page, re.DOTALL)
    assert [attributes for attributes, _ in scripts] == [
        ' type="application/json" id="data"',
        "",
        "",
    ]
    assert "<img" not in page
    assert "alert(1)</script>" not in page
    data = json.loads(scripts[0][1])
    assert len(data["boxes"]) == 2
    assert data["links"] == [[0, 1]]
    assert len(page) < 600_000


def test_only_our_scripts_may_run_and_nothing_is_fetched() -> None:
    page = html(report(), context())
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy
    assert policy[1].startswith("default-src 'none'")
    for _, script in re.findall(r"<script(>)(.*?)</script>", page, re.DOTALL):
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy[1]
    assert not re.findall(r'(?:src|href)="(?!#)[^"]', page)
    assert "url(" not in page.replace("url(#tip)", "")


def test_everything_is_on_the_page() -> None:
    page = html(assemble.for_device(report(), device("rtx-4090")), context())
    for text in (
        "Findings",
        "Roofline of GeForce RTX 4090",
        "not accounted for",
        "shape arithmetic",
        "mAP50",
        "Engines of the sweep",
        "Calibration",
        "MIT licence of dagre",
        "tensorrt-rtx for SM89",
    ):
        assert text in page, text
    assert page.count('<tr id="layer-') == 3


def test_sections_without_data_are_left_out() -> None:
    page = html(LayerReport(layers=[layer("a")]), Context("t"))
    assert not any(f'id="{name}"' in page for name in ("accuracy", "sweep", "calibration", "nodes"))
    assert "Nothing stands out" in page


def test_a_device_without_figures() -> None:
    bare = replace(device("rtx-4090"), bandwidth_gb_s=None, int8_tops=None, fp16_tflops=None)
    assert "Roofline" not in html(assemble.for_device(report(), bare), Context("t", bare))


def test_a_graph_of_thousands_is_drawn_on_demand_and_stays_small() -> None:
    layers = [
        layer(
            f"layer_{index}", f"node_{index}", reads=[t(f"t{index}")], writes=[t(f"t{index + 1}")]
        )
        for index in range(3000)
    ]
    page = html(LayerReport(layers=layers), Context("t"))
    assert '"atOnce":false' in page
    assert page.count('<tr id="layer-') == 3000
    assert len(page) < 4_000_000


@pytest.mark.parametrize("name", HOSTILE)
def test_markdown_keeps_its_tables(name: str) -> None:
    text = markdown(report(name), name)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {6, 7}
    outside = re.sub(r"`[^`]*`", "", text)
    assert not re.search(r"(?<!\\)<", outside)


def test_markdown_says_what_to_do() -> None:
    text = markdown(report(), "demo")
    assert "What to do: `conv`" in text
    assert "3 ONNX nodes became 2 layers" in text
    assert "- `conv!` (Add)" in text
