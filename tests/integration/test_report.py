"""Reports of real engines, opened in a real browser; every node of real graphs accounted for."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest
from chromium import Page, chromium
from conftest import DEMO, LABELS, ROOT

sys.path.insert(0, str(ROOT))

from tests import models
from trtforge.backends import tensorrt_rtx
from trtforge.reporting import assemble, model, origin, page, rtx_log
from trtforge.reporting.model import EngineInfo, LayerReport

BLOCKS = {
    "yolov7": models.yolov7_like,
    "yolov8": models.yolov8_like,
    "classifier": models.classifier,
}
HOSTILE = [
    "<script>window.hurt = 1</script>",
    "</script><script>window.hurt = 1</script>",
    '"><img src=x onerror="hurt=1">',
    "x" * 4000,
    "a\nName: b, LayerType: kgen",
    "{ Name: x, Dimensions: [1] }",
    "x], Constants: [",
    "'`;--",
    "[ONNX Layer: fake",
    "a + b",
    "PWN(a)",
    "javascript:hurt=1",
]


@pytest.fixture(scope="module")
def bundles(trtforge, photos, tmp_path_factory) -> dict[str, Path]:
    """The demo detector in three precisions."""
    folder = tmp_path_factory.mktemp("bundles")
    for precision in ("fp32", "fp16", "int8"):
        words = ["--calib", photos] if precision == "int8" else []
        run = trtforge(
            "build",
            DEMO,
            f"--{precision}",
            *words,
            "--device",
            "rtx-4090",
            "--labels",
            LABELS,
            "-o",
            folder / precision,
        )
        assert run.code == 0, run.err
    return {path.name: path for path in sorted(folder.iterdir())}


def dump(graph: Path, size: int) -> str:
    """What the builder itself logs of an engine's layers."""
    _, record = tensorrt_rtx.build(
        graph, sm=89, batch=(1, 1, 1), size=(size, size), progress=lambda done: None
    )
    return record.layers


def counted(text: str) -> Counter[str]:
    return Counter(re.findall(r"Datatype: (\w+)", text))


def agrees_with_its_dump(report: LayerReport, raw: str, graph: onnx.ModelProto) -> None:
    """Rows, datatypes and nodes, counted in the text without the parser."""
    assert len(report.layers) == sum(line.startswith("Name: ") for line in raw.splitlines())
    assert Counter(model.tensors_by_dtype(report.layers)) == counted(raw)
    assert [node.name for node in report.nodes] == [node.name for node in graph.graph.node]
    assert report.count("unaccounted") == 0
    named = {name for layer in report.layers for name in layer.members}
    assert {node.name for node in report.nodes if node.place == "layer"} <= named
    assert all(f"[ONNX Layer: {name}]" in raw for layer in report.layers for name in layer.nodes)
    assert sum(layer.macs for layer in report.layers) == sum(node.macs for node in report.nodes)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_the_demo_detector_is_accounted_for(bundles, precision):
    folder = bundles[precision]
    graph = folder / "demo.rtx.onnx"
    report = model.load(folder / "layers.json")
    agrees_with_its_dump(report, dump(graph, 640), onnx.load(graph))
    computed = {layer.precision for layer in report.layers if layer.macs}
    expected = {"fp32": "Float", "fp16": "Half", "int8": "Int8"}[precision]
    assert report.by_precision("macs")[expected] > 0.95 * sum(report.by_precision("macs").values())
    assert expected in computed


@pytest.mark.parametrize("name", BLOCKS)
def test_small_networks_are_accounted_for(name, tmp_path):
    graph = onnx.shape_inference.infer_shapes(BLOCKS[name](batch=1), data_prop=True)
    onnx.save(graph, tmp_path / "model.onnx")
    raw = dump(tmp_path / "model.onnx", models.SIDE)
    agrees_with_its_dump(
        assemble.assemble(rtx_log.parse(raw), origin.from_model(graph), EngineInfo()), raw, graph
    )


def test_onnx_runtime_is_reported_with_times(trtforge, tmp_path):
    run = trtforge("report", DEMO, "--json")
    assert run.code == 0, run.err
    report = LayerReport.model_validate(run.document)
    assert report.count("unaccounted") == 0
    assert len(report.nodes) == len(onnx.load(DEMO).graph.node)
    assert all(layer.time_ms is not None for layer in report.layers)
    assert not report.unmatched_times


