"""A fleet's workflow, run here: its commands give the bundles that its table promised."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import onnx
import pytest
import workflow
from conftest import PHOTOS

from tests import models
from trtforge.fleet import github, listing
from trtforge.fleet.plan import plan
from trtforge.fleet.schema import load
from trtforge.options.values import parse_batch

LEAN = """
precisions: [int8, fp8]
models:
  anchors: {model: anchors.onnx, calib: photos, verify: {images: photos, labels: boxes.json, max_drop: 100}}
devices:
  cpu: {}
  rtx-4090: {runs_on: hosted, workspace: 256MiB}
"""
FULL = """
precisions: [fp16, int8]
models:
  anchors: {model: anchors.onnx, calib: photos, verify: {images: photos, labels: boxes.json, max_drop: 100}}
  free: {model: free.onnx, calib: photos, verify: {images: photos, labels: boxes.json, max_drop: 100}}
  classes: {model: classes.onnx, calib: photos, verify: {images: photos, labels: classes.csv, max_drop: 100}}
devices:
  cpu: {}
  t4: {runs_on: hosted, batch: 8}
  a100: {runs_on: hosted, batch: 8, workspace: 256MiB}
  rtx-3090: {runs_on: hosted, batch: 8}
  rtx-4090: {runs_on: hosted, batch: 8, deepstream: "7.1"}
  rtx-5090: {runs_on: hosted, batch: "1:2:4"}
"""


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """Three small models, eight photographs, and labels for both kinds."""
    folder = tmp_path / "repository"
    (folder / "photos").mkdir(parents=True)
    photos = sorted(PHOTOS.glob("*.jpg"))[:8]
    for photo in photos:
        shutil.copy(photo, folder / "photos")
    for name, make in {
        "anchors": models.yolov7_like,
        "free": models.yolov8_like,
        "classes": models.classifier,
    }.items():
        onnx.save(shaped(make()), folder / f"{name}.onnx")
    boxes = [
        {
            "id": number,
            "image_id": number,
            "category_id": 1,
            "bbox": [50, 50, 200, 200],
            "area": 40000,
            "iscrowd": 0,
        }
        for number, _ in enumerate(photos, 1)
    ]
    images = [
        {"id": number, "file_name": photo.name, "width": 640, "height": 480}
        for number, photo in enumerate(photos, 1)
    ]
    categories = [{"id": number, "name": str(number)} for number in range(1, models.CLASSES + 1)]
    (folder / "boxes.json").write_text(
        json.dumps({"images": images, "annotations": boxes, "categories": categories})
    )
    (folder / "classes.csv").write_text(
        "".join(f"{photo.name},{photo.stem[-1]}\n" for photo in photos)
    )
    monkeypatch.chdir(folder)
    return folder


def shaped(model):
    """With the shape of its output, which inference does not find behind a computed reshape."""
    (output,) = model.graph.output
    found = models.outputs(model, models.photographs(1))[0].shape
    output.CopyFrom(
        onnx.helper.make_tensor_value_info(
            output.name, onnx.TensorProto.FLOAT, ["batch", *found[1:]]
        )
    )
    return model


def promised(planned):
    """Bundles by artifact and folder: model, precision, device, backend and batch of each."""
    return {
        (f"bundle-{job.id}", bundle.precision): (
            job.model,
            bundle.precision,
            job.target,
            job.backend,
            parse_batch(bundle.batch) or (1, 1, 1),
        )
        for job in planned.jobs
        for bundle in job.bundles
    }


def delivered(artifacts: Path):
    found = {}
    for path in artifacts.glob("bundle-*/*/manifest.json"):
        content = json.loads(path.read_text())
        assert content["engine"]["engine_bytes"] > 0
        target = content["target"]
        found[path.parent.parent.name, path.parent.name] = (
            content["model"],
            content["precision"],
            target["device"],
            target["backend"],
            tuple(content["batch"]),
        )
    return found


def kept(repository: Path, tmp_path: Path, text: str) -> tuple[listing.Plan, workflow.Run]:
    """Run the fleet, and hold what it made to what it said."""
    (repository / "fleet.yaml").write_text(text)
    planned = plan(load(repository / "fleet.yaml"))
    done = workflow.run(github.workflow(planned, []), repository, tmp_path / "work")
    assert done.failed == {}
    assert delivered(done.artifacts) == promised(planned)
    for job in planned.jobs:
        for bundle in job.bundles:
            folder = done.artifacts / f"report-{job.id}" / bundle.precision
            names = {
                "layers.json",
                "report.md",
                "report.html",
                "verify.json",
                *(["bench.json"] if job.bench else []),
            }
            assert {path.name for path in folder.iterdir()} == names
            assert json.loads((folder / "verify.json").read_text())["images"] == 8
    return planned, done


def test_the_jobs_of_a_fleet_make_what_its_table_says(repository, tmp_path):
    planned, done = kept(repository, tmp_path, LEAN)
    assert len(promised(planned)) == 3
    assert [str(each) for each in planned.skipped] == [
        "anchors on cpu in FP8: ONNX Runtime on a CPU has no FP8 operators"
    ]
    assert not any("cpu" in each and "fp8" in each for each in done.lines)
    summary = (tmp_path / "work" / "checkouts" / "anchors.rtx-4090.summary.md").read_text()
    assert summary.count("### `anchors, ") == 2  # a report for each precision


def test_a_gate_that_is_not_met_keeps_the_bundle_back(repository, tmp_path):
    text = (
        LEAN.replace("max_drop: 100", "min_map: 1")
        .replace("[int8, fp8]", "[fp16]")
        .replace("cpu: {}\n", "\n")
    )
    (repository / "fleet.yaml").write_text(text)
    done = workflow.run(
        github.workflow(plan(load(repository / "fleet.yaml")), []), repository, tmp_path / "work"
    )
    assert list(done.failed) == ["anchors.rtx-4090"]
    assert (
        "Verify, 4:" in done.failed["anchors.rtx-4090"]
        and "under 1" in done.failed["anchors.rtx-4090"]
    )
    assert {path.name for path in done.artifacts.iterdir()} == {
        "prepared-anchors",
        "report-anchors.rtx-4090",
    }
    assert os.listdir(done.artifacts / "report-anchors.rtx-4090" / "fp16")


@pytest.mark.slow
def test_three_models_on_six_devices_in_two_precisions(repository, tmp_path):
    planned, _ = kept(repository, tmp_path, FULL)
    assert (len(planned.prepare), len(planned.jobs), len(promised(planned))) == (18, 18, 36)
