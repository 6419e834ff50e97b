"""Protobuf's text format, read back by protobuf."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import text_format

from tests.unit.deepstream.schema import parse
from trtforge.deepstream.format.quoted import quoted
from trtforge.deepstream.triton.text import Name, text


def test_every_kind_of_value() -> None:
    said = text(
        {
            "name": "m",
            "max_batch_size": 8,
            "input": [
                {
                    "name": "x",
                    "data_type": Name("TYPE_FP32"),
                    "dims": [3, -1, 640],
                    "format": Name("FORMAT_NCHW"),
                }
            ],
            "output": [{"name": "a", "dims": [1]}, {"name": "b", "dims": []}],
            "dynamic_batching": {"preferred_batch_size": [8], "max_queue_delay_microseconds": 0},
        }
    )
    found = parse("ModelConfig", said)
    assert (found.name, found.max_batch_size) == ("m", 8)
    assert (found.input[0].data_type, list(found.input[0].dims), found.input[0].format) == (
        11,
        [3, -1, 640],
        2,
    )
    assert [(each.name, list(each.dims)) for each in found.output] == [("a", [1]), ("b", [])]
    assert list(found.dynamic_batching.preferred_batch_size) == [8]
    assert found.dynamic_batching.max_queue_delay_microseconds == 0


@pytest.mark.parametrize("value", [1 / 255, 1.0, 1e-9, 123.675, 0.0])
def test_floats_keep_their_precision(value: float) -> None:
    found = parse(
        "ScaleNormalize", text({"scale_factor": value, "channel_offsets": [value, 2, 3.5]})
    )
    assert found.scale_factor == pytest.approx(value, rel=1e-7)
    assert list(found.channel_offsets) == pytest.approx([value, 2, 3.5], rel=1e-7)


def test_truth_and_empty_messages() -> None:
    found = parse(
        "PluginControl", text({"output_control": {"output_tensor_meta": True}, "input_control": {}})
    )
    assert found.output_control.output_tensor_meta is True
    assert found.HasField("input_control")
    assert not parse("OutputControl", text({"output_tensor_meta": False})).output_tensor_meta


@pytest.mark.parametrize(
    "name", ['a"b', "a\\b", "a\nb", "a\tb", "é犬", "??/", "} evil: 1", "\x00", "'", "a" * 300]
)
def test_names_of_tensors_may_be_anything(name: str) -> None:
    assert parse("ModelInput", text({"name": name})).name == name
    assert quoted(name).isascii()
    assert "\n" not in quoted(name)


@pytest.mark.parametrize(
    "message", [{"nonsense": 1}, {"platform": 3}, {"input": {"data_type": Name("FLOAT")}}]
)
def test_the_check_can_fail(message: Any) -> None:
    with pytest.raises(text_format.ParseError):
        parse("ModelConfig", text(message))


def test_two_of_one_choice_fail() -> None:
    both = {"grpc": {"url": "a:1"}, "model_repo": {"root": ["m"]}}
    with pytest.raises(text_format.ParseError):
        parse("TritonParams", text(both))