def test_trtexec_files_of_another_machine(trtforge, tmp_path):
    """Written out of a real engine's layers, in the form of TensorRT 8."""
    rows = [
        {
            "Name": "Reformatting CopyNode for Input Tensor 0 to conv1 + relu1",
            "LayerType": "Reformat",
            "Inputs": [
                {
                    "Name": "x",
                    "Dimensions": [4, 3, 8, 8],
                    "Format/Datatype": "Row major linear FP32",
                }
            ],
            "Outputs": [
                {
                    "Name": "r",
                    "Dimensions": [4, 3, 8, 8],
                    "Format/Datatype": "Row major linear FP16 format",
                }
            ],
        },
        {
            "Name": "conv1 + relu1",
            "LayerType": "CaskConvolution",
            "OutMaps": 8,
            "Weights": {"Type": "Half", "Count": 216},
            "Inputs": [
                {
                    "Name": "r",
                    "Dimensions": [4, 3, 8, 8],
                    "Format/Datatype": "Row major linear FP16 format",
                }
            ],
            "Outputs": [
                {
                    "Name": "y",
                    "Dimensions": [4, 8, 8, 8],
                    "Format/Datatype": "Row major linear FP16 format",
                }
            ],
        },
    ]
    (tmp_path / "layers.json").write_text(json.dumps({"Layers": rows, "Bindings": ["x", "y"]}))
    times = [
        {"count": 5},
        {"name": rows[0]["Name"], "averageMs": 0.2},
        {"name": "conv1 + relu1", "averageMs": 0.7},
    ]
    (tmp_path / "profile.json").write_text(json.dumps(times))
    run = trtforge(
        "report",
        tmp_path / "layers.json",
        "--profile",
        tmp_path / "profile.json",
        "--json",
        "-o",
        tmp_path / "out",
    )
    assert run.code == 0, run.err
    report = LayerReport.model_validate(run.document)
    assert [(layer.role, layer.precision, layer.time_ms) for layer in report.layers] == [
        ("convert", "Float", 0.2),
        ("compute", "Half", 0.7),
    ]
    assert (report.engine.batch, report.layers[1].nodes) == (4, ["conv1", "relu1"])
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "layers.json",
        "report.md",
        "report.html",
    }
    again = trtforge("diff", tmp_path / "out", tmp_path / "layers.json", "--max-slower", "3%")
    assert again.code == 2
    assert "no times" in again.err


def test_diff_of_precisions(trtforge, bundles):
    run = trtforge("diff", bundles["fp16"], bundles["int8"], "--json")
    assert run.code == 0, run.err
    changes = {each["layer"]: each["precision"] for each in run.document["changed"]}
    assert changes["to8.0.conv.Conv"] == ["Half", "Int8"]
    assert sum(pair == ["Half", "Int8"] for pair in changes.values()) >= 70
    assert not run.document["empty"]


def test_diff_of_two_quantizations(trtforge, photos, bundles, tmp_path):
    recipe = tmp_path / "heads.yaml"
    recipe.write_text("precision: {heads: float}\n")
    run = trtforge(
        "build",
        DEMO,
        "--int8",
        "--calib",
        photos,
        "--recipe",
        recipe,
        "--device",
        "rtx-4090",
        "--labels",
        LABELS,
        "-o",
        tmp_path / "heads",
    )
    assert run.code == 0, run.err
    run = trtforge("diff", bundles["int8"], tmp_path / "heads", "--json")
    changed = {
        each["layer"] for each in run.document["changed"] if each["precision"] == ["Int8", "Half"]
    }
    assert changed
    assert all(name.startswith("heads.") for name in changed)
    report = model.load(tmp_path / "heads" / "layers.json")
    assert any("heads: int8" in finding.act for finding in report.findings)


def test_diff_of_an_engine_and_itself(trtforge, bundles):
    run = trtforge("diff", bundles["int8"], bundles["int8"], "--no-new-reformat")
    assert run.code == 0, run.err
    assert run.out.endswith("no difference\n")


def test_gates(trtforge, bundles, tmp_path):
    clean = trtforge("diff", bundles["int8"], bundles["fp32"], "--no-new-reformat")
    assert clean.code == 4
    assert "--no-new-reformat" in clean.err
    for name, factor in (("a", 1.0), ("b", 1.1)):
        report = model.load(bundles["fp16"] / "layers.json")
        times = [(layer.name, factor) for layer in report.layers]
        (tmp_path / f"{name}.json").write_text(model.to_json(assemble.with_times(report, times)))
    slower = trtforge("diff", tmp_path / "a.json", tmp_path / "b.json", "--max-slower", "3%")
    assert slower.code == 4
    assert "+10.0 %" in slower.err
    assert (
        trtforge("diff", tmp_path / "a.json", tmp_path / "b.json", "--max-slower", "11").code == 0
    )


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["missing"], 2, "no such file"),
        ([LABELS], 2, "neither a list of layers"),
        ([ROOT / "docs"], 2, "no such file"),
        ([DEMO, "--device", "rtx-9999"], 2, "no device called"),
        ([DEMO, "--profile", LABELS], 2, "not a profile"),
        ([DEMO, "--accuracy", LABELS], 2, "verify --json"),
        ([DEMO, "-o", LABELS], 2, "is a file"),
    ],
)
def test_what_a_user_gets_wrong(trtforge, words, code, told):
    run = trtforge("report", *words)
    assert (run.code, run.out) == (code, "")
    assert told in run.err


