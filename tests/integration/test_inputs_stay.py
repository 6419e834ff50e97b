"""What a command reads is never what it writes; what is not there is never taken for something
else.
"""

from __future__ import annotations

import shutil

import onnx
import pytest
from conftest import DEMO, ROOT

FLEET = ROOT / "recipes" / "demo" / "fleet.yaml"


@pytest.mark.parametrize(
    "words",
    [
        ["calibrate", "m.onnx", "--calib", "photos", "-o", "table.json", "--cache", "m.onnx"],
        ["calibrate", "m.onnx", "--calib", "photos", "-o", "photos/a.jpg"],
        ["bench", "m.onnx", "--csv", "m.onnx"],
        ["tune", "m.onnx", "--calib", "photos", "-o", "m.onnx"],
        ["matrix", "fleet.yaml", "--format", "github", "-o", "fleet.yaml"],
        ["fold", "m.onnx", "-o", "m.onnx"],
    ],
)
def test_an_input_is_never_written_over(trtforge, photos, tmp_path, words):
    shutil.copy(DEMO, tmp_path / "m.onnx")
    shutil.copy(FLEET, tmp_path / "fleet.yaml")
    (tmp_path / "photos").mkdir()
    for file in photos.iterdir():
        shutil.copy(file, tmp_path / "photos")
    shutil.copy(min(photos.iterdir()), tmp_path / "photos" / "a.jpg")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    run = trtforge(*words, cwd=tmp_path)
    assert (run.code, run.out) == (2, ""), run.err
    assert "is the input itself" in run.err or "is one of the images" in run.err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("words", [["--calib", ""], ["--calib="], ["--recipe", ""]])
def test_an_unset_variable_is_refused(trtforge, tmp_path, words):
    run = trtforge("build", DEMO, "--int8", *words, "-o", tmp_path / "out", cwd=tmp_path)
    assert (run.code, run.out) == (2, "")
    assert f"{words[0].rstrip('=')} has no value" in run.err


def test_nms_that_is_in_the_model(trtforge, tmp_path):
    """The demo's opset is raised around the plugin, which is put back; it can't be kept while
    others run the rest.
    """
    assert trtforge("patch", DEMO, "--nms", "efficientnms", "-o", tmp_path / "own.onnx").code == 0
    run = trtforge(
        "build",
        tmp_path / "own.onnx",
        "--nms",
        "keep",
        "--backend",
        "onnxruntime",
        "-o",
        tmp_path / "out",
    )
    assert run.code == 2 and "EfficientNMS_TRT" in run.err and not (tmp_path / "out").exists()
    again = trtforge(
        "build", tmp_path / "own.onnx", "--backend", "onnxruntime", "-o", tmp_path / "out"
    )
    assert again.code == 0 and "was cut away and is put back" in again.out, again.err
    model = onnx.load(tmp_path / "out" / "own.onnx")
    assert [node.domain for node in model.graph.node if node.op_type == "EfficientNMS_TRT"] == [""]
    assert [entry.domain for entry in model.opset_import] == [""]
