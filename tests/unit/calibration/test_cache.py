"""TensorRT's calibration cache."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from trtforge.calibration.cache import (
    ALGORITHMS,
    ZERO_RANGE,
    parse,
    render,
    round_range,
    version_number,
)
from trtforge.errors import ForgeError

HEADER = "TRT-8502-EntropyCalibration2\n"


def bits(value: float) -> str:
    return struct.pack(">f", value).hex()


def test_the_whole_text() -> None:
    text = render({"images": 127.0, "conv 1:0": 63.5}, "10.3.0")
    assert text == "TRT-100300-EntropyCalibration2\nimages: 3f800000\nconv 1:0: 3f000000\n"


def test_a_value_from_a_published_cache() -> None:
    """`images: 3c010a14` stands in NVIDIA's own examples: about 1/127, a range of 1."""
    found = parse("TRT-7000-EntropyCalibration2\nimages: 3c010a14\n")["images"]
    assert found == pytest.approx(127 * 0.0078759, rel=1e-5)
    assert render({"images": found}, "7.0.0").splitlines()[1] == "images: 3c010a14"


def test_a_cache_as_tensorrt_writes_it() -> None:
    """Layers without a name, a duplicate row of a fused layer, and zeros without leading ones."""
    text = (
        "TRT-8510-EntropyCalibration2\nx: 4000890a\n/conv1/Conv_output_0: 3f9db09c\n"
        "(Unnamed Layer* 8) [Constant]_output: 39137939\n(Unnamed Layer* 11) [Shuffle]_output: 0\n"
    )
    found = parse(text)
    assert found["x"] == pytest.approx(2.00836 * 127, rel=1e-5)
    assert list(found) == [
        "x",
        "/conv1/Conv_output_0",
        "(Unnamed Layer* 8) [Constant]_output",
        "(Unnamed Layer* 11) [Shuffle]_output",
    ]
    assert found["(Unnamed Layer* 11) [Shuffle]_output"] == 0.0


@pytest.mark.parametrize(
    "amax", [1.0, 127.0, 1e-30, 3e38, 0.1, 5.000001, *np.random.default_rng(0).lognormal(0, 5, 20)]
)
def test_scales_are_bit_exact(amax: float) -> None:
    text = render({"x": float(amax)}, "10.3.0")
    assert text.splitlines()[1] == f"x: {bits(float(amax) / 127)}"
    assert render(parse(text), "10.3.0") == text
    assert parse(text) == {"x": round_range(float(amax))}


def test_bits_are_big_endian() -> None:
    assert render({"x": 127 * 2.0**-8}, "10.3.0").endswith("x: 3b800000\n")


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "model.22/Conv:0",
        "a: b",
        "with space",
        "/model/0/act/Mul_output_0",
        "ünï",
        "a:",
        ": ",
        "x\u2028y",
    ],
)
def test_any_name_comes_back(name: str) -> None:
    assert list(parse(render({name: 127.0}, "10.3.0")).items()) == [(name, 127.0)]


@pytest.mark.parametrize("name", ["a\nb: 3f800000", "a\rb", "\n"])
def test_a_line_break_in_a_name_is_refused(name: str) -> None:
    with pytest.raises(ForgeError, match="can't hold the tensor name") as caught:
        render({name: 1.0}, "10.3.0")
    assert "\n" not in caught.value.problem


def test_the_order_stays() -> None:
    assert list(parse(render({"z": 1.0, "a": 2.0, "m": 3.0}, "8.5.2"))) == ["z", "a", "m"]


@pytest.mark.parametrize("amax", [0.0, 1e-46])
def test_a_tensor_that_was_always_zero_has_the_scale_that_qdq_gives_it(amax: float) -> None:
    """Left out, it would be computed in float: TensorRT takes no scale of 0."""
    from trtforge.graph.quantize.qdq import fp16_scale

    found = parse(render({"dead": amax, "b": 1.0}, "10.3.0"))
    assert found["dead"] == ZERO_RANGE
    assert found["dead"] / 127 == fp16_scale(0.0)


@pytest.mark.parametrize(
    "garbage", ["", "3f80000g", "3f8000000", "0x3f8000", "-1", "+1", "1_0", "3f 80", "nan"]
)
def test_what_is_no_scale_is_refused(garbage: str) -> None:
    with pytest.raises(ValueError, match="not a scale"):
        parse(f"{HEADER}x: {garbage}\n")


def test_rows_without_a_colon_are_skipped() -> None:
    assert parse(f"{HEADER}\ncomment\nx: 3f800000\n\n") == {"x": 127.0}


def test_windows_line_ends_are_read() -> None:
    assert parse("TRT-8502-EntropyCalibration2\r\nx: 3f800000\r\n") == {"x": 127.0}


@pytest.mark.parametrize(
    ("version", "number"),
    [
        ("8.5.2", 8502),
        ("8.6.1", 8601),
        ("8.5.0.12", 8500),
        ("7.0.0", 7000),
        ("5.1.0", 5100),
        ("10.3.0", 100300),
        ("10.16.1", 101601),
        ("10.3", 100300),
        ("10.3.0.26", 100300),
        ("10.6.0.post1", 100600),
        ("10.13.3.9.post1", 101303),
        ("10.3.post1", 100300),
    ],
)
def test_version_numbers(version: str, number: int) -> None:
    assert version_number(version) == number


@pytest.mark.parametrize(
    "version",
    [
        "",
        "ten",
        "10",
        "10.",
        "10.x",
        "10.3.0.26.1",
        "-8.5",
        "10.6.0.post",
        "10.6.0.dev1",
        "post1",
        "8,5",
        "٨.٥",
    ],
)
def test_what_is_no_version_is_refused(version: str) -> None:
    with pytest.raises(ForgeError, match="not a version of TensorRT"):
        version_number(version)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_algorithm_in_the_header(algorithm: str) -> None:
    assert render({}, "8.5.2", algorithm) == f"TRT-8502-{algorithm}\n"
