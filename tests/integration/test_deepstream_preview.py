"""The way from a bundle's graph to the objects that DeepStream shows, on the trained detector."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import DEMO, LABELS, PHOTOS, ROOT
from PIL import Image

from trtforge.backends.onnxruntime import run as infer
from trtforge.backends.onnxruntime import session
from trtforge.calibration import images as pictures
from trtforge.deepstream import preview
from trtforge.errors import ForgeError
from trtforge.evaluate import average_precision, coco
from trtforge.evaluate.detections import Objects, finder
from trtforge.evaluate.models import open_model
from trtforge.graph.model import graph_of, load, model_of
from trtforge.graph.nms.exchange import exchange_plugin
from trtforge.recipe import Nms, Preprocess

VALIDATION = ROOT / "recipes" / "demo" / "validation"
FILES = sorted(VALIDATION.glob("*.jpg"))
# These are the options with which verify measures raw outputs.
COCO_WAY = ["--score", "0.001", "--iou", "0.65", "--max-det", "300"]


def prepared(trtforge, folder: Path, *more: str | Path) -> Path:
    run = trtforge("prepare", DEMO, "--labels", LABELS, *more, "-o", folder)
    assert run.code == 0, run.err
    return folder


@pytest.fixture(scope="session")
def bundle(trtforge, tmp_path_factory) -> Path:
    return prepared(trtforge, tmp_path_factory.mktemp("bundles") / "plain")


@pytest.fixture(scope="session")
def everything(trtforge, tmp_path_factory) -> Path:
    """Thresholds that let through all that counts for mAP."""
    return prepared(trtforge, tmp_path_factory.mktemp("bundles") / "everything", *COCO_WAY)


@pytest.fixture(scope="session")
def raw(trtforge, tmp_path_factory) -> Path:
    """Without NMS, set up for the generated parser and DeepStream's clustering."""
    folder = prepared(
        trtforge, tmp_path_factory.mktemp("bundles") / "raw", "--nms", "none", *COCO_WAY
    )
    run = trtforge("deepstream", "parser", folder, "-o", folder.parent / "parser", "--json")
    assert run.code == 0, run.err
    keys = run.document["keys"]
    kept = [
        line
        for line in (folder / "pgie_config.txt").read_text().splitlines()
        if line.partition("=")[0] not in {"output-tensor-meta", *keys["property"]}
    ]
    lines = [
        *kept,
        *(f"{key}={value}" for key, value in keys["property"].items()),
        "[class-attrs-all]",
        *(f"{key}={value}" for key, value in keys["class-attrs-all"].items()),
    ]
    (folder / "pgie_config.txt").write_text("\n".join(lines))
    return folder


def stock_parser(
    outputs: dict[str, np.ndarray], width: int, height: int, threshold: float
) -> list[list[float]]:
    """NvDsInferParseCustomTfSSD by its rules: rows of class, score, left, top, right, bottom in
    pixels.
    """
    assert all(
        outputs[f"detection_{name}"].dtype == np.float32 for name in ("boxes", "scores", "classes")
    )
    # The parser does not use an int32 count, so it reads every row.
    assert outputs["num_detections"].dtype == np.int32
    rows = []
    for box, score, label in zip(
        outputs["detection_boxes"],
        outputs["detection_scores"],
        outputs["detection_classes"],
        strict=True,
    ):
        if score < threshold:
            continue
        top, bottom = (min(max(float(side) * height, 0), height - 1) for side in box[[0, 2]])
        left, right = (min(max(float(side) * width, 0), width - 1) for side in box[[1, 3]])
        if right > left and bottom > top:
            rows.append([float(label), float(score), left, top, right, bottom])
    return rows


