"""What is built where, under which names, and what is not, with the reason."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from trtforge import devices
from trtforge.devices import file as device_file
from trtforge.errors import ForgeError
from trtforge.fleet import listing

NANO = """
nano:
  title: Jetson Nano
  kind: jetson
  arch: aarch64
  compute_capability: "5.3"
  memory_gib: 4
  bandwidth_gb_s: 25.6
  dla_cores: 0
  precisions: [fp32]
  int8_tops: null
  fp16_tflops: null
  ci_label: gpu-nano
  tensorrt: "10.3"
  deepstream: null
  cuda: null
  jetpack: null
  gpu_names: ["Nano"]
  source: ["the test"]
"""


def reasons(plan):
    return {(each.device, each.precision): each.why for each in plan.skipped}


def built(plan):
    return {(job.device, bundle.precision) for job in plan.jobs for bundle in job.bundles}


def test_no_precision_that_a_gpu_lacks(planned, monkeypatch):
    known = devices.catalogue() | device_file.parse(NANO, "devices.yaml")
    monkeypatch.setattr(devices, "catalogue", lambda: known)
    plan = planned(
        "precisions: [fp32, int8, fp8]\ndevices: {nano: {}, rtx-3090: {}, l4: {}, cpu: {}}"
    )
    assert built(plan) == {
        ("nano", "fp32"),
        ("rtx-3090", "fp32"),
        ("rtx-3090", "int8"),
        ("l4", "fp32"),
        ("l4", "int8"),
        ("l4", "fp8"),
        ("cpu", "fp32"),
        ("cpu", "int8"),
    }
    assert "Jetson Nano (SM53) has no INT8 kernels" in reasons(plan)["nano", "int8"]
    assert "(SM86) has no FP8 kernels" in reasons(plan)["rtx-3090", "fp8"]
    assert "no FP8 operators" in reasons(plan)["cpu", "fp8"]


def test_no_dla_where_there_is_none(planned):
    plan = planned(
        "precisions: [fp32, fp16, int8]\ndevices:\n  orin-nano: {dla: 0}\n  orin-nx: {dla: 1}\n"
        "  third: {device: orin-nx, dla: 2}\n  rtx: {device: rtx-4090, dla: 0}\n  cpu: {dla: 0}"
    )
    assert built(plan) == {("orin-nx", "fp16"), ("orin-nx", "int8")}
    why = reasons(plan)
    assert "Orin Nano (8 GB) has no DLA" in why["orin-nano", "fp16"]
    assert "2 DLA cores, numbered from 0" in why["third", "int8"]
    assert "only in FP16 and INT8" in why["orin-nx", "fp32"]
    assert "has no DLA" in why["rtx", "fp16"] and "ONNX Runtime" in why["cpu", "fp16"]


def test_hosted_runners_build_what_needs_no_gpu(planned):
    plan = planned(
        "precisions: [fp16]\ndevices:\n  rtx-4090: {runs_on: hosted}\n  h100: {runs_on: hosted}\n"
        "  t4: {runs_on: hosted, backend: tensorrt}\n  cpu: {}"
    )
    assert [(job.id, job.backend, job.runs_on, bool(job.bench)) for job in plan.jobs] == [
        ("yolo.rtx-4090", "tensorrt-rtx", (), False),
        ("yolo.cpu", "onnxruntime", (), True),
    ]
    assert "TensorRT-RTX builds for" in reasons(plan)["h100", "fp16"]
    assert "hosted runners have none" in reasons(plan)["t4", "fp16"]


def test_a_label_of_a_users_own_device_is_checked(planned, monkeypatch):
    odd = NANO.replace("gpu-nano", "${{ secrets.TOKEN }}")
    known = devices.catalogue() | device_file.parse(odd, "mine.yaml")
    monkeypatch.setattr(devices, "catalogue", lambda: known)
    with pytest.raises(ForgeError, match="not a label of a runner"):
        planned("precisions: [fp32]\ndevices: {nano: {}}")
    assert planned("precisions: [fp32]\ndevices: {nano: {runs_on: nano}}").jobs[0].runs_on == (
        "nano",
    )


def test_a_device_whose_tensorrt_is_too_old(planned):
    plan = planned("devices: {xavier-nx: {}, t4: {}}")
    assert "ends at TensorRT 8.5.2" in reasons(plan)["xavier-nx", "fp16"]


def test_nothing_left_is_an_error(planned):
    with pytest.raises(ForgeError, match="nothing to build: yolo on h100"):
        planned("devices: {h100: {runs_on: hosted}}")


def test_options_of_a_device_reach_its_commands(planned):
    (job,) = planned(
        "precisions: [int8]\ndevices:\n  orin: {device: orin-nx, batch: '1:2:4', workspace: 1GiB, "
        "deepstream: '7.1', dla: 1, runs_on: [self-hosted, orin]}"
    ).jobs
    assert job.runs_on == ("self-hosted", "orin")
    assert job.build[0] == (
        "trtforge build prepared/yolo/int8-b1-2-4 --device orin-nx --backend auto --workspace 1GiB "
        "--dla 1 --deepstream 7.1 -o bundles/yolo/orin/int8"
    )
    assert job.lint[0].endswith("--deepstream 7.1")
    assert "--max-drop 1.0" in job.verify[0] and job.verify[0].endswith(
        "> reports/yolo/orin/int8/verify.json"
    )


def test_a_label_of_the_catalogue_and_a_limit(planned):
    (job,) = planned(
        "models: {yolo: {model: yolo.onnx, max_latency: {l4: 5ms}}}\ndevices: {l4: {}}"
    ).jobs
    assert job.runs_on == ("gpu-l4",)
    assert "--max-latency 5ms" in job.bench[0] and not job.verify


def test_devices_share_what_is_prepared(planned):
    plan = planned("precisions: [fp16, int8]\ndevices: {t4: {batch: 8}, l4: {batch: 8}, a10: {}}")
    assert [each.folder for each in plan.prepare] == [
        "prepared/yolo/fp16-b8",
        "prepared/yolo/int8-b8",
        "prepared/yolo/fp16",
        "prepared/yolo/int8",
    ]
    assert all(" --calib photos" in each.command for each in plan.prepare if "int8" in each.folder)
    assert all("--calib" not in each.command for each in plan.prepare if "fp16" in each.folder)


def test_ids_and_folders_do_not_depend_on_the_rest(planned):
    one = planned("devices: {t4: {batch: 8}}").jobs[0]
    same = planned("precisions: [int8, fp16]\ndevices: {l4: {}, t4: {batch: 8}}")
    other = next(job for job in same.jobs if job.device == "t4")
    assert one.id == other.id == "yolo.t4"
    assert set(one.build[:-1]) < set(other.build)
    assert same == planned("precisions: [int8, fp16]\ndevices: {l4: {}, t4: {batch: 8}}")


def test_names_with_hyphens_do_not_meet(planned):
    plan = planned(
        "models: {a-b: {model: yolo.onnx}, a: {model: yolo.onnx}}\n"
        "devices: {c: {device: t4}, b-c: {device: t4}}"
    )
    assert len({job.id for job in plan.jobs}) == len({job.made for job in plan.jobs}) == 4


def test_paths_are_quoted(planned, repository):
    Path("my models").mkdir()
    Path("my models/yolo (1).onnx").touch()
    plan = planned('models: {yolo: {model: "my models/yolo (1).onnx"}}\ndevices: {t4: {}}')
    assert "'my models/yolo (1).onnx'" in plan.prepare[0].command


def test_the_table_says_all(planned):
    text = listing.table(planned("precisions: [fp16, fp8]\ndevices: {t4: {}, l4: {}}"))
    assert "2 folders to prepare, 2 jobs, 3 bundles" in text
    assert re.search(
        r"^yolo\.l4 +gpu-l4 +auto +fp8 +bundles/yolo/l4/fp8 +lint, verify, bench$", text, re.M
    )
    assert "  yolo on t4 in FP8: NVIDIA T4 (SM75) has no FP8 kernels" in text
