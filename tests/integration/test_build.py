"""The main job, by the command line, with real builders."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from conftest import DEMO, LABELS, PHOTOS
from PIL import Image

from trtforge.backends.tensorrt_rtx import compute_capabilities

BUNDLE = {
    "demo.onnx",
    "labels.txt",
    "pgie_config.txt",
    "pgie_config.yml",
    "deepstream_app.txt",
    "layers.json",
    "report.html",
    "manifest.json",
}
INT8 = {"calibration.json", "calibration.cache"}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture(scope="session")
def int8(trtforge, photos, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("int8") / "out"
    run = trtforge(
        "build",
        DEMO,
        "--int8",
        "--calib",
        photos,
        "--device",
        "rtx-4090",
        "--labels",
        LABELS,
        "-o",
        out,
    )
    assert run.code == 0, run.err
    return out


def test_int8_gives_a_real_engine_for_the_device(int8):
    engine = (int8 / "demo.rtx.engine").read_bytes()
    assert engine[:4] == b"vtrt"
    assert compute_capabilities(engine) == [89]


def test_nearly_all_convolutions_have_int8_inputs(int8):
    layers = json.loads((int8 / "layers.json").read_text())["layers"]
    model = onnx.load(int8 / "demo.rtx.onnx")
    learned = {node.name for node in model.graph.node if node.op_type == "Conv"}
    # Fold has replaced the Conv that computes the mean of the box distribution (DFL).
    assert len(learned) == 71
    int8_nodes = {
        name
        for layer in layers
        for name in layer["nodes"]
        if any(tensor["dtype"] == "Int8" for tensor in layer["inputs"])
    }
    assert learned - int8_nodes == {"stem.0.conv.Conv"}  # reads the image
    assert len(learned & int8_nodes) / len(learned) >= 0.95


def test_bundle_holds_what_the_design_says(int8):
    assert names(int8) == BUNDLE | INT8 | {"demo.rtx.onnx", "demo.rtx.engine"}


def test_manifest_lists_every_file_by_its_digest(int8):
    manifest = json.loads((int8 / "manifest.json").read_text())
    assert set(manifest["files"]) == names(int8) - {"manifest.json"}
    for name, entry in manifest["files"].items():
        assert hashlib.sha256((int8 / name).read_bytes()).hexdigest() == entry["sha256"]
    assert manifest["inputs"]["model"]["sha256"] == hashlib.sha256(DEMO.read_bytes()).hexdigest()
    assert manifest["target"] == {"backend": "tensorrt-rtx", "device": "rtx-4090", "sm": 89}


def test_deepstream_form_is_what_the_configuration_describes(int8):
    keys = dict(
        line.split("=", 1)
        for line in (int8 / "pgie_config.txt").read_text().splitlines()
        if "=" in line
    )
    model = onnx.load(int8 / keys["onnx-file"])
    assert [output.name for output in model.graph.output] == [
        "num_detections",
        "detection_boxes",
        "detection_scores",
        "detection_classes",
    ]
    assert int(keys["num-detected-classes"]) == len(
        (int8 / keys["labelfile-path"]).read_text().splitlines()
    )
    assert keys["model-engine-file"] == "demo.onnx_b1_gpu0_fp32.engine"
    assert (keys["network-mode"], keys["strongly-typed"], keys["cluster-mode"]) == ("0", "1", "4")
    assert keys["infer-dims"] == "3;640;640"


def test_second_run_does_no_work(trtforge, photos, int8):
    before = {path.name: path.stat().st_mtime_ns for path in int8.iterdir()}
    command = [
        "build",
        DEMO,
        "--int8",
        "--calib",
        photos,
        "--device",
        "rtx-4090",
        "--labels",
        LABELS,
        "-o",
        int8,
    ]
    run = trtforge(*command, "--json")
    assert run.code == 0, run.err
    assert all(stage["cached"] for stage in run.document["stages"])
    assert not run.document["outputs"][0]["written"]
    assert {path.name: path.stat().st_mtime_ns for path in int8.iterdir()} == before
    assert "nothing to do" in trtforge(*command).out


def test_another_photo_reruns_only_what_depends_on_it(trtforge, photos, int8, tmp_path):
    more = tmp_path / "more"
    shutil.copytree(photos, more)
    Image.new("RGB", (320, 240), (10, 200, 30)).save(more / "green.png")
    command = [
        "build",
        DEMO,
        "--int8",
        "--calib",
        more,
        "--device",
        "rtx-4090",
        "-o",
        tmp_path / "out",
    ]
    plan = trtforge(*command, "--dry-run", "--json").document["stages"]
    assert [(stage["stage"], stage["cached"]) for stage in plan][:2] == [
        ("fold", True),
        ("observe", False),
    ]
    assert plan[1]["why"] == "images changed"
    assert not (tmp_path / "out").exists()
    ran = trtforge(*command, "--json").document["stages"]
    assert [stage["stage"] for stage in ran if stage["cached"]] == ["fold"]


def test_forced_rebuild_gives_the_same_bytes(trtforge, photos, int8, tmp_path):
    again = tmp_path / "out"
    run = trtforge(
        "build",
        DEMO,
        "--int8",
        "--calib",
        photos,
        "--device",
        "rtx-4090",
        "--labels",
        LABELS,
        "-o",
        again,
        "--force",
        TRTFORGE_STORE=str(tmp_path / "other-store"),
    )
    assert run.code == 0, run.err
    for path in int8.iterdir():
        assert (again / path.name).read_bytes() == path.read_bytes(), path.name


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_float_engines(trtforge, tmp_path, precision):
    out = tmp_path / "out"
    run = trtforge(
        "build", DEMO, f"--{precision}", "--device", "rtx-4090", "--batch", "1:8:16", "-o", out
    )
    assert run.code == 0, run.err
    assert names(out) == BUNDLE | {"demo.rtx.onnx", "demo.rtx.engine"}
    assert "demo.onnx_b16_gpu0_fp32.engine" in (out / "pgie_config.txt").read_text()
    crossing = json.loads((out / "manifest.json").read_text())["engine"]["crossing_bytes"]
    assert ("Half" in crossing) is (precision == "fp16")


def test_two_devices_share_everything_but_the_engine(trtforge, photos, int8, tmp_path):
    out = tmp_path / "fleet"
    run = trtforge(
        "build",
        DEMO,
        "--int8",
        "--calib",
        photos,
        "--device",
        "rtx-4090",
        "--device",
        "t4",
        "-o",
        out,
        "--json",
    )
    assert run.code == 0, run.err
    stages = [stage["stage"] for stage in run.document["stages"]]
    assert stages.count("calibrate") == 1
    assert stages.count("build-tensorrt-rtx") == 2
    found = {
        name: compute_capabilities((out / name / "demo.rtx.engine").read_bytes())
        for name in names(out)
    }
    assert found == {"rtx-4090": [89], "t4": [75]}


def test_onnxruntime_engine_detects(trtforge, photos, tmp_path):
    out = tmp_path / "out"
    run = trtforge(
        "build",
        DEMO,
        "--int8",
        "--calib",
        photos,
        "--backend",
        "onnxruntime",
        "--batch",
        "1:2:4",
        "-o",
        out,
    )
    assert run.code == 0, run.err
    assert names(out) == BUNDLE | INT8 | {"demo.ort.onnx"}
    engine = onnxruntime.InferenceSession(out / "demo.ort.onnx", providers=["CPUExecutionProvider"])
    found = engine.run(
        None, {"images": np.random.default_rng(0).random((2, 3, 640, 640), np.float32)}
    )
    assert [array.shape for array in found] == [(2, 1), (2, 100, 4), (2, 100), (2, 100)]


def test_without_device_and_gpu_the_cpu_is_built_for_and_one_line_says_so(trtforge, tmp_path):
    run = trtforge("build", DEMO, "-o", tmp_path / "out", PATH="/nonexistent")
    assert run.code == 0, run.err
    assert run.err.count("\n") == 1
    assert "--device" in run.err
    assert (tmp_path / "out" / "demo.ort.onnx").is_file()


def test_prepared_folder_builds_elsewhere(trtforge, photos, int8, tmp_path):
    prepared = tmp_path / "prepared"
    run = trtforge("prepare", DEMO, "--int8", "--calib", photos, "--labels", LABELS, "-o", prepared)
    assert run.code == 0, run.err
    assert not list(prepared.glob("*.engine"))
    run = trtforge("build", prepared, "--device", "rtx-4090", "-o", tmp_path / "out")
    assert run.code == 0, run.err
    for name in (
        "demo.rtx.engine",
        "demo.onnx",
        "pgie_config.txt",
        "labels.txt",
        "calibration.cache",
    ):
        assert (tmp_path / "out" / name).read_bytes() == (int8 / name).read_bytes(), name
    assert trtforge("build", prepared, "--backend", "onnxruntime", "-o", tmp_path / "cpu").code == 0


def test_prepared_folder_that_was_changed_is_refused(trtforge, tmp_path):
    prepared = tmp_path / "prepared"
    assert trtforge("prepare", DEMO, "--fp16", "-o", prepared).code == 0
    (prepared / "demo.rtx.onnx").write_bytes((prepared / "demo.onnx").read_bytes())
    run = trtforge("build", prepared, "--device", "rtx-4090", "-o", tmp_path / "out")
    assert (run.code, "demo.rtx.onnx" in run.err) == (2, True)


@pytest.mark.parametrize(
    "hostile",
    [
        {"graphs": []},
        {"facts": {}},
        {"patches": []},
        {"model": "../../demo"},
        {"batch": [1]},
        {"recipe": {"nms": 3}},
        {"files": {"../x": {"sha256": "0"}}},
        {"graphs": ["cuda"]},
    ],
)
def test_prepared_folder_is_not_trusted(trtforge, tmp_path, hostile):
    prepared = tmp_path / "prepared"
    assert trtforge("prepare", DEMO, "--fp16", "-o", prepared).code == 0
    content = json.loads((prepared / "manifest.json").read_text())
    (prepared / "manifest.json").write_text(json.dumps(content | hostile))
    for words in (
        ["build", prepared, "--device", "rtx-4090", "-o", tmp_path / "out"],
        ["verify", prepared, "--images", PHOTOS],
    ):
        run = trtforge(*words)
        assert (run.code, run.out) == (2, ""), run.err
        assert len(run.err.splitlines()) <= 2
    assert not (tmp_path / "out").exists()


def test_recipe_with_a_model_is_a_build_of_its_own(trtforge, photos, tmp_path):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        f"model: {DEMO}\nlabels: {LABELS}\ncalibration:\n  images: {photos}\nnms:\n  max_det: 50\n"
    )
    run = trtforge("build", recipe, "--int8", "--backend", "onnxruntime", "-o", tmp_path / "out")
    assert run.code == 0, run.err
    model = onnx.load(tmp_path / "out" / "demo.ort.onnx")
    assert [dim.dim_value for dim in model.graph.output[1].type.tensor_type.shape.dim][1:] == [
        50,
        4,
    ]


def test_quantize_without_images_rounds_to_nearest_and_with_others_is_refused(
    trtforge, photos, int8, tmp_path
):
    def quantize(*words: str | Path):
        return trtforge(
            "quantize",
            "clean.onnx",
            "--calibration",
            int8 / "calibration.json",
            *words,
            "-o",
            "int8.onnx",
            cwd=tmp_path,
        )

    assert trtforge("fold", DEMO, "-o", "clean.onnx", cwd=tmp_path).code == 0
    plain = quantize()
    assert plain.code == 0 and "refined" not in plain.out, plain.err
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "other.png").write_bytes(next(photos.iterdir()).read_bytes())
    refused = quantize("--calib", tmp_path / "others")
    assert refused.code == 2 and "none of the images that the ranges come from" in refused.err
    (tmp_path / "others" / min(photos.iterdir()).name).write_bytes(
        max(photos.iterdir()).read_bytes()
    )
    changed = quantize("--calib", tmp_path / "others")
    assert changed.code == 2 and "has changed since the ranges were made" in changed.err


def test_stages_alone_give_what_build_gives(trtforge, photos, int8, tmp_path):
    def step(*words: str | Path) -> None:
        run = trtforge(*words, cwd=tmp_path)
        assert run.code == 0, run.err

    step("fold", DEMO, "-o", "clean.onnx")
    step("calibrate", "clean.onnx", "--calib", photos, "-o", "calibration.json")
    step(
        "quantize",
        "clean.onnx",
        "--calibration",
        "calibration.json",
        "--calib",
        photos,
        "-o",
        "int8.onnx",
    )
    step("cast", "int8.onnx", "-o", "typed.onnx")
    step("patch", "typed.onnx", "--nms", "deepstream", "-o", "ready.onnx")
    assert (tmp_path / "ready.onnx").read_bytes() == (int8 / "demo.onnx").read_bytes()
    alone, built = (
        json.loads((folder / "calibration.json").read_text()) for folder in (tmp_path, int8)
    )
    assert alone["source"] == built["source"] and alone["moved"] == built["moved"]
    narrowed = [name for name, amax in alone["amax"].items() if amax != built["amax"][name]]
    # The build has narrowed ranges as `quantize --calib` does, which writes no table.
    assert 0 < len(narrowed) < len(built["amax"]) / 2
