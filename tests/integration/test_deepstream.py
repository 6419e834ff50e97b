"""``trtforge deepstream`` by the command line, and what DeepStream's stock parser makes of the demo
detector.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import DEMO, LABELS, PHOTOS
from onnx import TensorProto, helper

from trtforge.evaluate.detections import finder
from trtforge.evaluate.models import open_model
from trtforge.recipe import Nms, Preprocess


@pytest.fixture(scope="session")
def bundle(trtforge, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("deepstream") / "prepared"
    run = trtforge(
        "prepare", DEMO, "--labels", LABELS, "--batch", "4", "--nms-impl", "onnx", "-o", out
    )
    assert run.code == 0, run.err
    return out


def stock_parser(
    outputs: dict[str, np.ndarray], size: tuple[int, int], thresholds: list[float]
) -> list[tuple[float, ...]]:
    """NvDsInferParseCustomTfSSD on the tensors of one frame, by its rules.

    Tensors are found by name among the float32 ones. Every row is looked at, unless num_detections
    is float32 too. Rows of an unknown class, or under the threshold of theirs, are left out. Boxes
    y1, x1, y2, x2 are shares of the input, and clipped to 0..W-1 and 0..H-1; empty ones are left
    out. Each object is left, top, width, height, confidence, class.
    """
    floats = {name: array for name, array in outputs.items() if array.dtype == np.float32}
    scores, classes, boxes = (
        floats[f"detection_{name}"] for name in ("scores", "classes", "boxes")
    )
    rows = len(classes)
    if "num_detections" in floats:
        rows = min(rows, max(0, int(floats["num_detections"].ravel()[0])))
    objects = []
    for score, label, (top, left, bottom, right) in zip(
        scores[:rows], classes[:rows], boxes[:rows], strict=True
    ):
        number = int(label)
        if not 0 <= number < len(thresholds) or score < thresholds[number]:
            continue
        (y1, y2), (x1, x2) = (
            np.clip(np.float32(pair) * np.float32(side), 0, side - 1)
            for pair, side in (((top, bottom), size[0]), ((left, right), size[1]))
        )
        if x2 > x1 and y2 > y1:
            objects.append((x1, y1, x2 - x1, y2 - y1, score, number))
    return objects


@pytest.mark.parametrize("batch", [1, 4])
def test_the_stock_parser_finds_the_boxes_that_verify_finds(bundle, batch):
    from trtforge.backends.onnxruntime import run, session
    from trtforge.calibration.images import list_images, prepare

    nms = Nms(score=0.25)
    reference = open_model(DEMO)
    find = finder(reference, nms)
    images = [prepare(path, Preprocess(), reference.size) for path in list_images(PHOTOS)[:8]]
    ready = session((bundle / "demo.onnx").read_bytes())
    height, width = reference.size
    objects = 0
    for start in range(0, len(images), batch):
        found = run(ready, np.concatenate(images[start : start + batch]))
        assert found["detection_classes"].dtype == np.float32
        for index in range(batch):
            one = {name: array[index] for name, array in found.items()}
            parsed = np.array(stock_parser(one, reference.size, [nms.score] * 10)).reshape(-1, 6)
            boxes, scores, classes = find(reference.infer(images[start + index]))
            limit = [width - 1, height - 1, width - 1, height - 1]
            corners = np.clip(boxes, 0, limit)
            want = np.column_stack(
                [corners[:, :2], corners[:, 2:] - corners[:, :2], scores, classes]
            )
            assert len(parsed) == len(want)
            assert np.allclose(parsed[:, :4], want[:, :4], atol=0.05)  # of a pixel
            assert np.allclose(parsed[:, 4:], want[:, 4:], atol=1e-4)
            objects += len(parsed)
    assert objects >= 8  # every photograph of the demo holds some


def test_a_prepared_folder_is_right_for_lint(trtforge, bundle):
    run = trtforge("deepstream", "lint", bundle / "deepstream_app.txt", bundle / "pgie_config.yml")
    assert (run.code, run.out.strip()) == (0, "3 files: nothing found")


def classifier(path: Path) -> Path:
    steps = [
        ("GlobalAveragePool", "image", "pooled"),
        ("Flatten", "pooled", "flat"),
        ("Softmax", "flat", "colors"),
    ]
    nodes = [helper.make_node(op, [given], [made]) for op, given, made in steps]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 64, 64])],
        [helper.make_tensor_value_info("colors", TensorProto.FLOAT, ["n", 3])],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path
    )
    return path


def test_a_pipeline_with_two_networks(trtforge, bundle, tmp_path):
    """Primary, secondary and pipeline, written one by one; nothing to find in any of them."""
    cameras = tmp_path / "cameras.txt"
    cameras.write_text("rtsp://admin:hunter2@10.0.0.7/live\nfile:///data/gate.mp4\n")
    out = tmp_path / "pipeline"
    first = trtforge("deepstream", "config", bundle, "-o", out, "--threshold", "0=0.5", "--json")
    assert first.code == 0, first.err
    assert first.document["network"] == "detector"
    names = tmp_path / "colors.txt"
    names.write_text("red\ngreen\nblue\n")
    second = trtforge(
        "deepstream",
        "config",
        classifier(tmp_path / "colors.onnx"),
        "--sgie",
        "--on-classes",
        "0,2",
        "--batch",
        "16",
        "--labels",
        names,
        "-o",
        out,
    )
    assert second.code == 0, second.err
    assert (out / "sgie_labels.txt").read_text() == "red;green;blue\n"
    app = out / "deepstream_app.txt"
    third = trtforge(
        "deepstream",
        "app",
        out / "pgie_config.txt",
        "--sgie",
        out / "sgie_config.txt",
        "--streams",
        cameras,
        "--tracker",
        "nvdcf-perf",
        "--sink",
        "rtsp",
        "-o",
        app,
    )
    assert third.code == 0, third.err
    checked = trtforge(
        "deepstream",
        "lint",
        app,
        out / "pgie_config.yml",
        out / "sgie_config.yml",
        "--format",
        "json",
    )
    assert (checked.code, checked.document["findings"]) == (0, [])
    assert "hunter2" in app.read_text()
    assert app.stat().st_mode & 0o077 == 0
    assert not any("hunter2" in run.out + run.err for run in (first, second, third, checked))


def test_a_prepared_classifier_is_a_classifier(trtforge, tmp_path):
    names = tmp_path / "colors.txt"
    names.write_text("red\ngreen\nblue\n")
    out = tmp_path / "out"
    run = trtforge(
        "prepare",
        classifier(tmp_path / "colors.onnx"),
        "--labels",
        names,
        "--batch",
        "8",
        "-o",
        out,
    )
    assert run.code == 0, run.err
    assert (out / "labels.txt").read_text() == "red;green;blue\n"
    assert "network-type=1\n" in (out / "pgie_config.txt").read_text()
    checked = trtforge("deepstream", "lint", out / "deepstream_app.txt", out / "pgie_config.yml")
    assert checked.out.strip() == "3 files: nothing found"


def test_lint_fails_on_errors_and_corrects_them(trtforge, bundle, tmp_path):
    out = tmp_path / "pipeline"
    assert trtforge("deepstream", "config", bundle, "-o", out).code == 0
    path = out / "pgie_config.txt"
    wrong = (
        path.read_text()
        .replace("infer-dims=3;", "infer-dims=3,")
        .replace("process-mode", "process_mode")
    )
    path.write_text(f"; remarks\n{wrong}")
    run = trtforge("deepstream", "lint", path, "--format", "sarif")
    assert run.code == 4
    assert {result["ruleId"] for result in run.document["runs"][0]["results"]} >= {
        "semicolon-comment",
        "comma-list",
    }
    assert "error: 2 errors in 1 file" in run.err
    assert trtforge("deepstream", "lint", path, "--fix").code == 0
    assert trtforge("deepstream", "lint", path).out.strip() == "1 file: nothing found"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["config", "none.onnx", "-o", "out"], "none.onnx"),
        (["config", DEMO, "-o", "out"], "none of DeepStream's parsers"),
        (["config", DEMO, "-o", "out", "--on-classes", "1"], "--sgie"),
        (["app", "none.txt"], "none.txt"),
        (["lint", "none.txt"], "none.txt"),
        (["lint", DEMO], "not a configuration"),
        (
            ["config", DEMO, "-o", "out", "--sgie", "--on-gie", "2", "--unique-id", "2"],
            "--on-gie 2",
        ),
        (["app", "none.txt", "--port", "99999"], "--port 99999"),
        (["config", DEMO, "-o", "out", "--tensor-meta", "--network", "detector"], "--tensor-meta"),
    ],
)
def test_what_the_user_got_wrong_is_one_line(trtforge, tmp_path, words, why):
    run = trtforge("deepstream", *words, cwd=tmp_path)
    assert run.code == 2
    assert why in run.err
    assert len(run.err.strip().splitlines()) <= 2
    assert not list(tmp_path.iterdir())


def test_an_input_is_not_replaced_by_force(trtforge, bundle, tmp_path):
    cameras = tmp_path / "cameras.txt"
    cameras.write_text("rtsp://u:hunter2@h/a\n")
    assert trtforge("deepstream", "config", bundle, "-o", tmp_path).code == 0
    network = tmp_path / "pgie_config.txt"
    before = network.read_bytes()
    for out in (cameras, network):
        run = trtforge("deepstream", "app", network, "--streams", cameras, "-o", out, "--force")
        assert (run.code, str(out) in run.err, "hunter2" in run.err) == (2, True, False)
    assert (cameras.read_text(), network.read_bytes()) == ("rtsp://u:hunter2@h/a\n", before)


def test_files_of_the_user_are_not_replaced(trtforge, bundle, tmp_path):
    (tmp_path / "pgie_config.txt").write_text("mine\n")
    run = trtforge("deepstream", "config", bundle, "-o", tmp_path)
    assert (run.code, [path.name for path in tmp_path.iterdir()]) == (2, ["pgie_config.txt"])
    assert trtforge("deepstream", "config", bundle, "-o", bundle).code == 2
    listed = sorted(bundle.rglob("*"))
    assert trtforge("deepstream", "triton", bundle, "-o", bundle).code == 2
    assert sorted(bundle.rglob("*")) == listed
    assert trtforge("deepstream", "config", bundle, "-o", tmp_path, "--force").code == 0
    assert (
        json.loads(trtforge("deepstream", "config", bundle, "-o", tmp_path, "--json").out)["batch"]
        == 4
    )
