"""nvinfer's configuration, read back by the rules of its two parsers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from trtforge.deepstream import app
from trtforge.deepstream.nvinfer import Config, Primary, config, engine_name, ini, yaml
from trtforge.recipe import Preprocess

INTEGERS = {
    "gpu-id", "gie-unique-id", "batch-size", "network-mode", "model-color-format", "scaling-filter", "process-mode",
    "network-type", "num-detected-classes", "cluster-mode",
}  # fmt: skip
BOOLEANS = {"strongly-typed", "maintain-aspect-ratio", "symmetric-padding", "output-tensor-meta",
            "crop-objects-to-roi-boundary"}  # fmt: skip
FLOATS = {"net-scale-factor", "pre-cluster-threshold"}
LISTS = {"infer-dims": int, "offsets": float}
STRINGS = {"onnx-file", "model-engine-file", "labelfile-path", "parse-bbox-func-name", "custom-lib-path"}

MODEL = Primary(
    onnx="m.onnx", labels="labels.txt", precision="fp32", batch=4, size=(480, 640), preprocess=Preprocess(), classes=80,
    parser="NvDsInferParseCustomEfficientNMS", score=0.25, deepstream="9.1",
)  # fmt: skip

VARIANTS = {
    "plain": MODEL,
    "int8": replace(MODEL, precision="int8"),
    "int8 on an old one": replace(MODEL, precision="int8", deepstream="7.1"),
    "raw tensors": replace(MODEL, parser=None),
    "classifier": replace(MODEL, classes=None),
    "offsets": replace(MODEL, preprocess=Preprocess(offsets=(103.53, 116.28, 123.675), scale=0.0174, color="bgr")),
    "stretched": replace(MODEL, preprocess=Preprocess(letterbox="none")),
    "padded": replace(MODEL, preprocess=Preprocess(padding=114)),
    "tiny scale": replace(MODEL, preprocess=Preprocess(scale=1e-9)),
    "whole scale": replace(MODEL, preprocess=Preprocess(scale=1.0)),
    "zero score": replace(MODEL, score=0.0),
}


def typed(key: str, text: str) -> Any:
    """A value as nvinfer's parsers take it; a key that they don't know is an error."""
    assert text == text.strip()
    assert text
    if key in BOOLEANS:
        assert text in ("0", "1")  # the YAML parser takes nothing else
        return bool(int(text))
    if key in INTEGERS:
        return int(text)
    if key in FLOATS:
        return float(text)
    if key in LISTS:
        assert "," not in text
        assert "[" not in text
        return [LISTS[key](item) for item in text.split(";")]
    assert key in STRINGS, f"unknown key {key}"
    assert not any(mark in text for mark in "#;:")
    return text


def read_ini(text: str) -> dict[str, dict[str, Any]]:
    """A GLib key file: '#' comments, groups, key=value, nothing else."""
    found: dict[str, dict[str, Any]] = {}
    group: dict[str, Any] | None = None
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            assert line.endswith("]")
            group = found.setdefault(line[1:-1], {})
            continue
        key, equals, value = line.partition("=")
        assert equals
        assert group is not None
        assert key == key.strip()
        assert key not in group
        group[key] = typed(key, value)
    return found


def read_yaml(text: str) -> dict[str, dict[str, Any]]:
    """YAML by a real parser without types, as yaml-cpp hands out text: every value must be a scalar."""
    import yaml as pyyaml

    document = pyyaml.load(text, Loader=pyyaml.BaseLoader)
    for keys in document.values():
        assert all(isinstance(value, str) for value in keys.values())
    return {group: {key: typed(key, value) for key, value in keys.items()} for group, keys in document.items()}


def properties(model: Primary) -> dict[str, Any]:
    return read_ini(ini(*config(model)))["property"]


@pytest.mark.parametrize("name", VARIANTS)
def test_both_dialects_say_the_same(name: str) -> None:
    sections, comments = config(VARIANTS[name])
    assert read_ini(ini(sections, comments)) == read_yaml(yaml(sections, comments))


@pytest.mark.parametrize("name", VARIANTS)
def test_what_every_configuration_needs(name: str) -> None:
    found = properties(VARIANTS[name])
    assert found["gie-unique-id"] > 0
    assert found["network-mode"] == 0
    assert found["cluster-mode"] == 4
    assert found["infer-dims"] == [3, 480, 640]
    assert found["batch-size"] == 4
    assert not any(found[key].startswith("/") for key in ("onnx-file", "model-engine-file"))


@pytest.mark.parametrize("name", VARIANTS)
def test_only_groups_that_nvinfer_reads(name: str) -> None:
    assert set(config(VARIANTS[name])[0]) <= {"property", "class-attrs-all"}


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("dialect", [ini, yaml])
def test_the_text_is_ascii_lines_that_end(name: str, dialect: Any) -> None:
    text = dialect(*config(VARIANTS[name]))
    assert text.isascii()
    assert text.endswith("\n")
    assert not any(line != line.rstrip() for line in text.splitlines())


@pytest.mark.parametrize(
    ("precision", "version", "typed"),
    [
        ("fp32", "9.1", False), ("fp16", "9.1", True), ("int8", "9.1", True), ("int8", "9.0", True),
        ("int8", "8.0", False), ("int8", "7.1", False), ("int8", "6.3.1", False), ("int8", "10", True),
        ("int8", "10.0", True),
    ],
)  # fmt: skip
def test_strongly_typed_only_where_it_is_known(precision: str, version: str, typed: bool) -> None:
    model = replace(MODEL, precision=precision, deepstream=version)
    assert ("strongly-typed" in properties(model)) == typed
    comments = " ".join(config(model)[1])
    assert ("can't build a strongly typed" in comments) == (precision != "fp32" and not typed)


@pytest.mark.parametrize(
    ("letterbox", "want"), [("symmetric", (True, True)), ("top-left", (True, False)), ("none", (False, False))]
)
def test_letterbox(letterbox: Any, want: tuple[bool, bool]) -> None:
    found = properties(replace(MODEL, preprocess=Preprocess(letterbox=letterbox)))
    assert (found["maintain-aspect-ratio"], found["symmetric-padding"]) == want


@pytest.mark.parametrize(("color", "number"), [("rgb", 0), ("bgr", 1)])
def test_color(color: Any, number: int) -> None:
    assert properties(replace(MODEL, preprocess=Preprocess(color=color)))["model-color-format"] == number


@pytest.mark.parametrize(("version", "known"), [("9.1", True), ("6.4", True), ("6.3", False), ("5.1", False)])
def test_objects_are_cut_to_the_frame_where_nvinfer_can(version: str, known: bool) -> None:
    """It drops those that reach below the frame otherwise."""
    assert ("crop-objects-to-roi-boundary" in properties(replace(MODEL, deepstream=version))) == known


def test_offsets_only_where_there_are_some() -> None:
    assert "offsets" not in properties(MODEL)
    assert properties(VARIANTS["offsets"])["offsets"] == [103.53, 116.28, 123.675]


@pytest.mark.parametrize("scale", [1 / 255, 1.0, 0.0174, 1e-9, 1 / 3, 12345.678])
def test_the_scale_survives_as_float32(scale: float) -> None:
    import numpy as np

    found = properties(replace(MODEL, preprocess=Preprocess(scale=scale)))
    assert np.float32(found["net-scale-factor"]) == np.float32(scale)


def test_a_detector() -> None:
    found = properties(MODEL)
    assert (found["network-type"], found["num-detected-classes"], found["labelfile-path"]) == (0, 80, "labels.txt")
    assert found["parse-bbox-func-name"] == "NvDsInferParseCustomEfficientNMS"
    assert "custom-lib-path" in found
    assert "output-tensor-meta" not in found


@pytest.mark.parametrize("changes", [{"parser": None}, {"classes": None}])
def test_raw_tensors_without_a_parser(changes: dict[str, Any]) -> None:
    model = replace(MODEL, **changes)
    found = properties(model)
    assert (found["network-type"], found["output-tensor-meta"]) == (100, True)
    assert not {"num-detected-classes", "labelfile-path", "parse-bbox-func-name", "custom-lib-path"} & set(found)
    assert "class-attrs-all" not in config(model)[0]
    assert any("raw outputs" in comment for comment in config(model)[1])


@pytest.mark.parametrize(("score", "least"), [(0.25, 0.25), (0.0, 0.001), (0.9, 0.9)])
def test_the_threshold_drops_rows_that_hold_nothing(score: float, least: float) -> None:
    found = read_ini(ini(*config(replace(MODEL, score=score))))
    assert found["class-attrs-all"] == {"pre-cluster-threshold": least}


def test_other_padding_is_told() -> None:
    assert any("114" in comment for comment in config(VARIANTS["padded"])[1])
    assert not any("pads" in comment for comment in config(MODEL)[1])


@pytest.mark.parametrize(
    ("mode", "name"), [("fp32", "m.onnx_b4_gpu0_fp32.engine"), ("int8", "m.onnx_b4_gpu0_int8.engine")]
)
def test_engine_name(mode: str, name: str) -> None:
    assert engine_name("m.onnx", 4, mode) == name


def test_the_engine_beside_the_model_is_named() -> None:
    for model in (MODEL, VARIANTS["int8"]):
        assert properties(model)["model-engine-file"] == "m.onnx_b4_gpu0_fp32.engine"


def test_the_exact_text() -> None:
    sections: Config = {"property": {"a": True, "b": 0.1, "c": (1, 2.5), "d": "x", "e": 3}, "other": {"f": False}}
    assert ini(sections, ["hello"]) == "# hello\n\n[property]\na=1\nb=0.1\nc=1;2.5\nd=x\ne=3\n\n[other]\nf=0\n"
    assert yaml(sections, ["hello"]) == (
        "# hello\nproperty:\n  a: 1\n  b: 0.1\n  c: 1;2.5\n  d: x\n  e: 3\nother:\n  f: 0\n"
    )


# ----------------------------------------------------------------------------------------------------------- app


@pytest.mark.parametrize("batch", [1, 2, 3, 4, 5, 16, 30])
def test_the_pipeline_has_a_tile_for_every_source(batch: int) -> None:
    found = app.config("pgie_config.txt", batch)
    tiles = found["tiled-display"]
    assert int(str(tiles["rows"])) * int(str(tiles["columns"])) >= batch
    assert found["source0"]["num-sources"] == found["streammux"]["batch-size"] == batch
    assert found["primary-gie"]["batch-size"] == batch
    assert found["primary-gie"]["config-file"] == "pgie_config.txt"
