"""What a preview reads of a configuration, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from trtforge.deepstream.config.nvinfer import Network, Parser, config
from trtforge.deepstream.format.config import write
from trtforge.deepstream.preview.settings import NMS, NONE, ClassAttributes, read, read_keys
from trtforge.errors import ForgeError
from trtforge.recipe import Preprocess

LEAST = "onnx-file=m.onnx\nnum-detected-classes=2\n"


def written(folder: Path, properties: str = "", attributes: str = "", least: str = LEAST) -> Path:
    (folder / "m.onnx").write_bytes(b"")
    (folder / "labels.txt").write_text("cat\ndog\n")
    path = folder / "pgie_config.txt"
    path.write_text(f"# made by hand\n[property]\n{least}{properties}\n{attributes}")
    return path


def test_nvinfers_own_defaults(tmp_path: Path) -> None:
    found = read(written(tmp_path))
    assert found.onnx == tmp_path.resolve() / "m.onnx"
    assert found.labels is None
    assert found.size is None
    assert found.preprocess == Preprocess(scale=1.0, letterbox="none", padding=0)
    assert found.nearest
    assert found.parser == ""
    assert not found.crop
    # Left out, cluster-mode means NMS with IoU 0.5 and topk 20, whatever class-attrs says.
    assert found.cluster == NMS
    assert found.classes == (ClassAttributes(iou=0.5, topk=20),) * 2


def test_the_generated_configuration(tmp_path: Path) -> None:
    spec = Preprocess(
        scale=0.0174, offsets=(103.5, 116.25, 123.75), color="bgr", letterbox="top-left"
    )
    model = Network(
        kind="detector",
        onnx="m.onnx",
        labels="labels.txt",
        precision="int8",
        batch=4,
        size=(480, 640),
        preprocess=spec,
        classes=2,
        parser=Parser("NvDsInferParseCustomTfSSD"),
        score=0.3,
        deepstream="9.1",
    )
    path = written(tmp_path)
    sections, comments = config(model)
    path.write_text(write(sections, "ini", comments))
    found = read(path)
    assert found.preprocess == spec
    assert (found.size, found.nearest, found.crop, found.cluster) == ((480, 640), False, True, NONE)
    assert found.parser == "NvDsInferParseCustomTfSSD"
    assert found.labels == tmp_path.resolve() / "labels.txt"
    assert found.classes == (ClassAttributes(pre_cluster=0.3),) * 2


def test_a_classs_own_attributes_stand_above_all(tmp_path: Path) -> None:
    text = (
        "[class-attrs-all]\npre-cluster-threshold=0.4 # of all\ntopk=7\nnms-iou-threshold=0.6\n"
        "[class-attrs-1]\npre-cluster-threshold=0.9\ndetected-min-w=12\n[class-attrs-9]\ntopk=1\n"
    )
    found = read(written(tmp_path, "cluster-mode=2\n", text))
    assert found.classes == (
        ClassAttributes(0.4, iou=0.6, topk=7),
        ClassAttributes(0.9, iou=0.6, topk=7, min_width=12),
    )


@pytest.mark.parametrize(
    ("keys", "want"),
    [
        ("maintain-aspect-ratio=1\nsymmetric-padding=1", "symmetric"),
        ("maintain-aspect-ratio=true", "top-left"),
        ("symmetric-padding=1", "none"),
    ],
)
def test_letterbox(tmp_path: Path, keys: str, want: str) -> None:
    assert read(written(tmp_path, keys)).preprocess.letterbox == want


def test_without_scale_the_offsets_do_not_count(tmp_path: Path) -> None:
    found = read(written(tmp_path, "net-scale-factor=0\noffsets=1;2;3\n"))
    assert (found.preprocess.scale, found.preprocess.offsets) == (1.0, (0.0, 0.0, 0.0))


def test_the_last_of_two_keys_counts_and_case_matters(tmp_path: Path) -> None:
    found = read_keys(
        written(tmp_path, "batch-size=1\nbatch-size=2\nBatch-Size=3\na=1:2\n%x=%y\n")
    )["property"]
    assert (found["batch-size"], found["Batch-Size"], found["a"], found["%x"]) == (
        "2",
        "3",
        "1:2",
        "%y",
    )


def test_a_parser_without_its_library_does_not_count(tmp_path: Path) -> None:
    assert read(written(tmp_path, "parse-bbox-func-name=F\n")).parser == ""


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("network-type=1", "network-type=1 can't be previewed"),
        ("process-mode=2", "whole frames"),
        ("cluster-mode=1", "NMS"),
        ("cluster-mode=3", "NMS"),
        ("scaling-filter=4", "scaling-filter"),
        ("model-color-format=2", "three colours"),
        ("network-input-order=1", "NCHW"),
        ("mean-file=m.ppm", "mean-file"),
        ("input-tensor-from-meta=1", "preprocessing"),
        ("net-scale-factor=x", "not a number"),
        ("cluster-mode=NMS", "not a whole number"),
        ("offsets=1,2,3", "not a list of numbers"),
        ("offsets=1;2", "2 values for 3 channels"),
        ("symmetric-padding=yes", "neither 0 nor 1"),
        ("labelfile-path=none.txt", "is missing"),
        ("onnx-file=../m.onnx", "outside the folder"),
        ("labelfile-path=/etc/passwd", "outside the folder"),
        ("num-detected-classes=0", "drops the objects"),
        ("num-detected-classes=2000000000", "classes"),
    ],
)
def test_what_is_refused(tmp_path: Path, keys: str, words: str) -> None:
    with pytest.raises(ForgeError) as caught:
        read(written(tmp_path, f"{keys}\n"))
    assert "pgie_config.txt" in caught.value.problem
    assert words in f"{caught.value.problem} {caught.value.hint}"


@pytest.mark.parametrize(
    "text", ["[property", "no group\n", "[property]\njunk\n", "", "[other]\na=1\n"]
)
def test_no_configuration(tmp_path: Path, text: str) -> None:
    path = written(tmp_path)
    path.write_text(text)
    with pytest.raises(ForgeError, match=r"pgie_config\.txt"):
        read(path)


def test_bytes_that_are_no_configuration(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ForgeError, match="GLib refuses the whole file"):
        read(path)
    path.write_bytes(b"#" * ((1 << 20) + 1))
    with pytest.raises(ForgeError, match="1 MiB"):
        read(path)
    with pytest.raises(ForgeError, match="no such file"):
        read(tmp_path / "gone.txt")