@pytest.mark.parametrize("batch", [1, 4])
def test_the_stock_parser_makes_the_references_boxes_of_the_deepstream_form(bundle, batch):
    plugin = load(bundle / "demo.onnx")
    assert any(node.op_type == "EfficientNMS_TRT" for node in plugin.graph.node)
    graph = graph_of(plugin)
    assert exchange_plugin(graph)
    equivalent = session(model_of(graph).SerializeToString())
    reference = open_model(DEMO)
    find = finder(reference, Nms())
    spec, count = Preprocess(), 0
    for start in range(0, 8, batch):
        planes = np.concatenate(
            [pictures.prepare(file, spec, (640, 640)) for file in FILES[start : start + batch]]
        )
        four = infer(equivalent, planes)
        for index in range(batch):
            rows = np.array(
                stock_parser({name: each[index] for name, each in four.items()}, 640, 640, 0.25)
            )
            boxes, scores, labels = find(reference.infer(planes[index : index + 1]))
            assert len(rows) == len(scores)
            np.testing.assert_array_equal(rows[:, 0], labels)
            np.testing.assert_allclose(rows[:, 1], scores, atol=1e-5)
            np.testing.assert_allclose(rows[:, 2:], np.clip(boxes, 0, 639), atol=1e-2)
            count += len(rows)
    assert count > 40


Results = tuple[dict[str, Objects], Counter[str]]


def previewed(folder: Path, files: list[Path]) -> Results:
    """Objects by file name, and the number that is dropped, by reason."""
    detector, dropped, found = preview.open_bundle(folder), Counter(), {}
    for file in files:
        found[file.name], reasons = detector.find(pictures.read(file))
        dropped += reasons
    return found, dropped


def mean_average_precision(found: dict[str, Objects], files: list[Path]) -> float:
    truth = coco.read(VALIDATION / "labels.json", [file.name for file in files])
    return average_precision.match(
        truth, {file.name: found[file.name] for file in files}
    ).mean_average_precision()[0]


@pytest.fixture(scope="session")
def all_previewed(everything) -> Results:
    return previewed(everything, FILES)


def test_preview_and_verify_agree_on_map(trtforge, all_previewed):
    """Within 0.2 point, with nvinfer's padding in both."""
    run = trtforge(
        "verify", DEMO, "--images", VALIDATION, "--labels", VALIDATION / "labels.json", "--json"
    )
    assert run.code == 0, run.err
    found, dropped = all_previewed
    assert abs(mean_average_precision(found, FILES) - run.document["accuracy"][0]) < 0.002
    assert not dropped


def test_deepstreams_clustering_of_raw_heads_agrees_with_nms_in_the_graph(all_previewed, raw):
    some = FILES[:20]
    clustered, _ = previewed(raw, some)
    want = mean_average_precision(all_previewed[0], some)
    assert mean_average_precision(clustered, some) == pytest.approx(want, abs=0.002)


def test_objects_at_the_lower_edge_are_lost_without_the_key_that_cuts_them(
    everything, all_previewed, tmp_path
):
    some = FILES[:20]
    found, dropped = previewed(
        edited(everything, tmp_path, "crop-objects-to-roi-boundary=1", ""), some
    )
    assert sum(dropped.values()) > 0
    assert mean_average_precision(found, some) < mean_average_precision(all_previewed[0], some)


def edited(bundle: Path, folder: Path, old: str, new: str) -> Path:
    made = folder / "edited"
    shutil.copytree(bundle, made)
    text = (made / "pgie_config.txt").read_text()
    assert old in text
    (made / "pgie_config.txt").write_text(text.replace(old, new))
    return made


