"""`trtforge bench` by the command line, on ONNX Runtime's CPU. Times are not judged, only that they
are there.
"""

from __future__ import annotations

import csv
import os

import onnx
import pytest
from conftest import DEMO, ROOT

from tests.models import classifier

QUICK = ("--warmup", "1ms", "--duration", "1ms", "--provider", "cpu")


@pytest.fixture
def model(tmp_path):
    onnx.save(classifier(), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def test_table_json_and_csv_say_the_same(trtforge, model, tmp_path):
    run = trtforge(
        "bench",
        model,
        "--batch",
        "1,2",
        "--streams",
        "1,2",
        *QUICK,
        "--csv",
        tmp_path / "rows.csv",
        "--json",
    )
    assert run.code == 0, run.err
    rows = run.document["rows"]
    assert [(row["batch"], row["streams"]) for row in rows] == [(1, 1), (1, 2), (2, 1), (2, 2)]
    for row, cells in zip(
        rows, csv.DictReader((tmp_path / "rows.csv").read_text().splitlines()), strict=True
    ):
        figures = row["latency_ms"]
        assert (
            figures["min"]
            <= figures["median"]
            <= figures["p90"]
            <= figures["p95"]
            <= figures["p99"]
            <= figures["max"]
        )
        assert figures["passes"] >= 10 * row["streams"]
        assert float(cells["latency_p99"]) == figures["p99"]
        assert row["cameras"] == int(row["images_per_second"] // 30)


def test_a_limit_of_latency_is_a_gate(trtforge, model):
    run = trtforge("bench", model, *QUICK, "--max-latency", "0.0001ms", "--json")
    assert run.code == 4 and "over 0.0001 ms" in run.err
    assert run.document["rows"]  # measured all the same
    assert trtforge("bench", model, *QUICK, "--max-latency", "fast").code == 2


def test_the_prepared_folder_names_the_graph_that_runs(trtforge, tmp_path):
    assert trtforge("prepare", DEMO, "--fp16", "-o", tmp_path / "prepared").code == 0
    run = trtforge("bench", tmp_path / "prepared", *QUICK)
    assert run.code == 0, run.err
    assert "demo.ort.onnx in ONNX Runtime" in run.out and "30 fps" in run.out


def test_pytorch_that_is_not_installed_is_named(trtforge, model, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nsys.modules['torch'] = None  # as if it were not there\n"
    )
    run = trtforge(
        "bench",
        model,
        *QUICK,
        "--torch",
        "nomod:x",
        "--against",
        "torch",
        PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}",
    )
    assert (run.code, run.out) == (
        3,
        "",
    ) and "--torch needs torch, which this Python lacks" in run.err, run.err


def test_an_engine_without_its_gpu_is_refused(trtforge, tmp_path):
    (tmp_path / "x.engine").write_bytes(b"vtrt" + bytes(60))
    run = trtforge("bench", tmp_path / "x.engine", *QUICK)
    assert run.code == 3 and "runs only on its GPU" in run.err and "Traceback" not in run.err
