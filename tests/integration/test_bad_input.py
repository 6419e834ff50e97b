"""Slightly wrong input: one clear line, the right exit code, and no output."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import DEMO, PHOTOS, ROOT
from onnx import numpy_helper


def make_external(folder: Path) -> Path:
    model = onnx.load(DEMO)
    onnx.save(model, folder / "external.onnx", save_as_external_data=True, location="external.data")
    (folder / "external.data").unlink()
    return folder / "external.onnx"


def make_nan(folder: Path) -> Path:
    model = onnx.load(DEMO)
    weights = next(tensor for tensor in model.graph.initializer if len(tensor.dims) == 4)
    values = numpy_helper.to_array(weights).copy()
    values.flat[7] = np.nan
    weights.CopyFrom(numpy_helper.from_array(values, weights.name))
    onnx.save(model, folder / "nan.onnx")
    return folder / "nan.onnx"


def write(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def folder_of(path: Path, **files: bytes) -> Path:
    path.mkdir()
    for name, content in files.items():
        (path / name.replace("_", ".")).write_bytes(content)
    return path


CASES = {
    "missing file": (2, "no such file", lambda at: ["nowhere.onnx"]),
    "not ONNX": (2, "not an ONNX model", lambda at: [write(at / "text.onnx", "hello world this is not onnx")]),
    "empty file": (2, "not an ONNX model", lambda at: [write(at / "empty.onnx", "")]),
    "truncated ONNX": (2, "cut short", lambda at: [write(at / "cut.onnx", DEMO.read_bytes()[:-5000])]),
    "missing external data": (2, "external.data", lambda at: [make_external(at)]),
    "NaN among the weights": (2, "NaN among its weights", lambda at: [make_nan(at)]),
    "empty image folder": (2, "no images", lambda at: [DEMO, "--int8", "--calib", folder_of(at / "none")]),
    "folder of text": (2, "none of them an image",
                       lambda at: [DEMO, "--int8", "--calib", folder_of(at / "text", notes_txt=b"hello")]),
    "text that is called an image": (2, "not a readable image",
                                     lambda at: [DEMO, "--int8", "--calib", folder_of(at / "fake", a_jpg=b"hello")]),
    "missing image folder": (2, "no such folder", lambda at: [DEMO, "--int8", "--calib", at / "nowhere"]),
    "unknown device": (2, "rtx-4090", lambda at: [DEMO, "--device", "rtx-4091"]),
    "device that RTX does not serve": (3, "trtforge prepare", lambda at: [DEMO, "--device", "orin-nx"]),
    "TensorRT without a GPU": (3, "prepare", lambda at: [DEMO, "--device", "l4", "--backend", "tensorrt"]),
    "unknown recipe key": (2, "bad.yaml:3: unknown key 'nms.scores' (did you mean 'score'?)",
                           lambda at: [DEMO, "--recipe", write(at / "bad.yaml", "name: x\nnms:\n  scores: 0.5\n")]),
    "unknown recipe": (2, "no recipe", lambda at: [DEMO, "--recipe", "yolov77"]),
    "INT8 without images": (2, "--calib", lambda at: [DEMO, "--int8"]),
    "two precisions": (2, "exclude", lambda at: [DEMO, "--int8", "--fp16"]),
    "size against the model": (2, "640x640", lambda at: [DEMO, "--size", "320x320"]),
    "labels that do not fit": (2, "2 labels for 10 classes",
                               lambda at: [DEMO, "--labels", write(at / "two.txt", "cat\ndog\n")]),
    "NMS that can't be": (2, "--score", lambda at: [DEMO, "--score", "1.5"]),
    "workspace that is too small": (1, "--workspace",
                                    lambda at: [DEMO, "--fp16", "--device", "l4", "--workspace", "1MiB"]),
    "unknown backend": (2, "onnxruntime", lambda at: [DEMO, "--backend", "openvino"]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_one_line_and_nothing_written(trtforge, tmp_path, case):
    code, text, arguments = CASES[case]
    out = tmp_path / "out"
    words = arguments(tmp_path)
    if "--device" not in words and "--backend" not in words:
        words += ["--backend", "onnxruntime"]
    run = trtforge("build", *words, "-o", out)
    lines = run.err.strip().splitlines()
    assert (run.code, run.out) == (code, ""), run.err
    assert text in run.err
    assert lines[0].startswith("error: ")
    assert len(lines) <= 2
    assert not out.exists()
    assert not list(tmp_path.glob("**/.trtforge-*"))


@pytest.mark.parametrize("out", ["/dev/null/out", "/proc/out"])
def test_output_that_cannot_be_written(trtforge, out):
    run = trtforge("build", DEMO, "--backend", "onnxruntime", "-o", out)
    assert run.code == 2, run.err
    assert "can't be written" in run.err


def test_output_folder_of_somebody_else_is_left_alone(trtforge, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    run = trtforge("build", DEMO, "--backend", "onnxruntime", "-o", tmp_path, "--force")
    assert run.code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_one_corrupt_image_among_good_ones_is_skipped_counted_and_reported(trtforge, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for file in sorted(PHOTOS.iterdir())[:24]:
        (photos / file.name).write_bytes(file.read_bytes())
    (photos / "broken.jpg").write_bytes(sorted(PHOTOS.iterdir())[30].read_bytes()[:2000])
    run = trtforge(
        "build",
        DEMO,
        "--int8",
        "--calib",
        photos,
        "--backend",
        "onnxruntime",
        "-o",
        tmp_path / "out",
    )
    assert run.code == 0, run.err
    assert "24 images, 1 unreadable skipped: broken.jpg" in run.out


def test_builder_names_the_node_that_it_refuses(tmp_path):
    from trtforge.backends import tensorrt_rtx
    from trtforge.errors import BuildError
    from trtforge.graph.model import graph_of, load, model_of, save
    from trtforge.graph.nms import NmsOptions, apply

    graph = graph_of(load(DEMO))
    apply(graph, "efficientnms", NmsOptions())
    save(model_of(graph), tmp_path / "plugin.onnx")
    with pytest.raises(BuildError, match=r"EfficientNMS_TRT.*Plugin not found") as caught:
        tensorrt_rtx.build(
            tmp_path / "plugin.onnx",
            sm=89,
            batch=(1, 1, 1),
            size=(640, 640),
            progress=lambda done: None,
        )
    assert "--nms" in caught.value.hint


def test_api_error_that_the_builder_only_logs_fails_the_build(tmp_path):
    from trtforge.backends import _trt, tensorrt_rtx
    from trtforge.errors import BuildError

    def configure(config):
        tensorrt_rtx.target_setter(tensorrt_rtx.module(), 89)(config)
        config.builder_optimization_level = -1  # logged as an API error, and otherwise ignored

    with pytest.raises(BuildError, match=r"(?i)optimization"):
        _trt.build(
            tensorrt_rtx.module(),
            DEMO,
            batch=(1, 1, 1),
            size=(640, 640),
            configure=configure,
            progress=lambda done: None,
        )


def test_activation_that_is_not_a_number_is_named_with_its_image(trtforge, tmp_path):
    model = onnx.load(DEMO)
    weights = next(tensor for tensor in model.graph.initializer if len(tensor.dims) == 4)
    broken = np.full(tuple(weights.dims), 3e38, np.float32)  # sums are infinite
    weights.CopyFrom(numpy_helper.from_array(broken, weights.name))
    onnx.save(model, tmp_path / "huge.onnx")
    run = trtforge(
        "build",
        tmp_path / "huge.onnx",
        "--int8",
        "--calib",
        PHOTOS,
        "--backend",
        "onnxruntime",
        "--no-check",
        "-o",
        tmp_path / "out",
    )
    assert run.code == 2
    assert "NaN" in run.err
    assert ".jpg" in run.err


@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_interrupted_run_leaves_nothing_half_written(tmp_path, sent, code):
    photos = tmp_path / "photos"
    for number in range(4):  # enough to be still at it when the signal comes
        shutil.copytree(PHOTOS, photos / str(number))
    command = [
        sys.executable,
        "-m",
        "trtforge",
        "build",
        DEMO,
        "--int8",
        "--calib",
        photos,
        "--device",
        "l4",
        "-o",
        tmp_path / "out",
    ]
    environment = {**os.environ, "TRTFORGE_STORE": str(tmp_path / "store"), "PYTHONPATH": str(ROOT)}
    # A process that a shell starts with & ignores SIGINT, and so would the child.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, before)
    store = tmp_path / "store"
    while process.poll() is None and not (
        (store / "fold").exists() and list(store.glob(".trtforge-*"))
    ):
        time.sleep(0.01)  # until fold is stored and calibration has begun
    # Wait for the imports as well: Python loses a Ctrl-C that comes while it holds their locks.
    time.sleep(1.5)
    process.send_signal(sent)
    _, error = process.communicate(timeout=60)
    assert process.returncode == code, error
    assert not (tmp_path / "out").exists()
    assert {path.name for path in store.iterdir() if not path.name.startswith(".trtforge-")} == {
        "fold"
    }
    assert "Traceback" not in error
    shutil.rmtree(photos / "1")
    shutil.rmtree(photos / "2")
    shutil.rmtree(photos / "3")
    again = subprocess.run(
        [*command, "--json"], env=environment, check=True, capture_output=True, text=True
    )
    assert '"stage": "fold", "cached": true' in again.stdout


def test_names_that_the_terminal_can_not_show(trtforge, tmp_path):
    run = trtforge(
        "fold", tmp_path / "modèle.onnx", "-o", tmp_path / "out.onnx", PYTHONIOENCODING="ascii"
    )
    assert run.code == 2 and "mod\\xe8le.onnx: no such file" in run.err, run.err
    shutil.copy(DEMO, tmp_path / "modèle.onnx")
    run = trtforge(
        "fold", tmp_path / "modèle.onnx", "-o", tmp_path / "é.onnx", PYTHONIOENCODING="ascii"
    )
    assert run.code == 0 and "Traceback" not in run.err, run.err


@pytest.mark.parametrize("words", [["--help"], ["devices", "--json"], ["devices"]])
def test_a_reader_who_goes_is_no_error(words):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "trtforge", *words],
        stdout=writer,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")
