"""doctor, devices and clean on the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from trtforge import devices
from trtforge.cli import app
from trtforge.devices import catalogue
from trtforge.devices import file as device_file
from trtforge.errors import ForgeError
from trtforge.store import NOTHING, Nothing, Stage, Store

from .doctor import roots

OWN = """
orin-nx-jp6:
  {like: orin-nx, title: Our older cameras, jetpack: "6.1", deepstream: "7.1", tensorrt: "10.3", cuda: "12.6"}
"""


def run(*words: str | Path) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The user's device file, to be written by the test."""
    file = tmp_path / "devices.yaml"
    monkeypatch.setenv("TRTFORGE_DEVICES", str(file))
    catalogue.cache_clear()
    yield file
    catalogue.cache_clear()


# ---------------------------------------------------------------------------------------------------------------
# doctor


def test_doctor(tmp_path: Path) -> None:
    root = roots.jetson(tmp_path / "root")
    done = run("doctor", "--root", root)
    assert done.exit_code == 0, done.output
    assert "ok     build orin-nx  with TensorRT 10.16.2.10, here" in done.stdout


def test_doctor_when_something_is_missing(tmp_path: Path) -> None:
    root = roots.jetson(tmp_path / "root")
    done = run("doctor", "--root", root, "--device", "thor", "--json")
    assert done.exit_code == 3
    told = json.loads(done.stdout)
    assert (told["ok"], told["device"], told["machine"]["l4t"]) == (False, "thor", "39.2.0")
    assert [each["fix"] for each in told["findings"] if each["state"] == "wrong"] == [
        "trtforge prepare MODEL.onnx --device thor"
    ]
    assert "build thor" in done.stderr


def test_doctor_on_this_machine() -> None:
    done = run("doctor", "--json")
    told = json.loads(done.stdout)
    assert done.exit_code == (0 if told["ok"] else 3)
    assert told["machine"]["onnxruntime"]["version"]


def test_doctor_of_nothing(tmp_path: Path) -> None:
    assert run("doctor", "--root", tmp_path / "none").exit_code == 2
    assert run("doctor", "--device", "orin-mx").exit_code == 2


# --------------------------------------------------------------------------------------------------------------
# devices


def test_devices_that_words_fit() -> None:
    def names(*words: str) -> set[str]:
        return {each["name"] for each in json.loads(run("devices", *words, "--json").stdout)}

    assert names() == set(catalogue())
    assert names("jetson", "dla") == {"xavier-nx", "orin-nx", "agx-orin"}
    assert names("SM89", "datacenter") == {"l4", "l40s"}
    assert names("fp4", "rtx") == {"rtx-5090", "rtx-pro-6000", "gb10"}
    assert names("Orin N") == {"orin-nano", "orin-nx"}
    assert names("aarch64", "workstation") == {"gb10"}
    assert run("devices", "jetson", "fp9").exit_code == 2


def test_detect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "this_machine", lambda: catalogue()["l4"])
    assert [each["name"] for each in json.loads(run("devices", "--detect", "--json").stdout)] == [
        "l4"
    ]
    monkeypatch.setattr(devices, "this_machine", lambda: None)
    assert run("devices", "--detect").exit_code == 3


def test_a_users_own_device(own: Path) -> None:
    own.write_text(OWN)
    done = run("devices", "our older", "--json")
    assert done.exit_code == 0, done.output
    this, like = json.loads(done.stdout)[0], catalogue()["orin-nx"]
    assert (this["name"], this["jetpack"], this["ci_label"]) == (
        "orin-nx-jp6",
        "6.1",
        "gpu-orin-nx-jp6",
    )
    assert (this["compute_capability"], tuple(this["gpu_names"])) == (
        like.compute_capability,
        like.gpu_names,
    )
    # What a user says of a GPU goes before the catalogue.
    assert devices.identify(["NVIDIA Orin NX Developer Kit"], ()) is catalogue()["orin-nx-jp6"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("orin-nx: {like: agx-orin}", "orin-nx: trtforge has a device of that name"),
        ("mine: {like: orin-mx}", "device mine: like: there is no device called 'orin-mx'"),
        (
            "mine: {like: orin-nx, jetpak: '6'}",
            "unknown key 'mine.jetpak' (did you mean 'jetpack'?)",
        ),
        ("mine: {like: xavier-nx, precisions: [fp8]}", "SM72 has no fp8"),
        ("mine: {like: [a]}", "devices.yaml:1: mine.like: input should be"),
        ("mine: {title: Mine}", "missing: kind"),
        ("mine: [", "not YAML"),
    ],
)
def test_wrong_device_file(own: Path, text: str, said: str) -> None:
    own.write_text(text)
    done = run("devices")
    assert done.exit_code == 2
    assert str(own) in done.stderr and said in done.stderr


def test_device_file_that_cannot_be_read(own: Path) -> None:
    with pytest.raises(ForgeError, match="can't be read"):
        device_file.load()
    own.write_bytes(b"\xff\xfe")
    assert run("devices").exit_code == 2


def test_the_usual_place_of_the_device_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRTFORGE_DEVICES", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert device_file.users_file() is None
    (tmp_path / "trtforge").mkdir()
    (tmp_path / "trtforge/devices.yaml").write_text(OWN)
    assert next(iter(device_file.load())) == "orin-nx-jp6"


# ----------------------------------------------------------------------------------------------------------------
# clean


def test_clean(store_root: Path) -> None:
    def write(draft: Path, inputs: Nothing, options: Nothing) -> Nothing:
        (draft / "data").write_bytes(b"x" * 1000)
        return NOTHING

    stage = Stage("fold", 1, (), write, Nothing)
    folder = Store(store_root).run(stage, NOTHING, NOTHING).folder
    assert run("clean", "--older-than", "1h").stdout.startswith("deleted: 0 entries")
    dry = run("clean", "--older-than", "1ms", "--dry-run", "--json")
    assert folder.exists() and json.loads(dry.stdout)["gone"][0]["path"] == str(folder)
    assert "deleted: 1 entries" in run("clean", "--older-than", "1ms").stdout
    assert not folder.exists()


@pytest.mark.parametrize(
    "words", [[], ["--older-than", "soon"], ["--max-size", "big"], ["--older-than", "0d"]]
)
def test_clean_says_what_it_does_not_understand(words: list[str]) -> None:
    assert run("clean", *words).exit_code == 2