def test_int8_bundle_is_drawn_and_listed(trtforge, tmp_path):
    folder = prepared(trtforge, tmp_path / "int8", "--int8", "--calib", PHOTOS)
    run = trtforge(
        "deepstream", "preview", folder, *FILES[:3], "-o", tmp_path / "pictures", "--json"
    )
    assert run.code == 0, run.err
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == {
        *(file.name for file in FILES[:3]),
        "sheet.jpg",
    }
    truth = json.loads((VALIDATION / "labels.json").read_text())
    names = {entry["id"]: entry["name"] for entry in truth["categories"]}
    for number, entry in enumerate(run.document["images"]):
        assert (
            Image.open(tmp_path / "pictures" / entry["picture"]).size
            == Image.open(FILES[number]).size
        )
        for each in truth["annotations"]:
            left, top, width, height = each["bbox"]
            if each["image_id"] == number and min(width, height) > 60:
                same = [
                    item for item in entry["objects"] if item["name"] == names[each["category_id"]]
                ]
                corners = [left, top, left + width, top + height]
                assert any(np.abs(np.subtract(item["box"], corners)).max() < 12 for item in same), (
                    entry,
                    each,
                )


def test_offsets_color_and_scale_are_read(bundle, tmp_path):
    """A preview with the colours swapped, or everything darker, finds other scores."""
    scores = {}
    for name, old, new in (
        ("own", "gpu-id=0", "gpu-id=0"),
        ("swapped", "model-color-format=0", "model-color-format=1"),
        ("darker", "net-scale-factor=0.003921568627", "net-scale-factor=0.001"),
        ("shifted", "model-color-format=0", "model-color-format=0\noffsets=60;60;60"),
    ):
        detector = preview.open_bundle(edited(bundle, tmp_path / name, old, new))
        scores[name] = detector.find(pictures.read(FILES[2]))[0].scores.tolist()
    assert len({tuple(each) for each in scores.values()}) == 4


def test_a_model_of_a_fixed_batch_runs(bundle, tmp_path):
    folder = edited(bundle, tmp_path, "batch-size=1", "batch-size=2")
    (folder / "manifest.json").unlink()
    model = onnx.load(folder / "demo.onnx")
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    onnx.save(model, folder / "demo.onnx")
    image = pictures.read(FILES[0])
    (one, _), (two, _) = (preview.open_bundle(each).find(image) for each in (bundle, folder))
    np.testing.assert_allclose(two.boxes, one.boxes, atol=1e-2)


def test_odd_frames_lose_a_row_and_a_column(bundle):
    image = pictures.read(FILES[0])
    detector = preview.open_bundle(bundle)
    even = image.crop((0, 0, 400, 300))
    odd = image.crop((0, 0, 401, 301))
    np.testing.assert_allclose(detector.find(odd)[0].boxes, detector.find(even)[0].boxes, atol=1e-3)
    with pytest.raises(ForgeError, match="no frame"):
        detector.find(image.crop((0, 0, 1, 40)))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("NvDsInferParseCustomTfSSD", "NvDsInferParseYolo", "NvDsInferParseYolo"),
        ("NvDsInferParseCustomTfSSD", "NvDsInferParseTrtforge", "no decoded boxes"),
        ("infer-dims=3;640;640", "infer-dims=3;320;320", "320x320"),
        ("onnx-file=demo.onnx", "onnx-file=demo.ort.onnx", "detection_classes"),
        ("onnx-file=demo.onnx", "onnx-file=gone.onnx", "gone.onnx"),
        ("network-type=0", "network-type=100", "network-type=100"),
    ],
)
def test_configurations_that_nvinfer_would_not_run(bundle, tmp_path, old, new, words):
    folder = edited(bundle, tmp_path, old, new)
    with pytest.raises(ForgeError) as caught:
        preview.open_bundle(folder).find(pictures.read(FILES[0]))
    assert words in caught.value.problem


def test_a_model_that_was_changed_is_not_previewed(trtforge, bundle, tmp_path):
    folder = edited(bundle, tmp_path, "gpu-id=0", "gpu-id=0")
    model = onnx.load(folder / "demo.onnx")
    model.producer_name = "somebody else"
    onnx.save(model, folder / "demo.onnx")
    run = trtforge("deepstream", "preview", folder, FILES[0], "-o", tmp_path / "pictures")
    assert (run.code, run.out) == (2, "")
    assert "changed since the manifest was written" in run.err
    assert len(run.err.splitlines()) <= 2
    assert not (tmp_path / "pictures").exists()
