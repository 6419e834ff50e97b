"""The typed configuration: what the table of keys accepts, and both dialects read back."""

from __future__ import annotations

from pathlib import Path

import pytest

from trtforge.deepstream.format import app_keys
from trtforge.deepstream.format.config import Config, check, read, write
from trtforge.deepstream.format.keys import CLASS_ATTRS, PROPERTY, nearest, nvinfer
from trtforge.errors import ForgeError

from .glib import read_ini, read_yaml

CONFIG: Config = {
    "property": {
        "gie-unique-id": 3,
        "onnx-file": "käse/m.onnx",
        "net-scale-factor": 0.1,
        "offsets": (1.5, 2.0, 3.25),
        "infer-dims": (3, 640, 480),
        "strongly-typed": True,
        "output-blob-names": ("a:0", "b/c"),
        "batch-size": 8,
        "classifier-type": "type: a #1",
        "maintain-aspect-ratio": False,
        "operate-on-class-ids": (0, 2),
    },
    "class-attrs-all": {"topk": 20, "border-color": (1.0, 0.0, 0.5, 1.0)},
    "class-attrs-7": {"pre-cluster-threshold": 0.75},
}


@pytest.mark.parametrize(("dialect", "suffix"), [("ini", "txt"), ("yaml", "yml")])
def test_what_is_written_is_read_back(tmp_path: Path, dialect: str, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_text(write(CONFIG, dialect, ["A remark."]), encoding="utf-8")
    assert read(path) == CONFIG
    again = tmp_path / f"b.{suffix}"
    again.write_text(write(read(path), dialect, ["A remark."]), encoding="utf-8")
    assert again.read_bytes() == path.read_bytes()


def test_glib_and_yaml_read_the_same() -> None:
    assert (
        read_ini(write(CONFIG, "ini"), nvinfer)
        == read_yaml(write(CONFIG, "yaml"), nvinfer)
        == CONFIG
    )


@pytest.mark.parametrize(
    ("group", "key", "value", "why"),
    [
        ("property", "batch-size", 0, "outside"),
        ("property", "batch-size", 1025, "outside"),
        ("property", "batch-size", "8", "type int"),
        ("property", "batch-size", True, "type int"),
        ("property", "network-mode", 4, "none of"),
        ("property", "infer-dims", (3, 640), "2 values, not 3"),
        ("property", "offsets", (1.0,) * 5, "more than 4"),
        ("property", "strongly-typed", 1, "type bool"),
        ("property", "network_mode", 0, "no such key"),
        ("class-attrs-x", "topk", 1, "nobody reads"),
        ("class-attrs-all", "topk", -1, "outside"),
        ("class-attrs-0", "nms-iou-threshold", 1.5, "outside"),
        ("property", "onnx-file", "m.onnx ", "blank"),
        ("property", "onnx-file", "a\nb", "control"),
        ("property", "is-classifier", True, "INI files only"),
        ("property", "output-blob-names", ("a;b",), "semicolon"),
    ],
)
def test_what_the_parsers_refuse_is_not_written(
    group: str, key: str, value: object, why: str
) -> None:
    with pytest.raises(ForgeError, match=why):
        check({group: {key: value}})  # type: ignore[dict-item]


def test_a_wrong_key_names_the_right_one() -> None:
    with pytest.raises(ForgeError) as error:
        check({"property": {"network_mode": 0}})
    assert "network-mode" in error.value.hint


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("network_mode", "network-mode"),
        ("process_mode", "process-mode"),
        ("minboxes", None),
        ("onnx-flie", "onnx-file"),
        ("Batch-Size", "batch-size"),
        ("colour", None),
    ],
)
def test_the_nearest_key(wrong: str, right: str | None) -> None:
    assert nearest(wrong, PROPERTY) == right
    assert nearest("minboxes", CLASS_ATTRS) == "minBoxes"


@pytest.mark.parametrize("text", ["[property]\nbatch-size=x\n", "; c\n[property]\n"])
def test_a_file_that_nvinfer_refuses_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(ForgeError, match=r"a\.txt:\d"):
        read(tmp_path / "a.txt")


@pytest.mark.parametrize(
    "table", [PROPERTY, CLASS_ATTRS, *app_keys.GROUPS.values(), *app_keys.FAMILIES.values()]
)
def test_every_default_is_allowed_or_is_what_no_file_may_say(table: dict[str, object]) -> None:
    for name, key in table.items():
        value = key.default  # type: ignore[attr-defined]
        if value is not None and name not in ("topk", "type"):
            assert not key.fault(value), name  # type: ignore[attr-defined]
