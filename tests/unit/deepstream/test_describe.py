"""From ONNX files to networks: which kind they are, how many classes, which parser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from tests import models
from trtforge.deepstream.config import describe
from trtforge.deepstream.config.describe import NetworkRequest
from trtforge.deepstream.config.graph import inspect
from trtforge.deepstream.config.nvinfer import Objects, Parser, config
from trtforge.deepstream.format.labels import text as labels_text
from trtforge.errors import ForgeError
from trtforge.graph.model import graph_of, model_of
from trtforge.graph.nms import NmsOptions, apply
from trtforge.recipe import Preprocess, Recipe

F = TensorProto.FLOAT


def sketch(
    path: Path,
    *outputs: tuple[str, int, list[Any]],
    image: Any = ("n", 3, 32, 64),
    op: str = "Identity",
) -> Path:
    """A graph of which only inputs and outputs matter."""
    nodes = [helper.make_node(op, ["image"], [name]) for name, _, _ in outputs]
    values = [helper.make_tensor_value_info(name, kind, dims) for name, kind, dims in outputs]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("image", F, list(image))], values
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path
    )
    return path


def detector(path: Path, form: str, impl: str = "plugin") -> Path:
    graph = graph_of(models.anchor_free())
    apply(graph, form, NmsOptions(), impl)  # type: ignore[arg-type]
    onnx.save(model_of(graph), path)
    return path


def network(path: Path, **requested: Any) -> Any:
    model = describe.model(path, None)
    return describe.network(model, NetworkRequest(**requested), path.parent, "9.1")


@pytest.mark.parametrize("impl", ["plugin", "onnx"])
def test_deepstreams_own_form_is_read_by_the_stock_parser(tmp_path: Path, impl: str) -> None:
    made, labels = network(detector(tmp_path / "m.onnx", "deepstream", impl))
    assert (made.kind, made.classes, made.size) == ("detector", 3, (64, 64))
    assert made.parser == Parser("NvDsInferParseCustomTfSSD")
    assert labels.splitlines() == ["class0", "class1", "class2"]
    assert config(made)[0]["property"]["cluster-mode"] == 4


@pytest.mark.parametrize("form", ["none", "onnx", "efficientnms"])
def test_other_forms_need_a_parser_or_raw_tensors(tmp_path: Path, form: str) -> None:
    path = detector(tmp_path / "m.onnx", form)
    with pytest.raises(ForgeError, match="none of DeepStream's parsers") as error:
        network(path)
    assert "--nms deepstream" in error.value.hint
    assert "--tensor-meta" in error.value.hint
    made, _ = network(path, kind="tensors")
    assert config(made)[0]["property"]["output-tensor-meta"] is True


def test_an_own_parser_reads_raw_heads(tmp_path: Path) -> None:
    path, labels = detector(tmp_path / "m.onnx", "none"), tmp_path / "names.txt"
    labels.write_text("a\nb\nc\n")
    model = describe.model(path, Recipe(labels=labels))
    requested = NetworkRequest(
        kind="detector", parser=Parser("Mine", "libmine.so", clustered=False), thresholds={"b": 0.7}
    )
    made, _ = describe.network(model, requested, tmp_path, "9.1")
    found = config(made)[0]
    assert found["property"]["cluster-mode"] == 2
    assert found["class-attrs-1"] == {"pre-cluster-threshold": 0.7}


def test_a_classifier_has_one_line_of_labels_for_each_output(tmp_path: Path) -> None:
    path = sketch(
        tmp_path / "m.onnx", ("color", F, ["n", 3]), ("kind", F, ["n", 2, 1, 1]), op="Softmax"
    )
    made, labels = network(path, objects=Objects())
    assert (made.kind, made.logits) == ("classifier", False)
    assert labels == "class0;class1;class2\nclass3;class4\n"
    assert labels_text(["a", "b"], []) == "a\nb\n"


def test_a_kind_that_the_outputs_contradict(tmp_path: Path) -> None:
    path = detector(tmp_path / "m.onnx", "deepstream")
    for kind in ("classifier", "segmentation"):
        with pytest.raises(ForgeError, match=f"--network {kind}.*num_detections"):
            network(path, kind=kind)


def test_logits_are_told(tmp_path: Path) -> None:
    path = sketch(tmp_path / "m.onnx", ("out", F, ["n", 3]))
    made, _ = network(path)
    assert made.logits
    assert config(made)[0]["property"]["classifier-threshold"] == 0.0


@pytest.mark.parametrize(("dims", "last"), [(["n", 5, 32, 64], False), (["n", 32, 64, 5], True)])
def test_segmentation(tmp_path: Path, dims: list[Any], last: bool) -> None:
    made, labels = network(sketch(tmp_path / "m.onnx", ("out", F, dims)))
    assert (made.kind, made.classes, made.channels_last) == ("segmentation", 5, last)
    assert len(labels.splitlines()) == 5


def test_a_segmentation_of_another_size_is_none(tmp_path: Path) -> None:
    with pytest.raises(ForgeError, match="none of DeepStream's parsers"):
        network(sketch(tmp_path / "m.onnx", ("out", F, ["n", 5, 16, 32])))


@pytest.mark.parametrize("image", [("n", 3, 32), ("n", 4, 32, 64)])
def test_what_nvinfer_can_not_feed(tmp_path: Path, image: Any) -> None:
    path = sketch(tmp_path / "m.onnx", ("out", F, ["n", 3]), image=image)
    with pytest.raises(ForgeError, match=r"channels|one float32 image"):
        config(network(path)[0])


def test_a_dynamic_size_is_the_recipes(tmp_path: Path) -> None:
    path = sketch(tmp_path / "m.onnx", ("out", F, ["n", 3]), image=("n", 3, "h", "w"))
    with pytest.raises(ForgeError, match="dynamic"):
        network(path)
    model = describe.model(path, Recipe(preprocess=Preprocess(size=(96, 128))))
    assert describe.network(model, NetworkRequest(), tmp_path, "9.1")[0].size == (96, 128)


def test_a_fixed_batch_stays(tmp_path: Path) -> None:
    path = sketch(tmp_path / "m.onnx", ("out", F, [2, 3]), image=(2, 3, 32, 64))
    assert network(path)[0].batch == 2
    with pytest.raises(ForgeError, match="fixed at 2"):
        network(path, batch=4)


def test_an_engine_is_known_by_its_name(tmp_path: Path) -> None:
    sketch(tmp_path / "m.onnx", ("out", F, ["n", 3]))
    engine = tmp_path / "m.onnx_b8_gpu0_fp32.engine"
    engine.write_bytes(b"ptrt")
    assert network(engine)[0].batch == 8
    with pytest.raises(ForgeError, match="largest is 8"):
        network(engine, batch=4)


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("model.engine", b"ptrt", "nvinfer looks for"),
        ("m.onnx_b8_gpu0_fp32.engine", b"vtrt", "TensorRT-RTX"),
        ("x.onnx_b8_gpu0_fp32.engine", b"ptrt", "no such file"),
        ("m.onnx_b8_gpu0_int8.engine", b"ptrt", "network-mode=0"),
    ],
)
def test_engines_that_nvinfer_would_not_load(
    tmp_path: Path, name: str, data: bytes, why: str
) -> None:
    sketch(tmp_path / "m.onnx", ("out", F, ["n", 3]))
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ForgeError, match=why):
        network(tmp_path / name)


def test_a_cache_goes_with_the_fp32_graph_alone(tmp_path: Path) -> None:
    path, cache = sketch(tmp_path / "m.onnx", ("out", F, ["n", 3])), tmp_path / "c.cache"
    cache.write_text("TRT-101600-EntropyCalibration2\nimage: 3c010a14\n")
    assert config(network(path, cache=cache)[0])[0]["property"]["network-mode"] == 3
    sketch(tmp_path / "q.onnx", ("out", F, ["n", 3]), op="DequantizeLinear")
    with pytest.raises(ForgeError, match="Q/DQ"):
        network(tmp_path / "q.onnx", cache=cache)
    cache.write_text("TRT-101600-EntropyCalibration2\nother: 3c010a14\n")
    with pytest.raises(ForgeError, match="none of its 1 tensors"):
        network(path, cache=cache)
    cache.write_text("TRT-101600-EntropyCalibration2\nimage: high\n")
    with pytest.raises(ForgeError, match="not a scale"):
        network(path, cache=cache)
    cache.write_text("not a cache")
    with pytest.raises(ForgeError, match="no calibration cache"):
        network(path, cache=cache)


def test_paths_are_relative_to_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    path = sketch(tmp_path / "models" / "m.onnx", ("out", F, ["n", 3]))
    made, _ = describe.network(
        describe.model(path, None), NetworkRequest(), tmp_path / "pipeline", "9.1"
    )
    assert made.onnx == "../models/m.onnx"


def test_a_file_that_is_no_onnx(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"hello")
    with pytest.raises(ForgeError, match="not an ONNX model"):
        inspect(tmp_path / "m.onnx")
