"""A sweep of the demo by the command line, with the real builder: the threshold, the store, the
picture, the pick.
"""

from __future__ import annotations

import csv
import json
import shutil
from xml.etree import ElementTree as ET

import pytest
from conftest import DEMO

SWEEP = (
    "sweep",
    DEMO,
    "--workspace",
    "1MiB,64MiB,256MiB",
    "--precision",
    "fp16",
    "--opt-level",
    "3,5",
    "--device",
    "rtx-4090",
    "--pick",
    "memory",
    "--json",
)


@pytest.fixture(scope="module")
def swept(trtforge, tmp_path_factory):
    out = tmp_path_factory.mktemp("sweep")
    run = trtforge(*SWEEP, "-o", out)
    assert run.code == 0, run.err
    return out, run.document


def test_a_small_workspace_fails_and_is_a_row(swept):
    _, found = swept
    assert [bool(row["why_not"]) for row in found["rows"]] == [True, False, False]
    assert "workspace" in found["rows"][0]["why_not"]
    assert any("1MiB is too small, 64MiB is enough" in remark for remark in found["remarks"])


def test_more_workspace_changes_scratch_memory(swept):
    small, large = swept[1]["rows"][1:]
    assert small["scratch_bytes"] != large["scratch_bytes"]
    assert small["digest"] != large["digest"] and small["engine_bytes"] > 10**6


def test_levels_that_the_builder_ignores_are_said(swept):
    assert any("ignores --opt-level" in remark for remark in swept[1]["remarks"])


def test_files_and_the_pick(swept):
    out, found = swept
    assert {path.name for path in out.iterdir()} == {
        "sweep.json",
        "sweep.csv",
        "sweep.svg",
        "engine",
    }
    assert json.loads((out / "sweep.json").read_text()) == found
    assert [
        row["number"] for row in csv.DictReader((out / "sweep.csv").read_text().splitlines())
    ] == ["1", "2", "3"]
    assert ET.parse(out / "sweep.svg").getroot().tag.endswith("svg")
    built = [row for row in found["rows"] if not row["why_not"]]
    least = min(built, key=lambda row: row["engine_bytes"] + row["activation_bytes"])
    manifest = json.loads((out / "engine" / "manifest.json").read_text())
    assert manifest["files"]["demo.rtx.engine"]["sha256"] == least["digest"]


def test_nothing_is_built_twice_and_a_failure_is_never_stored(trtforge, store, swept, tmp_path):
    _, before = swept
    entries = sorted(path.name for path in (store / "build-tensorrt-rtx").iterdir())
    again = trtforge(*SWEEP, "-o", tmp_path)
    assert again.code == 0, again.err
    assert [row["cached"] for row in again.document["rows"]] == [False, True, True]
    assert sorted(path.name for path in (store / "build-tensorrt-rtx").iterdir()) == entries
    for one, other in zip(before["rows"], again.document["rows"], strict=True):
        assert one["build_seconds"] == other["build_seconds"]  # when it was built


def test_onnxruntime_is_timed_and_the_time_is_kept(trtforge, tmp_path):
    words = (
        "sweep",
        DEMO,
        "--backend",
        "onnxruntime",
        "--precision",
        "fp32",
        "--workspace",
        "1MiB,2MiB",
        "--duration",
        "1ms",
        "--pick",
        "latency",
        "--json",
    )
    one, two = (trtforge(*words, "-o", tmp_path / name) for name in ("one", "two"))
    assert (one.code, two.code) == (0, 0), one.err + two.err
    (row,) = one.document["rows"]
    assert row["latency_ms"] > 0 and row["images_per_second"] > 0
    assert two.document["rows"][0]["latency_ms"] == row["latency_ms"]
    assert any("ignores --workspace" in remark for remark in one.document["remarks"])
    assert (tmp_path / "one" / "engine" / "demo.ort.onnx").is_file()


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--precision", "fp64"), "--precision fp64"),
        (("--workspace", "much"), "not an amount of memory"),
        (("--images", "x"), "both --images and --labels"),
        (("--opt-level", "9"), "0 to 5"),
        (("--precision", "fp8", "--device", "rtx-3090"), "no FP8 kernels"),
        (("--pick", "luck"), "--pick luck"),
    ],
)
def test_bad_options_are_one_line(trtforge, tmp_path, words, problem):
    run = trtforge("sweep", DEMO, "--device", "rtx-4090", "-o", tmp_path / "o", *words)
    assert run.code == 2 and problem in run.err and "Traceback" not in run.err
    assert not (tmp_path / "o").exists()


def test_a_folder_that_cannot_be_used_is_refused_before_the_first_build(trtforge, tmp_path):
    (tmp_path / "file").write_text("mine")
    foreign = tmp_path / "out" / "engine"
    foreign.mkdir(parents=True)
    (foreign / "mine").write_text("mine")
    for out, problem in ((tmp_path / "file", "is a file"), (tmp_path / "out", "holds other files")):
        run = trtforge(*SWEEP, "-o", out, TRTFORGE_STORE=str(tmp_path / "store"))
        assert run.code == 2 and problem in run.err, run.err
    assert not (tmp_path / "store").exists()


def test_accuracy_of_each_precision_and_what_it_loses(trtforge, store, tmp_path):
    validation = DEMO.parent / "validation"
    content = json.loads((validation / "labels.json").read_text())
    content["images"] = content["images"][:4]
    ids = {entry["id"] for entry in content["images"]}
    content["annotations"] = [entry for entry in content["annotations"] if entry["image_id"] in ids]
    (tmp_path / "images").mkdir()
    for entry in content["images"]:
        shutil.copy(validation / entry["file_name"], tmp_path / "images")
    (tmp_path / "labels.json").write_text(json.dumps(content))
    words = (
        "sweep",
        DEMO,
        "--precision",
        "fp32,fp16",
        "--device",
        "rtx-4090",
        "--images",
        tmp_path / "images",
        "--labels",
        tmp_path / "labels.json",
        "--json",
    )
    run = trtforge(*words, "-o", tmp_path / "out")
    assert run.code == 0, run.err
    full, half = run.document["rows"]
    assert run.document["metric"] == "mAP50-95"
    assert full["lost"] == 0 and full["accuracy"] > 0.7
    assert half["accuracy"] == pytest.approx(full["accuracy"] - half["lost"] / 100)
    assert len(list((store / "accuracy").iterdir())) == 2
    assert (
        trtforge(*words, "-o", tmp_path / "again").document["rows"][1]["accuracy"]
        == half["accuracy"]
    )
    assert len(list((store / "accuracy").iterdir())) == 2
