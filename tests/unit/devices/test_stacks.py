"""Versions that belong together, and the image to build in."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from trtforge.devices import Device, catalogue, device, stacks
from trtforge.devices.file import parse
from trtforge.devices.image import base, main
from trtforge.devices.stacks import Stack, stack
from trtforge.errors import MachineError

ROOT = Path(__file__).parents[3]
OLDER = """
nx-jp6: {like: orin-nx, jetpack: "6.1", deepstream: "7.1", tensorrt: "10.3", cuda: "12.6"}
nx-follows: {like: orin-nx, jetpack: "6.1", deepstream: "7.1"}
nx-jp60: {like: orin-nx, jetpack: "6.0", deepstream: "7.0"}
nx-odd: {like: orin-nx, deepstream: "9.0"}
"""


@pytest.mark.parametrize("name", catalogue())
def test_a_device_has_a_row_that_says_the_same(name: str) -> None:
    this = device(name)
    row = stack(this)
    assert row is not None
    assert (row.tensorrt, row.cuda, row.jetpack) == (this.tensorrt, this.cuda, this.jetpack)


@pytest.mark.parametrize("row", stacks.stacks(), ids=lambda row: f"{row.family}-{row.deepstream}")
def test_row(row: Stack) -> None:
    assert row.jetpack is None or row.family == "jetson"
    assert row.source and all(page.startswith("https://") for page in row.source)
    assert row.read >= date(2026, 11, 1)


@pytest.mark.parametrize(
    ("deepstream", "tensorrt"),
    [
        ("9.2", ("10.16",)),
        ("9.1", ("10.16",)),
        ("9.0", ("10.14", "10.13")),  # x86-64, and Jetson
        ("9", ("10.14", "10.13")),
        ("8", ("10.9", "10.13")),
        ("7.1", ("10.3",)),
        ("7.1.1", ("10.3",)),
        ("7.0", ("8.6",)),
        ("6.3", ("8.5",)),
        ("6.1", ("8.2",)),
        ("6.1.1", ("8.4",)),
        ("4.0", ()),
    ],
)
def test_tensorrt_of_each_deepstream(deepstream: str, tensorrt: tuple[str, ...]) -> None:
    assert stacks.tensorrts(deepstream) == tensorrt


@pytest.mark.parametrize(
    ("deepstream", "name", "tensorrt"),
    [
        ("7.1", "l4", "10.3"),
        ("9.1", "l4", "10.16"),
        ("6.3", "l4", "8.5.3"),
        ("6.3", "xavier-nx", "8.5.2"),
        ("6.2", "orin-nx", "8.5.2"),
        ("9.2", "orin-nx", "10.16.1"),
        ("9", "orin-nx", "10.13"),
        ("9.0", "l4", "10.14"),
        ("8.0", "orin-nx", "10.13.2"),
        ("4.0", "xavier-nx", "8.5.2"),  # unknown: the device's own
        ("4.0", None, "10.16"),  # unknown: the default DeepStream's
    ],
)
def test_tensorrt_in_a_cache_for(deepstream: str, name: str | None, tensorrt: str) -> None:
    target = device(name) if name else None
    assert stacks.tensorrt_for(deepstream, target) == tensorrt


def test_what_a_deepstream_cannot_load() -> None:
    assert stacks.mismatch("9.1", "10.16.1") == ""
    assert stacks.mismatch("8", "10.13.3.9.post1") == ""
    assert "TensorRT 10.9 or 10.13, not of 10.3.0" in stacks.mismatch("8", "10.3.0")
    assert "TensorRT 10.16, not of 11.4.0.106" in stacks.mismatch("9.1", "11.4.0.106")
    assert "not of 10.1.0" in stacks.mismatch("9.1", "10.1.0")
    assert stacks.mismatch("6.3.1", "8.5.2") == ""
    assert "known are 9.2, 9.1" in stacks.mismatch("4.0", "10.3")


def test_no_two_rows_for_one_device() -> None:
    keys = [(row.family, row.deepstream, row.jetpack) for row in stacks.stacks()]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("orin-nx", "nvcr.io/nvidia/deepstream:9.1-samples-multiarch"),
        ("l4", "nvcr.io/nvidia/deepstream:9.1-samples-multiarch"),
        ("gb10", "nvcr.io/nvidia/deepstream:9.1-triton-sbsa-dgx-spark"),
    ],
)
def test_image(name: str, image: str) -> None:
    chosen, why = base(device(name))
    assert chosen == image
    assert "DeepStream 9.1, TensorRT 10.16, CUDA 13.2" in why[0]


def test_image_without_deepstream() -> None:
    assert base(device("l4"), "tensorrt")[0] == "nvcr.io/nvidia/tensorrt:26.04-py3"
    with pytest.raises(MachineError) as caught:
        base(device("orin-nx"), "tensorrt")
    assert "HOLDS=deepstream" in caught.value.hint


def own(name: str) -> Device:
    return parse(OLDER, "mine.yaml", catalogue())[name]


def test_image_of_a_users_own_device() -> None:
    assert base(own("nx-jp6"))[0] == "nvcr.io/nvidia/deepstream:7.1-samples-multiarch"
    assert base(own("nx-jp6"), "tensorrt")[0] == "nvcr.io/nvidia/l4t-tensorrt:r10.3.0-devel"


def test_tensorrt_and_cuda_follow_from_deepstream_and_jetpack() -> None:
    follows, odd = own("nx-follows"), own("nx-odd")
    assert (follows.tensorrt, follows.cuda) == ("10.3", "12.6")
    assert (own("nx-jp60").tensorrt, own("nx-jp60").cuda) == ("8.6.2", "12.2")
    assert (odd.tensorrt, odd.cuda) == (None, None)  # no row for JetPack 7.2 with DeepStream 9.0


def test_no_image() -> None:
    with pytest.raises(MachineError, match=r"ends at TensorRT 8\.5\.2") as caught:
        base(device("xavier-nx"))
    assert "trtforge prepare ... --device xavier-nx" in caught.value.hint
    with pytest.raises(MachineError, match="no image with deepstream is known") as caught:
        base(own("nx-odd"))
    assert "--build-arg BASE=" in caught.value.hint


def test_what_make_image_reads(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["orin-nx"]) == 0
    told = capsys.readouterr()
    assert told.out == "nvcr.io/nvidia/deepstream:9.1-samples-multiarch linux/arm64\n"
    assert "JetPack 7.2" in told.err and "https://" in told.err
    assert main(["l4", "tensorrt"]) == 0
    assert capsys.readouterr().out == "nvcr.io/nvidia/tensorrt:26.04-py3 linux/amd64\n"
    assert (main(["xavier-nx"]), main(["orin-mx"]), main([]), main(["l4", "cuda"])) == (3, 2, 2, 2)


def test_the_dockerfile_names_images_of_the_table() -> None:
    known = {image for row in stacks.stacks() for _, image in row.images if image}
    words = (ROOT / "Dockerfile").read_text("utf-8").replace(",", " ").split()
    named = {word.removeprefix("BASE=") for word in words if "nvcr.io/" in word}
    assert named and named <= known