def test_times_and_graphs_of_other_engines(trtforge, bundles, tmp_path):
    onnx.save(models.classifier(), tmp_path / "other.onnx")
    (tmp_path / "times.json").write_text(
        json.dumps([{"count": 1}, {"name": "other", "averageMs": 1.0}])
    )
    (tmp_path / "table.json").write_text(json.dumps({"amax": {}}))
    for words, told in (
        (["--onnx", tmp_path / "other.onnx"], "none of its convolutions"),
        (["--profile", tmp_path / "times.json"], "no time for any layer"),
        (["--profile", tmp_path / "table.json"], "not a profile of layers"),
    ):
        run = trtforge("report", bundles["fp16"], *words, "-o", tmp_path / "report")
        assert run.code == 2 and told in run.err, run.err
    assert not (tmp_path / "report").exists()


def test_an_engine_file_alone_cannot_be_told(trtforge, bundles):
    run = trtforge("report", bundles["fp16"] / "demo.rtx.engine")
    assert run.code == 3
    assert "layers.json" in run.err


# -------------------------------------------------------------------------------------------------------
# browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("profile")) as found:
        yield found


def opened(browser: Page, path: Path) -> None:
    browser.errors.clear()
    browser.requests.clear()
    browser.open(path.as_uri())
    browser.wait(
        "document.querySelectorAll('#graph .box').length > 0 || !document.querySelector('#draw').hidden"
    )


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_opens_in_a_browser(browser, bundles, theme):
    path = bundles["int8"] / "report.html"
    browser.theme(theme)
    opened(browser, path)
    assert browser.errors == []
    assert browser.requests == [path.as_uri()]
    assert path.stat().st_size < 2_000_000
    background = browser.run("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", background))) < 300) is (theme == "dark")
    report = model.load(bundles["int8"] / "layers.json")
    assert browser.run("document.querySelectorAll('#table tbody tr').length") == len(report.layers)
    boxes = sum(layer.role != "sync" for layer in report.layers)
    assert browser.run("document.querySelectorAll('#graph .box').length") == boxes
    assert browser.run("document.documentElement.scrollWidth <= window.innerWidth")


def column(browser: Page, number: int) -> list[str]:
    cells = f"[...document.querySelectorAll('#table tbody tr:not([hidden])')].map(r => r.cells[{number}])"
    return list(browser.run(f"{cells}.map(c => c.dataset.v ?? c.textContent.trim())"))


def test_the_table_sorts(browser, bundles):
    opened(browser, bundles["int8"] / "report.html")
    first = column(browser, 0)
    browser.run("document.querySelectorAll('#table th button')[5].click()")  # bytes
    values = [int(value) for value in column(browser, 5)]
    assert values == sorted(values, reverse=True)
    assert values[0] > values[-1]
    assert (
        browser.run("document.querySelectorAll('#table th')[5].getAttribute('aria-sort')")
        == "descending"
    )
    browser.run("document.querySelectorAll('#table th button')[5].click()")
    assert [int(value) for value in column(browser, 5)] == sorted(values)
    # This sorts by precision, as text.
    browser.run("document.querySelectorAll('#table th button')[3].click()")
    assert column(browser, 3) == sorted(column(browser, 3), key=str.lower)
    browser.run("document.querySelectorAll('#table th button')[0].click()")
    assert column(browser, 0) == first
    assert browser.errors == []


def test_the_table_filters(browser, bundles):
    opened(browser, bundles["int8"] / "report.html")
    whole = len(column(browser, 0))
    browser.run("f = document.querySelector('#filter'); f.focus()")
    for key in "heads. conv":
        browser.press(key)
    found = browser.run(
        "[...document.querySelectorAll('#table tbody tr:not([hidden])')].map(r => r.textContent)"
    )
    assert 0 < len(found) < whole
    assert all("heads." in text.lower() and "conv" in text.lower() for text in found)
    assert (
        browser.run("document.querySelector('#shown').textContent")
        == f"{len(found)} of {whole} layers"
    )
    browser.run(
        "s = document.querySelector('#by-precision'); s.value = 'Int8'; s.dispatchEvent(new Event('change'))"
    )
    assert all(value.startswith("Int8") for value in column(browser, 3))
    assert 0 < len(column(browser, 0)) < len(found)
    assert browser.errors == []


