"""What exporters write, and what is made of it."""

from __future__ import annotations

import math

import pytest

from trtforge.metadata import Entry, Metadata, Normalization, parse
from trtforge.metadata.dialects import OWN
from trtforge.recipe import Preprocess

ULTRALYTICS = {
    "description": "a small detector",
    "stride": "32",
    "task": "detect",
    "head": "Detect",
    "batch": "1",
    "imgsz": "[320, 640]",
    "names": "{0: 'anvil', 1: 'barrel'}",
    "args": "{'dynamic': True}",
    "channels": "3",
    "end2end": "False",
}
MODEL_API = {
    "model_info labels": "cat hot_dog",
    "model_info task_type": "detection",
    "model_info mean_values": "123.675 116.28 103.53",
    "model_info scale_values": "58.395 57.12 57.375",
    "model_info resize_type": "fit_to_window_letterbox",
    "model_info reverse_input_channels": "False",
}


def test_nothing() -> None:
    assert parse({}) == parse({"author": "somebody", "labels": "see the manual"}) == Metadata()
    assert parse({"names": "", "imgsz": "None"}) == Metadata()


@pytest.mark.parametrize(
    "texts",
    [{"names": "see the manual"}, {"imgsz": "[1, 3, 64, 64]"}, {"batch": "-1"}, {OWN: "{}}"}],
)
def test_what_can_not_be_read(texts: dict[str, str]) -> None:
    assert parse(texts) == Metadata(unread=tuple(texts))


def test_ultralytics() -> None:
    assert parse(ULTRALYTICS) == Metadata(
        names=Entry(("anvil", "barrel"), "names"),
        size=Entry((320, 640), "imgsz"),
        task=Entry("detect", "task"),
        batch=Entry(1, "batch"),
        channels=Entry(3, "channels"),
        stride=Entry(32, "stride"),
        end2end=Entry(False, "end2end"),
        normalization=Entry(Normalization(), "task"),
        letterbox=Entry("symmetric", "head"),
    )


@pytest.mark.parametrize(
    ("changes", "letterbox"),
    [
        ({"head": "RTDETRDecoder"}, Entry("none", "head")),
        ({"head": ""}, None),
        ({"task": "classify"}, Entry("none", "task")),
        ({"task": "depth"}, Entry("none", "task")),
        ({"task": "obb"}, Entry("symmetric", "head")),
    ],
)
def test_where_ultralytics_stretches(changes: dict[str, str], letterbox: Entry[str] | None) -> None:
    assert parse(ULTRALYTICS | changes).letterbox == letterbox


def test_older_yolo() -> None:
    found = parse({"stride": "32", "names": "['cat', 'dog']"})
    assert found.names == Entry(("cat", "dog"), "names")
    assert found.normalization is found.letterbox is found.task is None


def test_model_api() -> None:
    found = parse(MODEL_API)
    assert found.names == Entry(("cat", "hot dog"), "model_info labels")
    assert found.task == Entry("detect", "model_info task_type")
    assert (found.color, found.letterbox) == (
        Entry("bgr", "model_info reverse_input_channels"),
        Entry("symmetric", "model_info resize_type"),
    )
    assert found.normalization is not None
    steps = found.normalization.value
    assert steps.std == pytest.approx((0.229, 0.224, 0.225))
    assert (steps.scale, steps.offsets) == (1 / 255, (123.675, 116.28, 103.53))


def test_model_api_with_one_scale_or_with_all_inside() -> None:
    one = parse({"model_info scale_values": "255"}).normalization
    assert one is not None
    assert one.value == Normalization()
    inside = MODEL_API | {"model_info embedded_processing": "True"}
    assert parse(inside).normalization is None


def test_deepness() -> None:
    found = parse(
        {
            "model_type": '"Segmentor"',
            "class_names": '{"0": "background", "1": "field"}',
            "standardization_mean": "[0.5, 0.5, 0.5]",
            "standardization_std": "[0.5, 0.5, 0.5]",
        }
    )
    assert found.names == Entry(("background", "field"), "class_names")
    assert found.task == Entry("semantic", "model_type")
    assert found.normalization is not None
    assert found.normalization.value == Normalization(1 / 127.5, (127.5, 127.5, 127.5))


def test_onnx_own_keys_in_any_case() -> None:
    found = parse({"image.BitmapPixelFormat": "BGR8", "Image.NominalPixelRange": "Normalized_1_1"})
    assert found.color is not None
    assert found.color.value == "bgr"
    assert found.normalization is not None
    assert math.isclose(found.normalization.value.scale, 1 / 127.5)


def test_a_configuration_inside() -> None:
    found = parse({"config": '{"id2label": {"0": "a", "1": "b"}, "image_size": 224}'})
    assert found.names == Entry(("a", "b"), "config.id2label")
    assert found.size == Entry((224, 224), "config.image_size")


def test_dictionaries() -> None:
    found = parse({"character": "text\ntitle\nfigure"})
    assert found.names == Entry(("text", "title", "figure"), "character")
    assert found.characters == Entry(("text", "title", "figure"), "character")


def test_our_own_key_stands_above_all() -> None:
    spec = Preprocess(scale=0.5, offsets=(1.0, 2.0, 3.0), color="rgb", letterbox="top-left")
    found = parse(MODEL_API | {OWN: spec.model_dump_json()})
    assert found.normalization == Entry(Normalization(0.5, (1.0, 2.0, 3.0)), OWN)
    assert (found.color, found.letterbox) == (Entry("rgb", OWN), Entry("top-left", OWN))
    assert parse({OWN: '{"scale": -1}'}) == Metadata(unread=(OWN,))


@pytest.mark.parametrize(
    "texts",
    [
        {"mean": "[0.5, 0.5]", "std": "[1, 1, 1]"},
        {"mean": "[0.5, 0.5, 0.5]", "std": "[0, 1, 1]"},
        {"mean": "[900, 900, 900]", "std": "[1, 1, 1]"},
        {"model_info scale_values": "0"},
        {"model_info mean_values": "-1 0 0"},
    ],
)
def test_steps_that_no_pixel_can_take(texts: dict[str, str]) -> None:
    assert parse(texts).normalization is None


def test_libreyolo_names_the_family_alone() -> None:
    texts = {"libreyolo_version": "1.6.0", "model_family": "rtmdet", "task": "detect"}
    found = parse(texts)
    assert found.color == Entry("bgr", "model_family")
    assert found.letterbox == Entry("top-left", "model_family")
    assert found.normalization is not None
    assert found.normalization.value.offsets == (103.53, 116.28, 123.675)
    nine = parse(texts | {"model_family": "yolo9", "letterbox_pad": "center"})
    assert nine.letterbox == Entry("symmetric", "model_family")
    for changes in ({"model_family": "unknown"}, {"task": "classify"}):
        other = parse(texts | changes)
        assert (other.normalization, other.color, other.letterbox) == (None, None, None)
    assert parse({"model_family": "rtmdet"}).normalization is None
