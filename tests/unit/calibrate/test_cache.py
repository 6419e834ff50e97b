"""TensorRT's calibration cache."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from trtforge.calibrate.cache import read, version_number, write


def bits(value: float) -> str:
    return struct.pack(">f", value).hex()


def test_the_whole_text() -> None:
    text = write({"images": 127.0, "conv 1:0": 63.5, "dead": 0.0}, "entropy", "10.3.0")
    assert text == "TRT-100300-EntropyCalibration2\nimages: 3f800000\nconv 1:0: 3f000000\n"


def test_a_value_from_a_published_cache() -> None:
    """`images: 3c010a14` stands in NVIDIA's own examples: about 1/127, a range of 1."""
    found = read("TRT-7000-EntropyCalibration2\nimages: 3c010a14\n")["images"]
    assert found == pytest.approx(127 * 0.0078759, rel=1e-5)
    assert write({"images": found}, "entropy", "7.0.0").splitlines()[1] == "images: 3c010a14"


@pytest.mark.parametrize(
    "amax", [1.0, 127.0, 1e-30, 3e38, 0.1, 5.000001, *np.random.default_rng(0).lognormal(0, 5, 20)]
)
def test_scales_are_bit_exact(amax: float) -> None:
    row = write({"x": float(amax)}, "entropy", "10.3.0").splitlines()[1]
    assert row == f"x: {bits(float(amax) / 127)}"
    again = write(read(f"header\n{row}\n"), "entropy", "10.3.0").splitlines()[1]
    assert again == row


@pytest.mark.parametrize(
    "name", ["a", "model.22/Conv:0", "a: b", "with space", "/model/0/act/Mul_output_0", "ünï", "a:"]
)
def test_any_name_comes_back(name: str) -> None:
    assert list(read(write({name: 127.0}, "entropy", "10.3.0")).items()) == [(name, 127.0)]


def test_the_order_stays() -> None:
    amax = {"z": 1.0, "a": 2.0, "m": 3.0}
    assert list(read(write(amax, "minmax", "8.5.2"))) == ["z", "a", "m"]


def test_zero_ranges_are_left_out() -> None:
    assert read(write({"a": 0.0, "b": 1.0}, "entropy", "10.3.0")).keys() == {"b"}


def test_the_smallest_range_does_not_become_zero() -> None:
    assert all(value > 0 for value in read(write({"a": 1e-44}, "entropy", "10.3.0")).values())


@pytest.mark.parametrize(
    ("version", "number"),
    [
        ("8.5.2", 8502), ("8.6.1", 8601), ("8.5.0.12", 8500), ("7.0.0", 7000), ("5.1.0", 5100), ("10.3.0", 100300),
        ("10.16.1", 101601), ("10.3", 100300), ("10.3.0.26", 100300),
    ],
)  # fmt: skip
def test_version_numbers(version: str, number: int) -> None:
    assert version_number(version) == number


@pytest.mark.parametrize(
    ("method", "algorithm"),
    [("entropy", "EntropyCalibration2"), ("percentile", "EntropyCalibration2"), ("minmax", "MinMaxCalibration")],
)
def test_the_algorithm_in_the_header(method: str, algorithm: str) -> None:
    assert write({}, method, "8.5.2") == f"TRT-8502-{algorithm}\n"


def test_windows_line_ends_are_read() -> None:
    assert read("TRT-8502-EntropyCalibration2\r\nx: 3f800000\r\n") == {"x": 127.0}
