"""Which rows a benchmark has, and what it refuses."""

from __future__ import annotations

import csv
import io

import onnx
import pytest

from tests.models import classifier
from trtforge.api import measure
from trtforge.cli.text.bench import summarize
from trtforge.errors import ForgeError, MachineError
from trtforge.stages import bench
from trtforge.timing import clocks, table
from trtforge.timing.measure import Latency
from trtforge.timing.table import Row


def row(runtime: str, median: float, transfers: bool | None = None, batch: int = 1) -> Row:
    latency = Latency(10, median, median, median, median, median, median, median)
    graph = None if transfers is None else False
    return Row(
        runtime,
        batch,
        1,
        graph,
        transfers,
        latency,
        1e3 / median,
        1,
        None,
        "clock",
        clocks.Clocks(),
    )


def timed(engine, **options):
    return measure.bench(engine, **({"warmup": "1ms", "duration": "1ms"} | options))


@pytest.fixture
def model(tmp_path):
    onnx.save(classifier(), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def test_rows_of_batches_and_streams(model) -> None:
    report = timed(model, batch="1,3", streams="1,2", provider="cpu")
    assert [(each.runtime, each.batch, each.streams) for each in report.rows] == [
        ("onnxruntime", 1, 1),
        ("onnxruntime", 1, 2),
        ("onnxruntime", 3, 1),
        ("onnxruntime", 3, 2),
    ]
    assert all(each.subject_faster == 1 and each.cuda_graph is None for each in report.rows)
    assert any("every frame of a 30 fps camera" in remark for remark in report.remarks)
    cells = list(csv.DictReader(io.StringIO(table.as_csv(report.rows))))
    assert [cell["batch"] for cell in cells] == ["1", "1", "3", "3"]
    assert float(cells[0]["latency_median"]) == report.rows[0].latency_ms.median
    assert "graph" not in summarize(report).splitlines()[2]  # no column without a GPU


def test_speed_up_is_of_the_subjects_best_row_with_equal_work() -> None:
    rows = [
        row("tensorrt", 2.0, False),
        row("tensorrt", 1.0, False),
        row("tensorrt", 1.5, True),
        row("torch", 4.0, False),
        row("torch", 6.0, True),
        row("onnxruntime", 9.0),
        row("torch", 8.0, False, batch=8),
    ]
    assert [bench._faster(each, rows, "tensorrt") for each in rows] == [
        2.0,
        1.0,
        1.0,
        4.0,
        4.0,
        9.0,
        None,
    ]


def test_throttling_and_clocks_are_remarks() -> None:
    hot = row("onnxruntime-cuda", 1.0, False)
    hot.clocks.name, hot.clocks.driver, hot.clocks.sm_mhz = "a card", "1.2", (900, 1980)
    hot.clocks.throttled.append("power cap")
    found = bench._remarks([hot])
    assert any("a card, driver 1.2, SM clock 900 to 1980 MHz" in remark for remark in found)
    assert any("throttled (power cap)" in remark for remark in found)


def test_a_fixed_batch_is_the_default_and_can_not_be_changed(tmp_path) -> None:
    model = classifier()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    onnx.save(model, tmp_path / "two.onnx")
    what = tmp_path / "two.onnx"
    assert timed(what, provider="cpu").rows[0].batch == 2
    with pytest.raises(ForgeError, match="fixed batch of 2, not 1"):
        timed(what, batch="1", provider="cpu")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"against": "torch"}, "needs the PyTorch model"),
        ({"cuda_graph": True}, "are for a GPU"),
        ({"transfers": True}, "are for a GPU"),
    ],
)
def test_options_that_contradict(model, changes, problem) -> None:
    with pytest.raises(ForgeError, match=problem):
        timed(model, **{"provider": "cpu"} | changes)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"batch": "1,x"}, "--batch 1,x"),
        ({"batch": "0"}, "not numbers of 1"),
        ({"streams": "65"}, "1 to 64"),
        ({"duration": "3"}, "--duration 3: not a time"),
        ({"against": "tensorflow"}, "not known"),
        ({"torch": "a:b"}, "--torch has no effect without"),
        ({"weights": "w.pt"}, "--weights has no effect without --torch"),
    ],
)
def test_options_that_are_wrong(model, changes, problem) -> None:
    with pytest.raises(ForgeError, match=problem):
        timed(model, **changes)


def test_an_engine_needs_its_gpu(tmp_path) -> None:
    (tmp_path / "x.engine").write_bytes(b"vtrt" + bytes(60))
    with pytest.raises(MachineError, match="runs only on its GPU"):
        timed(tmp_path / "x.engine", provider="cpu")


@pytest.mark.parametrize("name", ["none.onnx", "x.txt"])
def test_what_is_neither(tmp_path, name) -> None:
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(ForgeError, match=r"no such file|neither ONNX nor an engine"):
        bench.subject(tmp_path / name)
