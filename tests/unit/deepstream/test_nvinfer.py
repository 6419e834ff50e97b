"""nvinfer's configuration for every kind of network, read back by GLib and YAML."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from trtforge.deepstream.config.nvinfer import Network, Objects, Parser, config, engine_name
from trtforge.deepstream.format import keys
from trtforge.deepstream.format.config import write
from trtforge.errors import ForgeError
from trtforge.recipe import Preprocess

from .glib import read_ini, read_yaml

STOCK = Parser("NvDsInferParseCustomTfSSD")
MODEL = Network(
    kind="detector",
    onnx="m.onnx",
    labels="labels.txt",
    precision="fp32",
    batch=4,
    size=(480, 640),
    preprocess=Preprocess(),
    classes=80,
    parser=STOCK,
    score=0.25,
    deepstream="9.1",
)
OWN = Parser("NvDsInferParseMine", "libmine.so")
SECONDARY = Objects(gie=1, classes=(0, 2), smallest=(64, 48))

VARIANTS = {
    "plain": MODEL,
    "int8": replace(MODEL, precision="int8"),
    "int8 on an old one": replace(MODEL, precision="int8", deepstream="7.1"),
    "int8 by cache": replace(MODEL, cache="calibration.cache"),
    "int8 by cache, the rest fp32": replace(MODEL, cache="calibration.cache", rest="fp32", deepstream="6.3"),
    "raw heads, clustered by nvinfer": replace(MODEL, parser=replace(OWN, clustered=False), iou=0.6),
    "own parser": replace(MODEL, parser=OWN),
    "raw tensors": replace(MODEL, kind="tensors", classes=None, parser=None),
    "classifier": replace(MODEL, kind="classifier", parser=None, score=0.5),
    "secondary classifier": replace(MODEL, kind="classifier", parser=None, objects=SECONDARY, unique_id=2),
    "secondary detector": replace(MODEL, objects=Objects(), unique_id=7),
    "logits": replace(MODEL, kind="classifier", parser=None, logits=True),
    "segmentation": replace(MODEL, kind="segmentation", parser=None, classes=19),
    "segmentation, channels last": replace(MODEL, kind="segmentation", parser=None, classes=19, channels_last=True),
    "instance segmentation": replace(MODEL, kind="instance-segmentation", parser=OWN),
    "thresholds": replace(MODEL, thresholds={3: 0.5, 70: 0.9}),
    "grey": replace(MODEL, channels=1, preprocess=Preprocess(offsets=(9, 9, 9))),
    "offsets": replace(MODEL, preprocess=Preprocess(offsets=(103.53, 116.28, 123.675), scale=0.0174, color="bgr")),
    "stretched": replace(MODEL, preprocess=Preprocess(letterbox="none")),
    "padded": replace(MODEL, preprocess=Preprocess(padding=114)),
    "tiny scale": replace(MODEL, preprocess=Preprocess(scale=1e-9)),
    "whole scale": replace(MODEL, preprocess=Preprocess(scale=1.0)),
    "zero score": replace(MODEL, score=0.0),
    "strange name": replace(MODEL, onnx="../my models/käse: the best.onnx"),
}  # fmt: skip


def text(network: Network, dialect: str) -> str:
    sections, comments = config(network)
    return write(sections, dialect, comments)


def read(network: Network) -> dict[str, Any]:
    return read_ini(text(network, "ini"), keys.nvinfer)


def properties(network: Network) -> dict[str, Any]:
    found: dict[str, Any] = read(network)["property"]
    return found


@pytest.mark.parametrize("name", VARIANTS)
def test_glib_and_yaml_read_the_same_as_was_meant(name: str) -> None:
    sections, _ = config(VARIANTS[name])
    ini, yaml = read(VARIANTS[name]), read_yaml(text(VARIANTS[name], "yaml"), keys.nvinfer)
    assert ini == yaml
    assert {group: set(found) for group, found in ini.items()} == {
        group: set(each) for group, each in sections.items()
    }
    for group, found in ini.items():
        for key, value in found.items():
            want = sections[group][key]
            assert np.allclose(value, want, rtol=1e-9) if isinstance(want, float) else value == want


@pytest.mark.parametrize("name", VARIANTS)
def test_what_every_configuration_needs(name: str) -> None:
    found = properties(VARIANTS[name])
    assert found["gie-unique-id"] > 0
    assert found["infer-dims"][1:] == (480, 640)
    assert found["batch-size"] == 4
    assert "cluster-mode" in found or found["network-type"] in (1, 2)
    assert not any(
        found.get(key, "").startswith("/")
        for key in ("onnx-file", "model-engine-file", "labelfile-path")
    )


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("dialect", ["ini", "yaml"])
def test_lines_end_without_blanks(name: str, dialect: str) -> None:
    made = text(VARIANTS[name], dialect)
    assert made.endswith("\n")
    assert not any(line != line.rstrip() for line in made.splitlines())
    assert all(len(line) <= 200 for line in made.splitlines())


@pytest.mark.parametrize("name", VARIANTS)
def test_never_int8_without_a_cache(name: str) -> None:
    found = properties(VARIANTS[name])
    assert ("int8-calib-file" in found) == (found["network-mode"] in (1, 3))
    assert not (found.get("strongly-typed") and found["network-mode"])


@pytest.mark.parametrize(
    ("precision", "version", "typed"),
    [
        ("fp32", "9.1", False),
        ("fp16", "9.1", True),
        ("int8", "9.1", True),
        ("int8", "9.0", True),
        ("int8", "8.0", False),
        ("int8", "7.1", False),
        ("int8", "6.3.1", False),
        ("int8", "10", True),
        ("int8", "10.0", True),
        ("mixed", "9.1", True),
    ],
)
def test_a_typed_graph_is_built_by_deepstream_9_and_else_not_named(
    precision: str, version: str, typed: bool
) -> None:
    network = replace(MODEL, precision=precision, deepstream=version)
    found, comments = properties(network), " ".join(config(network)[1])
    old = precision != "fp32" and not typed
    assert found.get("strongly-typed", False) == typed
    assert ("onnx-file" in found) != old
    assert ("is not known to build" in comments) == old
    assert ("not FP32 inside" in comments) == (precision != "fp32")


@pytest.mark.parametrize(("rest", "mode", "name"), [("fp16", 3, "best"), ("fp32", 1, "int8")])
def test_int8_by_cache(rest: str, mode: int, name: str) -> None:
    network = replace(MODEL, cache="c.cache", rest=rest, deepstream="7.1")
    found = properties(network)
    assert (found["network-mode"], found["int8-calib-file"], found["onnx-file"]) == (
        mode,
        "c.cache",
        "m.onnx",
    )
    assert found["model-engine-file"] == f"m.onnx_b4_gpu0_{name}.engine"
    assert any("silently" in comment for comment in config(network)[1])


@pytest.mark.parametrize(
    ("letterbox", "want"),
    [("symmetric", (True, True)), ("top-left", (True, False)), ("none", (False, False))],
)
def test_letterbox(letterbox: Any, want: tuple[bool, bool]) -> None:
    found = properties(replace(MODEL, preprocess=Preprocess(letterbox=letterbox)))
    assert (found["maintain-aspect-ratio"], found["symmetric-padding"]) == want


@pytest.mark.parametrize(("color", "number"), [("rgb", 0), ("bgr", 1)])
def test_color(color: Any, number: int) -> None:
    assert (
        properties(replace(MODEL, preprocess=Preprocess(color=color)))["model-color-format"]
        == number
    )


def test_grey_images_have_one_channel_and_one_offset() -> None:
    found = properties(VARIANTS["grey"])
    assert (found["infer-dims"][0], found["model-color-format"], found["offsets"]) == (1, 2, (9.0,))
    with pytest.raises(ForgeError, match="different offsets"):
        config(replace(MODEL, channels=1, preprocess=Preprocess(offsets=(1, 2, 3))))


def test_offsets_only_where_there_are_some() -> None:
    assert "offsets" not in properties(MODEL)
    assert properties(VARIANTS["offsets"])["offsets"] == (103.53, 116.28, 123.675)


@pytest.mark.parametrize("scale", [1 / 255, 1.0, 0.0174, 1e-9, 1 / 3, 12345.678])
def test_the_scale_survives_as_float32(scale: float) -> None:
    found = properties(replace(MODEL, preprocess=Preprocess(scale=scale)))
    assert np.float32(found["net-scale-factor"]) == np.float32(scale)


def test_a_detector() -> None:
    found = properties(MODEL)
    assert (found["network-type"], found["num-detected-classes"], found["labelfile-path"]) == (
        0,
        80,
        "labels.txt",
    )
    assert (found["parse-bbox-func-name"], found["cluster-mode"]) == (STOCK.function, 4)
    assert found["custom-lib-path"] == STOCK.library
    assert "output-tensor-meta" not in found


@pytest.mark.parametrize(("version", "known"), [("9.1", True), ("6.4", True), ("6.3", False)])
def test_objects_are_cropped_to_the_frame_where_deepstream_can(version: str, known: bool) -> None:
    assert (
        properties(replace(MODEL, deepstream=version)).get("crop-objects-to-roi-boundary", False)
        == known
    )


def test_raw_heads_are_clustered_by_nvinfer() -> None:
    found = read(VARIANTS["raw heads, clustered by nvinfer"])
    assert found["property"]["cluster-mode"] == 2
    assert found["class-attrs-all"] == {"pre-cluster-threshold": 0.25, "nms-iou-threshold": 0.6}


def test_raw_tensors() -> None:
    found = read(VARIANTS["raw tensors"])
    assert (found["property"]["network-type"], found["property"]["output-tensor-meta"]) == (
        100,
        True,
    )
    assert not {"num-detected-classes", "labelfile-path", "parse-bbox-func-name"} & set(
        found["property"]
    )
    assert "class-attrs-all" not in found


def test_a_secondary_network() -> None:
    found = properties(VARIANTS["secondary classifier"])
    assert (found["process-mode"], found["operate-on-gie-id"], found["operate-on-class-ids"]) == (
        2,
        1,
        (0, 2),
    )
    assert (found["input-object-min-width"], found["input-object-min-height"]) == (64, 48)
    assert (found["gie-unique-id"], found["network-type"], found["classifier-threshold"]) == (
        2,
        1,
        0.25,
    )


def test_segmentation_needs_its_classes() -> None:
    found = properties(VARIANTS["segmentation, channels last"])
    assert (
        found["network-type"],
        found["num-detected-classes"],
        found["segmentation-output-order"],
    ) == (2, 19, 1)


def test_instance_segmentation() -> None:
    found = properties(VARIANTS["instance segmentation"])
    assert (found["network-type"], found["cluster-mode"], found["output-instance-mask"]) == (
        3,
        4,
        True,
    )
    assert found["parse-bbox-instance-mask-func-name"] == "NvDsInferParseMine"
    with pytest.raises(ForgeError, match="no parser"):
        config(replace(MODEL, kind="instance-segmentation", parser=None))


def test_thresholds_of_classes_stand_above_the_one_for_all() -> None:
    found = read(VARIANTS["thresholds"])
    assert found["class-attrs-3"] == {"pre-cluster-threshold": 0.5}
    with pytest.raises(ForgeError, match=r"0\.1: the graph itself drops"):
        config(replace(MODEL, thresholds={3: 0.1}))


@pytest.mark.parametrize(("score", "least"), [(0.25, 0.25), (0.0, 0.001), (0.9, 0.9)])
def test_the_threshold_drops_rows_that_hold_nothing(score: float, least: float) -> None:
    assert read(replace(MODEL, score=score))["class-attrs-all"] == {"pre-cluster-threshold": least}


def test_other_padding_is_told() -> None:
    assert any("114" in comment for comment in config(VARIANTS["padded"])[1])
    assert not any("pads" in comment for comment in config(MODEL)[1])


@pytest.mark.parametrize(
    ("mode", "name"),
    [("fp32", "m.onnx_b4_gpu0_fp32.engine"), ("int8", "m.onnx_b4_gpu0_int8.engine")],
)
def test_engine_name(mode: str, name: str) -> None:
    assert engine_name("m.onnx", 4, mode) == name


def test_a_deviation_for_each_channel_must_be_in_the_graph() -> None:
    with pytest.raises(ForgeError, match="one scale for all channels"):
        config(replace(MODEL, preprocess=Preprocess(std=(0.229, 0.224, 0.225))))
