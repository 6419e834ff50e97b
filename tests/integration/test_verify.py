"""Accuracy as the command line measures it, on the trained detector."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import DEMO, LABELS, PHOTOS, ROOT
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

VALIDATION = ROOT / "recipes" / "demo" / "validation"
COUNT = 40


@pytest.fixture(scope="session")
def scenes(tmp_path_factory) -> Path:
    """The first validation images and their labels."""
    folder = tmp_path_factory.mktemp("scenes")
    content = json.loads((VALIDATION / "labels.json").read_text())
    content["images"] = content["images"][:COUNT]
    ids = {entry["id"] for entry in content["images"]}
    content["annotations"] = [entry for entry in content["annotations"] if entry["image_id"] in ids]
    for entry in content["images"]:
        shutil.copy(VALIDATION / entry["file_name"], folder)
    (folder / "labels.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="session")
def prepared(trtforge, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("prepared")
    for precision, more in (("fp16", []), ("int8", ["--calib", PHOTOS])):
        run = trtforge(
            "prepare", DEMO, f"--{precision}", *more, "--labels", LABELS, "-o", folder / precision
        )
        assert run.code == 0, run.err
    return {name: folder / name for name in ("fp16", "int8")}


def test_map_agrees_with_an_independent_evaluation(trtforge, scenes):
    run = trtforge("verify", DEMO, "--images", scenes, "--labels", scenes / "labels.json", "--json")
    assert run.code == 0, run.err
    command = [sys.executable, ROOT / "recipes" / "demo" / "evaluate.py", DEMO, scenes]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert run.document["accuracy"][0] == pytest.approx(float(said[1]), abs=0.002)
    assert run.document["more"]["mAP50"][0] == pytest.approx(float(said[3]), abs=0.002)


def test_fp16_and_int8_keep_their_accuracy(trtforge, scenes, prepared):
    run = trtforge(
        "verify",
        DEMO,
        prepared["fp16"],
        prepared["int8"],
        "--images",
        scenes,
        "--labels",
        scenes / "labels.json",
        "--json",
    )
    assert run.code == 0, run.err
    fp16, int8 = run.document["drop_points"]
    assert abs(fp16) <= 0.1
    assert int8 <= 2.0  # 0.9 on 300 scenes; 40 scatter more


def test_outputs_are_compared_with_boxes_and_scores_apart(trtforge, scenes, prepared):
    run = trtforge("verify", DEMO, prepared["int8"], "--images", scenes, "--json")
    assert run.code == 0, run.err
    outputs = run.document["outputs"]
    assert set(outputs) == {"output0: boxes", "output0: scores"}
    assert outputs["output0: scores"]["pearson"] > 0.93
    agreement = run.document["agreement"]
    assert agreement["both"] / agreement["either"] > 0.9


def test_the_forms_with_tensorrts_plugin_have_the_same_map(trtforge, scenes, tmp_path):
    files = []
    for form in ("onnx", "deepstream", "efficientnms"):
        files.append(tmp_path / f"{form}.onnx")
        assert trtforge("patch", DEMO, "--nms", form, "-o", files[-1]).code == 0
    assert any(node.op_type == "EfficientNMS_TRT" for node in onnx.load(files[1]).graph.node)
    run = trtforge(
        "verify", *files, "--images", scenes, "--labels", scenes / "labels.json", "--json"
    )
    assert run.code == 0, run.err
    accuracy = run.document["accuracy"]
    assert accuracy[0] > 0.8
    assert accuracy[1:] == pytest.approx([accuracy[0]] * 2, abs=1e-6)
    assert sum("run as ONNX's own operators" in remark for remark in run.document["remarks"]) == 2
    pair = trtforge("verify", *files[:2], "--images", scenes, "--json").document
    assert pair["agreement"]["both"] == pair["agreement"]["either"] > 0
    assert pair["outputs"]["detection_boxes"]["cosine"] > 0.99999
    images = sorted(scenes.glob("*.jpg"))[:2]
    found = [
        trtforge("detect", path, *images, "-o", tmp_path / path.stem, "--json").document["images"]
        for path in files[:2]
    ]
    assert [row["objects"] for row in found[0]] == [row["objects"] for row in found[1]]
    assert found[0][0]["objects"]


def test_engine_of_onnxruntime_is_held_to_its_own_thresholds(trtforge, scenes, tmp_path):
    assert trtforge("build", DEMO, "--backend", "onnxruntime", "-o", tmp_path / "out").code == 0
    run = trtforge(
        "verify",
        DEMO,
        tmp_path / "out",
        "--images",
        scenes,
        "--labels",
        scenes / "labels.json",
        "--json",
    )
    assert run.code == 0, run.err
    assert run.document["accuracy"][0] == pytest.approx(run.document["accuracy"][1], abs=1e-6)
    assert "0.25" in " ".join(run.document["remarks"])


@pytest.mark.parametrize(
    ("gate", "words"),
    [
        (["--min-map", "0.99"], "under 0.99"),
        (["--max-drop", "0"], "drops by"),
        (["--min-cosine", "0.999999"], "cosine"),
    ],
)
def test_gates_that_are_not_met(trtforge, scenes, prepared, gate, words):
    run = trtforge(
        "verify",
        DEMO,
        prepared["int8"],
        "--images",
        scenes,
        "--labels",
        scenes / "labels.json",
        *gate,
    )
    assert run.code == 4
    assert words in run.err
    assert "mAP50-95" in run.out


def refuse(word: str) -> None:
    raise AssertionError(f"{word} is no JSON")


def test_an_engine_that_computes_nan_meets_no_gate(trtforge, tmp_path):
    onnx.save(tiny(2), tmp_path / "tiny.onnx")
    broken = tiny(2)
    broken.graph.initializer[1].CopyFrom(
        numpy_helper.from_array(np.array([0, np.nan], np.float32), "b")
    )
    onnx.save(broken, tmp_path / "nan.onnx")
    (tmp_path / "images").mkdir()
    Image.new("RGB", (32, 32), (255,) * 3).save(tmp_path / "images" / "a.png")
    (tmp_path / "labels.csv").write_text("a.png,1")
    words = [
        "verify",
        tmp_path / "tiny.onnx",
        tmp_path / "nan.onnx",
        "--images",
        tmp_path / "images",
    ]
    run = trtforge(*words, "--labels", tmp_path / "labels.csv", "--json", "--max-drop", "100")
    assert run.code == 4 and "output 'z' is NaN on a.png" in run.err
    document = json.loads(run.out, parse_constant=refuse)
    assert document["accuracy"] == [1.0, 0.0] and document["outputs"]["z"]["cosine"] is None
    run = trtforge(*words, "--min-cosine", "0", "--json")
    assert run.code == 4 and json.loads(run.out, parse_constant=refuse)


@pytest.mark.parametrize(
    "gate",
    [["--min-cosine", "nan"], ["--max-drop", "-5"], ["--min-map", "0.5"], ["--max-drop", "1"]],
)
def test_gates_that_can_not_be_are_refused_before_the_work(trtforge, scenes, tmp_path, gate):
    shutil.copy(scenes / "validation-00000.jpg", tmp_path)
    (tmp_path / "validation-00001.jpg").write_text("no image: would be refused if it were read")
    run = trtforge("verify", DEMO, "--images", tmp_path, *gate)
    assert (run.code, run.out) == (2, "") and gate[0] in run.err, run.err


def test_worst_layer_is_the_one_that_was_spoilt(trtforge, scenes, prepared, tmp_path):
    graph = onnx.load(prepared["int8"] / "demo.rtx.onnx")
    weights = {tensor.name for tensor in graph.graph.initializer}
    quantizers = [node for node in graph.graph.node if node.op_type == "QuantizeLinear"]
    spoilt = [node for node in quantizers if node.input[0] not in weights][40]
    scale = next(tensor for tensor in graph.graph.initializer if tensor.name == spoilt.input[1])
    scale.CopyFrom(
        numpy_helper.from_array((numpy_helper.to_array(scale) * 30).astype(np.float16), scale.name)
    )
    onnx.save(graph, tmp_path / "spoilt.onnx")
    readers = [
        node.name for node in graph.graph.node if spoilt.input[0] + ".dequantized" in node.input
    ]
    run = trtforge("verify", DEMO, tmp_path / "spoilt.onnx", "--images", scenes, "--find-worst")
    assert run.code == 0, run.err
    assert any(f"most noise is added at {reader}:" in run.out for reader in readers), (
        readers,
        run.out,
    )
    layers = trtforge(
        "verify", DEMO, tmp_path / "spoilt.onnx", "--images", scenes, "--per-layer", "--json"
    ).document
    assert len(layers["layers"]) > 150


@pytest.mark.parametrize(
    "case",
    [
        "labels of other images",
        "unlabelled image",
        "other classes",
        "no labels file",
        "not JSON",
        "corrupt image",
        "one name for two",
    ],
)
def test_wrong_labels(trtforge, scenes, tmp_path, case):
    folder = tmp_path / "images"
    shutil.copytree(scenes, folder)
    labels = folder / "labels.json"
    content = json.loads(labels.read_text())
    words = {
        "labels of other images": "labels of other images",
        "unlabelled image": "no labels for",
        "other classes": "11 categories, but the model has 10 classes",
        "no labels file": "no such file",
        "not JSON": "not JSON",
        "corrupt image": "validation-00000.jpg",
        "one name for two": "2 images are called validation-00001.jpg",
    }[case]
    if case == "labels of other images":
        content["images"] = [
            {**entry, "file_name": "x" + entry["file_name"]} for entry in content["images"]
        ]
    elif case == "unlabelled image":
        content["images"] = content["images"][1:]
    elif case == "other classes":
        content["categories"].append({"id": 99, "name": "ghost"})
    labels.write_text("{" if case == "not JSON" else json.dumps(content))
    if case == "no labels file":
        labels.unlink()
    if case == "corrupt image":
        (folder / "validation-00000.jpg").write_bytes(b"nothing")
    if case == "one name for two":
        (folder / "other").mkdir()
        shutil.copy(folder / "validation-00000.jpg", folder / "other" / "validation-00001.jpg")
    run = trtforge("verify", DEMO, "--images", folder, "--labels", labels)
    assert (run.code, run.out) == (2, ""), run.err
    assert words in run.err
    assert len(run.err.splitlines()) <= 2


def test_engines_that_do_not_fit_each_other(trtforge, scenes, tmp_path):
    onnx.save(tiny(classes=5), tmp_path / "tiny.onnx")
    run = trtforge("verify", DEMO, tmp_path / "tiny.onnx", "--images", scenes)
    assert run.code == 2
    assert "640x640" in run.err
    assert trtforge("verify", tmp_path / "gone.onnx", "--images", scenes).code == 2


def test_rtx_engine_says_what_it_needs(trtforge, scenes, tmp_path):
    assert (
        trtforge("build", DEMO, "--fp16", "--device", "rtx-4090", "-o", tmp_path / "out").code == 0
    )
    run = trtforge("verify", tmp_path / "out" / "demo.rtx.engine", "--images", scenes)
    assert run.code == 3
    assert ".rtx.onnx" in run.err


def tiny(classes: int, pool: bool = True) -> onnx.ModelProto:
    """The last class is what is brighter than grey, the first what is darker."""
    slopes = np.linspace(-8, 8, classes, dtype=np.float32)
    weights = slopes[:, None, None, None] * np.ones((1, 3, 1, 1), np.float32) / 3
    bias = -slopes / 2
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["y"], "conv")]
    dims = ["n", classes, 32, 32]
    if pool:
        nodes += [helper.make_node("ReduceMean", ["y"], ["z"], "mean", axes=[2, 3], keepdims=0)]
        dims = ["n", classes]
    outputs = [helper.make_tensor_value_info("z" if pool else "y", TensorProto.FLOAT, dims)]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 32, 32])]
    graph = helper.make_graph(
        nodes,
        "tiny",
        inputs,
        outputs,
        [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(bias, "b")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def test_classifier_by_folders_and_by_csv(trtforge, tmp_path):
    onnx.save(tiny(2), tmp_path / "tiny.onnx")
    rows = []
    for label, name in enumerate(("dark", "light")):
        (tmp_path / "images" / name).mkdir(parents=True)
        for index in range(4):
            level = label * 255 if index else 255 - label * 255  # one of four is labelled wrongly
            Image.new("RGB", (32, 32), (level,) * 3).save(
                tmp_path / "images" / name / f"{name}{index}.png"
            )
            rows.append(f"{name}{index}.png,{label}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    for more in ([], ["--labels", tmp_path / "labels.csv"]):
        run = trtforge(
            "verify", tmp_path / "tiny.onnx", "--images", tmp_path / "images", *more, "--json"
        )
        assert run.code == 0, run.err
        assert (run.document["metric"], run.document["accuracy"]) == ("top-1", [0.75])
        assert run.document["more"]["top-5"] == [1.0]


def test_segmentation(trtforge, tmp_path):
    onnx.save(tiny(2, pool=False), tmp_path / "tiny.onnx")
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:, 16:] = 255
    Image.fromarray(pixels).save(tmp_path / "images" / "a.png")
    truth = np.zeros((32, 32), np.uint8)
    truth[:, 8:] = 1  # a quarter is labelled otherwise
    Image.fromarray(truth).save(tmp_path / "masks" / "a.png")
    run = trtforge(
        "verify",
        tmp_path / "tiny.onnx",
        "--images",
        tmp_path / "images",
        "--labels",
        tmp_path / "masks",
        "--json",
    )
    assert run.code == 0, run.err
    assert run.document["metric"] == "mIoU"
    assert run.document["accuracy"][0] == pytest.approx((0.25 / 0.5 + 0.5 / 0.75) / 2)


def test_detect_draws_and_lists(trtforge, prepared, tmp_path):
    images = sorted(VALIDATION.glob("*.jpg"))[:3]
    run = trtforge("detect", prepared["int8"], *images, "-o", tmp_path / "pictures", "--json")
    assert run.code == 0, run.err
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == {
        *(path.name for path in images),
        "sheet.jpg",
    }
    truth = json.loads((VALIDATION / "labels.json").read_text())
    names = {entry["id"]: entry["name"] for entry in truth["categories"]}
    for number, entry in enumerate(run.document["images"]):
        assert (
            Image.open(tmp_path / "pictures" / entry["picture"]).size
            == Image.open(images[number]).size
        )
        large = [
            each
            for each in truth["annotations"]
            if each["image_id"] == number and min(each["bbox"][2:]) > 60
        ]
        for each in large:
            left, top, width, height = each["bbox"]
            corners = [left, top, left + width, top + height]
            same = [item for item in entry["objects"] if item["name"] == names[each["category_id"]]]
            assert any(np.abs(np.subtract(item["box"], corners)).max() < 12 for item in same), (
                entry["image"],
                each,
            )


def test_thresholds_of_detect_stand_above_the_folder_and_keep_the_rest_of_it(
    trtforge, prepared, tmp_path
):
    command = [
        "detect",
        prepared["int8"],
        VALIDATION / "validation-00000.jpg",
        "-o",
        tmp_path / "pictures",
        "--json",
    ]
    every, few = (
        trtforge(*command, *more).document["images"][0]["objects"]
        for more in ([], ["--score", "0.96"])
    )
    assert few == [item for item in every if item["score"] >= 0.96]
    assert 0 < len(few) < len(every)
    assert trtforge(*command, "--score", "7").code == 2


@pytest.mark.parametrize("wrong", ["missing image", "no image", "classifier"])
def test_detect_refuses(trtforge, tmp_path, wrong):
    image, engine = VALIDATION / "validation-00000.jpg", DEMO
    if wrong == "missing image":
        image = tmp_path / "gone.jpg"
    elif wrong == "no image":
        image = tmp_path / "text.jpg"
        image.write_text("hello")
    else:
        engine = tmp_path / "tiny.onnx"
        onnx.save(tiny(3), engine)
    run = trtforge("detect", engine, image, "-o", tmp_path / "pictures")
    assert (run.code, run.out) == (2, ""), run.err
    assert len(run.err.splitlines()) <= 2
    assert not (tmp_path / "pictures").exists()
