"""On the target: commands that open engines, each in a process of its own, from start to end."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gpu.engines import NEEDS_TENSORRT, ROOT, command, draw_photos, engine_of, saved
from tests.models import yolov8_like
from trtforge.evaluate.models import open_model

pytestmark = NEEDS_TENSORRT
DEMO = ROOT / "recipes" / "demo"
QUICK = ("--duration", "50ms", "--warmup", "20ms")
LEVEL = ("--opt-level", 0)


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    return draw_photos(tmp_path_factory.mktemp("photos") / "photos")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return saved(yolov8_like(), tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def bundles(tmp_path_factory, shared_root, model, photos) -> dict[str, Path]:
    """INT8 and FP16, built by the command line."""
    made = {}
    for precision, words in (("int8", ("--int8", "--calib", photos)), ("fp16", ("--fp16",))):
        made[precision] = tmp_path_factory.mktemp("bundles") / precision
        more = ("--batch", "1:2:4", "--score", "0.05", *LEVEL, "-o", made[precision])
        document = command("build", model, *words, *more)
        assert document["outputs"][0]["check"]["images"] == 4
        assert any(run["stage"] == "check-engine" for run in document["stages"])
    return made


def test_bench_measures_every_row_and_ends(bundles):
    words = ("--batch", "1,4", "--streams", "1,2", "--transfers")
    found = command("bench", bundles["fp16"], *words, *QUICK)
    rows = [row for row in found["rows"] if row["runtime"] == "tensorrt"]
    assert len(rows) == 2 * 2 * 2 * 2  # batches, streams, with CUDA graph or not, transfers or not
    assert {row["cuda_graph"] for row in rows} == {True, False}
    assert all(row["latency_ms"]["median"] > 0 for row in rows)
    assert not any("not as a CUDA graph" in remark for remark in found["remarks"])


def test_bench_of_an_engine_alone(bundles):
    found = command("bench", engine_of(bundles["int8"]), "--no-cuda-graph", *QUICK)
    assert [row["runtime"] for row in found["rows"]] == ["tensorrt"]


def test_a_batch_that_the_engine_refuses_is_an_error_and_no_crash(bundles):
    found = command("bench", bundles["fp16"], "--batch", 64, *QUICK, codes=(2,))
    assert "takes batches of 1 to 4, not 64" in found


def test_sweep_builds_and_times_every_cell(model, tmp_path):
    words = ("--precision", "fp16", "--workspace", "16MiB,1GiB", "--opt-level", "0,1")
    found = command(
        "sweep", model, *words, "--duration", "50ms", "--pick", "latency", "-o", tmp_path / "out"
    )
    assert len(found["rows"]) == 4
    assert all(row["latency_ms"] or row["why_not"] for row in found["rows"])
    assert any(row["latency_ms"] for row in found["rows"])
    assert engine_of(tmp_path / "out" / "engine").is_file()


def test_verify_compares_an_engine_with_the_model(bundles, model, photos):
    found = command("verify", model, bundles["fp16"], "--images", photos, "--score", "0.05")
    assert found["agreement"]["both"] >= 0.95 * found["agreement"]["either"]
    command("verify", model, bundles["int8"], "--images", photos)


def test_an_engine_that_is_cut_short_is_refused_in_a_line(bundles, photos, tmp_path):
    content, engine = engine_of(bundles["fp16"]).read_bytes(), tmp_path / "cut.engine"
    engine.write_bytes(content[: len(content) // 2])
    found = command("detect", engine, photos / "0.png", "-o", tmp_path / "out", codes=(2, 3))
    assert f"{engine.name}: " in found
    assert "Traceback" not in found
    assert not (tmp_path / "out").exists()


def test_detect_draws(bundles, photos, tmp_path):
    command("detect", bundles["int8"], photos / "0.png", photos / "1.png", "-o", tmp_path / "out")
    assert (tmp_path / "out" / "sheet.jpg").is_file()


def test_report_reads_the_engine_and_diff_compares_two(bundles, tmp_path):
    graph = next(bundles["int8"].glob("*.onnx"))
    found = command(
        "report", engine_of(bundles["int8"]), "--onnx", graph, "-o", tmp_path / "report"
    )
    assert found["layers"]
    built = json.loads((bundles["int8"] / "layers.json").read_text())
    assert len(found["layers"]) == len(built["layers"])
    command("diff", bundles["fp16"], bundles["int8"])


def test_tune_finds_what_build_takes(tmp_path):
    few = tmp_path / "few"
    few.mkdir()
    for file in sorted((DEMO / "validation").glob("*.jpg"))[:8]:
        shutil.copy(file, few)
    photos, recipe = ROOT / "calibration" / "demo", tmp_path / "tuned.yaml"
    command(
        "tune", DEMO / "demo.onnx", "--calib", photos, "--images", few, "--max-drop", 90,
        "-o", recipe,
    )  # fmt: skip
    found = command(
        "build", DEMO / "demo.onnx", "--int8", "--calib", photos, "--recipe", recipe, *LEVEL,
        "-o", tmp_path / "out",
    )  # fmt: skip
    assert found["outputs"][0]["check"]["reference"] == "FP32"


def test_a_prepared_folder_is_built_and_checked_against_its_graph(model, photos, tmp_path):
    command("prepare", model, "--int8", "--calib", photos, "-o", tmp_path / "prepared")
    found = command("build", tmp_path / "prepared", *LEVEL, "-o", tmp_path / "out")
    check = found["outputs"][0]["check"]
    assert check["reference"] == "its graph in ONNX Runtime"
    assert check["drawn"]


def test_the_gate_of_build(model, tmp_path):
    words = (model, "--fp16", "--nms", "none", *LEVEL, "-o", tmp_path / "out")
    command("build", *words, "--min-cosine", "0.99")
    refused = command("build", *words, "--min-cosine", "1", codes=(4,))
    assert refused


def test_doctor_finds_this_tensorrt():
    found = command("doctor", codes=(0, 3))
    states = {(each["about"], each["state"]) for each in found["findings"]}
    assert ("tensorrt", "wrong") not in states
    assert not any(about.startswith("build") and state == "wrong" for about, state in states)


def test_polygraphy_takes_over(bundles):
    """Its own command runs and inspects what we have built."""
    engine = engine_of(bundles["fp16"])
    run = "from polygraphy.tools import main; main()"
    for words in (
        ("inspect", "model", engine, "--model-type", "engine"),
        ("run", engine, "--trt", "--model-type", "engine"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", run, *map(str, words)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def test_engines_are_opened_and_freed_again_in_one_process(bundles):
    """Memory goes back: a hundred engines need no more than one."""
    from trtforge.backends._gpu import current

    def free() -> int:
        with current() as driver:
            return int(driver.mem_get_info()[0])

    open_model(bundles["fp16"])
    before = free()
    for _ in range(20):
        open_model(bundles["fp16"])
    assert before - free() < 64 << 20
