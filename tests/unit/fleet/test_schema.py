"""Fleets: every error at once, and no word that a shell or a CI service could take for its own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from trtforge.errors import ForgeError
from trtforge.fleet.plan import plan
from trtforge.fleet.schema import load

ROOT = Path(__file__).parents[3]


def problem(path):
    with pytest.raises(ForgeError) as caught:
        load(path)
    return caught.value.problem


def test_every_error_with_its_line(fleet):
    text = "models:\n  yolo: {model: yolo.onnx, callib: photos}\ndevices:\n  t4: {workspace: lots, deepstream: 9.1}\n"
    told = problem(fleet(text)).splitlines()
    assert len(told) == 3
    assert "fleet.yaml:2: unknown key 'models.yolo.callib' (did you mean 'calib'?)" in told[0]
    assert ":4: devices.t4.workspace: --workspace lots: not an amount of memory" in told[1]
    assert ":4: devices.t4.deepstream" in told[2]


@pytest.mark.parametrize(
    "name",
    [
        "Yolo",
        "yo lo",
        "yolo.v8",
        "-yolo",
        "yolo_",
        "${{ secrets.TOKEN }}",
        "$(id)",
        "a;b",
        "",
        "a" * 65,
        "ä",
    ],
)
def test_names_are_words_and_hyphens(fleet, name):
    assert "string should" in problem(
        fleet(f"models:\n  {name!r}: {{model: yolo.onnx}}\ndevices: {{t4: {{}}}}")
    )
    assert "string should" in problem(fleet(f"devices:\n  {name!r}: {{device: t4}}"))
    assert "string should" in problem(fleet(f"name: {name!r}\ndevices: {{t4: {{}}}}"))


def test_a_name_with_a_line_break(fleet):
    assert "string should" in problem(fleet('devices:\n  "t4\\n": {device: t4}'))
    assert "string should" in problem(fleet('devices: {t4: {runs_on: "gpu\\n"}}'))


@pytest.mark.parametrize("label", ["${{ github.actor }}", "gpu t4", "$RUNNER", "a,b", "-gpu"])
def test_labels_are_labels(fleet, label):
    assert "runs_on" in problem(fleet(f"devices:\n  t4: {{runs_on: {label!r}}}"))


def test_hosted_is_no_label_among_others(fleet):
    assert "hosted can't be combined" in problem(fleet("devices: {t4: {runs_on: [hosted, gpu]}}"))


@pytest.mark.parametrize("mark", [*"$`\\'\"{};&|*?#", "\n", "\t", "\x1b"])
def test_paths_hold_no_marks_of_a_shell(fleet, repository, mark):
    (repository / f"x{mark}y.onnx").touch()
    model = f"x{mark}y.onnx".encode("unicode_escape").decode().replace('"', '\\"')
    if mark == "\\":
        model = "x\\\\y.onnx"
    told = problem(fleet(f'models:\n  yolo: {{model: "{model}"}}\ndevices: {{t4: {{}}}}'))
    assert "has a mark" in told


@pytest.mark.parametrize(
    "install", ["[$(id)]", "['a;b']", "['${{ secrets.X }}']", "[]", "trtforge"]
)
def test_what_pip_installs_are_plain_words(fleet, install):
    assert "install" in problem(fleet(f"install: {install}\ndevices: {{t4: {{}}}}"))


def test_a_path_leaves_the_checkout(fleet, repository):
    (repository.parent / "secret.onnx").touch()
    (repository / "link.onnx").symlink_to(repository.parent / "secret.onnx")
    for path in ("../secret.onnx", "/etc/passwd", "link.onnx"):
        assert "what CI checks out" in problem(
            fleet(f"models:\n  yolo: {{model: {path}}}\ndevices: {{t4: {{}}}}")
        )


def test_a_path_that_is_not_there(fleet):
    assert "there is no" in problem(
        fleet("models:\n  yolo: {model: missing.onnx}\ndevices: {t4: {}}")
    )


def test_a_path_that_looks_like_an_option(fleet, repository):
    (repository / "--force").touch()
    assert "taken for an option" in problem(
        fleet("models:\n  yolo: {model: --force}\ndevices: {t4: {}}")
    )


def test_paths_are_relative_to_the_file_and_written_from_the_root(repository):
    (repository / "ci").mkdir()
    path = repository / "ci" / "fleet.yaml"
    path.write_text("models: {yolo: {model: ../yolo.onnx, calib: ../photos}}\ndevices: {t4: {}}")
    found = load(path).models["yolo"]
    assert (str(found.model), str(found.calib)) == ("yolo.onnx", "photos")


def test_a_recipe_names_the_model(fleet, repository):
    (repository / "mine.yaml").write_text("model: yolo.onnx\n")
    found = load(fleet("models: {yolo: {model: mine.yaml}}\ndevices: {t4: {}}")).models["yolo"]
    assert str(found.onnx) == "yolo.onnx"
    (repository / "mine.yaml").write_text("name: mine\n")
    assert "names no model" in problem(
        fleet("models: {yolo: {model: mine.yaml}}\ndevices: {t4: {}}")
    )
    (repository / "mine.yaml").write_text('model: "a model\'s $(id).onnx"\n')
    assert "has a mark" in problem(fleet("models: {yolo: {model: mine.yaml}}\ndevices: {t4: {}}"))


def test_faults_between_sections(fleet):
    told = problem(
        fleet(
            "precisions: [int8]\nmodels: {yolo: {model: yolo.onnx, max_latency: {t5: 5ms}}}\n"
            "devices: {t44: {}, cpu: {backend: tensorrt}}"
        )
    )
    for part in (
        "no device called 't44'",
        "does not build for a cpu",
        "needs photographs",
        "no device t5",
    ):
        assert part in told


def test_a_batch_that_yaml_reads_as_seconds(fleet):
    assert "quotes" in problem(fleet("devices: {t4: {batch: 1:8:16}}"))
    assert load(fleet('devices: {t4: {batch: "1:8:16"}}')).devices["t4"].batch == "1:8:16"
    assert load(fleet("devices: {t4: {batch: 8}}")).devices["t4"].batch == "8"


def test_the_documented_fleet_is_one(fleet, repository):
    text = (ROOT / "docs" / "fleet.md").read_text(encoding="utf-8")
    example = re.search(r"```yaml\n(.*?)```", text, re.S)
    for name in ("models/yolov8n.onnx", "models/coco.txt", "photos/x.jpg", "val/labels.json"):
        (repository / name).parent.mkdir(exist_ok=True)
        (repository / name).touch()
    jobs = plan(load(fleet(example[1]))).jobs
    assert [job.id for job in jobs] == [
        "yolo.orin-nx",
        "yolo.orin-nx-dla",
        "yolo.l4",
        "yolo.rtx-4090",
        "yolo.cpu",
    ]