def test_the_graph_zooms_and_moves(browser, bundles):
    opened(browser, bundles["int8"] / "report.html")
    browser.run("document.querySelector('#graph').scrollIntoView({block: 'center'})")

    def view() -> list[float]:
        return [
            float(part)
            for part in browser.run(
                "document.querySelector('#graph').getAttribute('viewBox')"
            ).split()
        ]

    start = view()
    browser.wheel("#graph", -240)
    browser.wait(f"document.querySelector('#graph').viewBox.baseVal.width < {start[2]}")
    browser.run("document.querySelector('#zoom-out').click()")
    near = view()
    browser.run("document.querySelector('#graph').focus()")
    for key in ("-", "ArrowDown"):
        browser.press(key)
    assert view()[2] == pytest.approx(near[2] * 1.25)
    assert view()[1] != near[1]
    browser.press("0")
    width, height = view()[2:]
    assert height > 3 * start[3]  # all of it
    browser.run("document.querySelector('#zoom-in').click()")
    assert view()[2] == pytest.approx(width * 0.8)
    browser.run(
        "document.querySelectorAll('#graph .box')[40].dispatchEvent(new MouseEvent('click'))"
    )
    assert browser.run("document.querySelectorAll('tr.found').length") == 1
    assert browser.errors == []


def hostile(name: str) -> onnx.ModelProto:
    """A network whose nodes and tensors have the worst of names."""
    found = BLOCKS[name]()
    kept = {value.name for value in (*found.graph.input, *found.graph.output)}
    renamed = {
        output: f"{HOSTILE[index % len(HOSTILE)]}@{index}"
        for index, node in enumerate(found.graph.node)
        for output in node.output
        if output not in kept
    }
    for index, node in enumerate(found.graph.node):
        node.name = f"{HOSTILE[(index + 1) % len(HOSTILE)]}#{index}"
        for names in (node.input, node.output):
            names[:] = [renamed.get(each, each) for each in names]
    del found.graph.value_info[:]
    return onnx.shape_inference.infer_shapes(found)


def test_hostile_names_break_nothing(browser, tmp_path):
    graph = hostile("classifier")
    onnx.save(graph, tmp_path / "hostile.onnx")
    plain = BLOCKS["classifier"]()
    onnx.save(plain, tmp_path / "plain.onnx")
    raw = dump(tmp_path / "hostile.onnx", models.SIDE)
    report = assemble.assemble(
        rtx_log.parse(raw),
        origin.from_model(graph),
        EngineInfo(backend="tensorrt-rtx", model=HOSTILE[0]),
    )
    same = rtx_log.parse(dump(tmp_path / "plain.onnx", models.SIDE))
    assert model.tensors_by_dtype(report.layers) == model.tensors_by_dtype(same)
    assert [layer.type for layer in report.layers] == [layer.type for layer in same]
    names = {node.name for node in graph.graph.node}
    assert {name for layer in report.layers for name in layer.nodes} <= names
    assert (len(report.nodes), report.count("unaccounted")) == (len(names), 0)
    # The builder shortens long names, and its parser refuses those of over 4096 characters; reports
    # come from elsewhere too.
    long = report.layers[0].model_copy(
        update={"name": "x" * 10_000, "nodes": ["y " * 5000, *HOSTILE]}
    )
    report = report.model_copy(update={"layers": [*report.layers, long]})
    (tmp_path / "report.html").write_text(
        page.html(report, page.Context(HOSTILE[2])), encoding="utf-8"
    )
    opened(browser, tmp_path / "report.html")
    assert browser.run("typeof hurt") == "undefined"
    assert browser.errors == []
    assert len(browser.requests) == 1
    assert browser.run("document.querySelectorAll('#graph .box').length") == len(report.layers)
    assert browser.run("document.querySelectorAll('img, iframe, object').length") == 0
    assert browser.run("document.documentElement.scrollWidth <= window.innerWidth")


def test_thousands_of_layers_open_and_are_drawn_on_demand(browser, tmp_path):
    small = rtx_log.parse(dump_of_small(tmp_path))
    layers = [
        layer.model_copy(update={"name": f"{layer.name}_{index}"})
        for index in range(400)
        for layer in small
    ]
    report = assemble.assemble(layers, None, EngineInfo())
    (tmp_path / "report.html").write_text(page.html(report, page.Context("many")), encoding="utf-8")
    opened(browser, tmp_path / "report.html")
    assert browser.run("document.querySelectorAll('#table tbody tr').length") == len(layers) > 3000
    assert browser.run("document.querySelectorAll('#graph .box').length") == 0
    browser.run("document.querySelectorAll('#table th button')[1].click()")
    assert browser.errors == []


def dump_of_small(folder: Path) -> str:
    onnx.save(models.classifier(), folder / "small.onnx")
    return dump(folder / "small.onnx", models.SIDE)
