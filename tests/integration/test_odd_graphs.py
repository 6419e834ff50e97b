"""Graphs that exporters really write and tools trip over: handled, or refused in one line."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import PHOTOS
from onnx import TensorProto, helper
from typer.testing import CliRunner

from tests.extras import needs
from tests.models import SIDE, Network, classifier, network, outputs, photographs
from trtforge.cli import app

Build = Callable[[], onnx.ModelProto]


def run(*words: str | Path) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the command line."""
    done = CliRunner().invoke(app, [str(word) for word in words])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


def saved(model: onnx.ModelProto, path: Path) -> Path:
    onnx.save(model, path)
    return path


def refused(words: list[str | Path], text: str, out: Path) -> None:
    """One line, with a hint, exit 2, and nothing written."""
    code, printed, error = run(*words, "-o", out)
    lines = error.strip().splitlines()
    assert (code, printed) == (2, ""), error
    assert lines[0].startswith("error: ")
    assert text in lines[0]
    assert len(lines) <= 2
    assert not out.exists()


def features(s: Network) -> str:
    """`(B, 8, 32, 32)`"""
    return s.relu("image", (3, 8), 3, 2)


def declared(model: onnx.ModelProto) -> onnx.ModelProto:
    """With the output's shape, which inference does not find: ONNX's checker wants one."""
    name = model.graph.output[0].name
    shape = helper.make_tensor_value_info(
        name, TensorProto.FLOAT, ["batch", 4, SIDE // 2, SIDE // 2]
    )
    model.graph.output[0].CopyFrom(shape)
    return model


def branch(name: str, op: str, reads: str) -> onnx.GraphProto:
    """A body that computes `op` of a tensor of the outer graph."""
    result = helper.make_tensor_value_info(f"{name}.y", TensorProto.FLOAT, None)
    return helper.make_graph(
        [helper.make_node(op, [reads], [f"{name}.y"], f"{name}.n")], name, [], [result]
    )


def decided_if() -> onnx.ModelProto:
    """torch's squeeze: an If on whether a dimension that is fixed is 1."""
    s = network(0)
    x = features(s)
    channels = s.op("Gather", s.op("Shape", x), s.const(1, np.int64), axis=0)
    squeeze = s.op("Equal", channels, s.const(1, np.int64))
    y = s.op(
        "If", squeeze, then_branch=branch("yes", "Sigmoid", x), else_branch=branch("no", "Tanh", x)
    )
    return s.model(s.conv(y, (8, 4)))


def open_if() -> onnx.ModelProto:
    """Which branch is taken depends on the image."""
    s = network(0)
    x = features(s)
    bright = s.op("Greater", s.op("ReduceMean", "image", keepdims=0), s.const(0.5))
    y = s.op(
        "If", bright, then_branch=branch("yes", "Sigmoid", x), else_branch=branch("no", "Tanh", x)
    )
    return s.model(s.conv(y, (8, 4)))


def loop() -> onnx.ModelProto:
    """Three times `x = tanh(x)`."""
    s = network(0)
    x = features(s)
    count = helper.make_tensor_value_info("i", TensorProto.INT64, [])
    go = [helper.make_tensor_value_info(name, TensorProto.BOOL, []) for name in ("go", "on")]
    state = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x.in", "x.out")
    ]
    body = [
        helper.make_node("Identity", ["go"], ["on"]),
        helper.make_node("Tanh", ["x.in"], ["x.out"]),
    ]
    graph = helper.make_graph(body, "body", [count, go[0], state[0]], [go[1], state[1]])
    return declared(s.model(s.conv(s.op("Loop", s.const(3, np.int64), "", x, body=graph), (8, 4))))


def sequence() -> onnx.ModelProto:
    """Split into a sequence and joined again, as torch.chunk was once exported."""
    s = network(0)
    parts = s.op("SplitToSequence", features(s), s.ints(4, 4), axis=1)
    one, two = (s.op("SequenceAt", parts, s.const(index, np.int64)) for index in (0, 1))
    return declared(s.model(s.conv(s.op("Add", one, two), (4, 4))))


def half_weights() -> onnx.ModelProto:
    """Weights stored in FP16 and cast to float where they are used."""
    s = network(0)
    x = features(s)
    kernel = s.op(
        "Cast", s.const(s.rng.normal(0, 0.3, (4, 8, 1, 1)), np.float16), to=TensorProto.FLOAT
    )
    return s.model(s.op("Conv", x, kernel))


def half_inside() -> onnx.ModelProto:
    """Computed in FP16 between a Cast of the image and a Cast of the result."""
    s = network(0)
    x = s.op("Cast", "image", to=TensorProto.FLOAT16)
    y = s.op("Conv", x, s.const(s.rng.normal(0, 0.3, (4, 3, 3, 3)), np.float16))
    y = s.op("Mul", y, s.const(np.full((1, 4, 1, 1), 0.5), np.float16))
    return s.model(s.op("Cast", s.op("Relu", y), to=TensorProto.FLOAT))


def trained_int8() -> onnx.ModelProto:
    """Quantization-aware training: Q/DQ at the input and, per channel, at float weights."""
    s = network(0)
    x = features(s)
    scale, zero = s.const(0.02), s.const(0, np.int8)
    kernel = s.const(s.rng.normal(0, 0.3, (4, 8, 3, 3)))
    scales, zeros = s.const(np.full(4, 0.01)), s.const(np.zeros(4), np.int8)
    x = s.op("DequantizeLinear", s.op("QuantizeLinear", x, scale, zero), scale, zero)
    kernel = s.op(
        "DequantizeLinear",
        s.op("QuantizeLinear", kernel, scales, zeros, axis=0),
        scales,
        zeros,
        axis=0,
    )
    return s.model(
        s.op("Relu", s.op("Add", s.op("Conv", x, kernel), s.const(np.full((1, 4, 1, 1), 0.25))))
    )


def names() -> onnx.ModelProto:
    """Nodes that share a name, and nodes without one."""
    model = classifier()
    for index, node in enumerate(model.graph.node):
        node.name = ("", "same", node.name)[index % 3]
    return model


def opset_9() -> onnx.ModelProto:
    """Upsample by scales, Slice and Squeeze by attributes, Clip by attributes."""
    s = network(0)
    x = s.op("Clip", s.conv("image", (3, 8), 3, 2), min=0.0, max=6.0)
    x = s.op("Upsample", x, s.const([1, 1, 2, 2]), mode="nearest")
    x = s.op("Slice", x, axes=[1], starts=[0], ends=[4])
    return s.model(s.conv(x, (4, 4)), opset=9)


def opset_22() -> onnx.ModelProto:
    s = network(0)
    return s.model(s.conv(s.maxpool(features(s), 2, 2), (8, 4)), opset=22)


BUILD = {
    "an If that is decided": decided_if,
    "an If that is open": open_if,
    "a Loop": loop,
    "a sequence": sequence,
    "FP16 weights": half_weights,
    "FP16 inside": half_inside,
    "QAT": trained_int8,
    "duplicate and empty names": names,
    "opset 9": opset_9,
    "opset 22": opset_22,
}


@pytest.mark.parametrize("case", BUILD)
def test_fold_and_build_take(case: str, tmp_path: Path) -> None:
    model = BUILD[case]()
    path = saved(model, tmp_path / "odd.onnx")
    code, _, error = run("fold", path, "-o", tmp_path / "clean.onnx")
    assert code == 0, error
    for node in model.graph.node:
        node.name = ""  # ONNX Runtime refuses two of one name
    before, after = (
        outputs(each, photographs(2), fuse=False)
        for each in (model, onnx.load(tmp_path / "clean.onnx"))
    )
    for one, other in zip(before, after, strict=True):
        np.testing.assert_allclose(
            other, one, rtol=0, atol=(2e-2 if "FP16" in case else 1e-4) * np.abs(one).max()
        )
    code, printed, error = run(
        "build", path, "--backend", "onnxruntime", "--json", "-o", tmp_path / "out"
    )
    assert code == 0, error
    assert "fold" in printed


def kinds(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def test_an_if_that_is_decided_is_gone(tmp_path: Path) -> None:
    run("fold", saved(decided_if(), tmp_path / "if.onnx"), "-o", tmp_path / "clean.onnx")
    assert kinds(tmp_path / "clean.onnx") == {"Conv": 2, "Relu": 1, "Tanh": 1}


def test_weights_in_half_become_float_and_training_scales_stay(tmp_path: Path) -> None:
    run("fold", saved(half_weights(), tmp_path / "half.onnx"), "-o", tmp_path / "clean.onnx")
    assert kinds(tmp_path / "clean.onnx") == {"Conv": 2, "Relu": 1}
    run("fold", saved(trained_int8(), tmp_path / "qat.onnx"), "-o", tmp_path / "clean.onnx")
    found = kinds(tmp_path / "clean.onnx")
    assert found == {"Conv": 2, "Relu": 2, "Add": 1, "QuantizeLinear": 1, "DequantizeLinear": 2}
    weights = [
        tensor
        for tensor in onnx.load(tmp_path / "clean.onnx").graph.initializer
        if len(tensor.dims) == 4
    ]
    assert {tensor.data_type for tensor in weights if tensor.dims[0] == 4} == {TensorProto.INT8}


@pytest.mark.parametrize("case", BUILD)
def test_fp16(case: str, tmp_path: Path) -> None:
    path, out = saved(BUILD[case](), tmp_path / "odd.onnx"), tmp_path / "out"
    words: list[str | Path] = ["build", path, "--fp16", "--backend", "onnxruntime"]
    if case in ("an If that is open", "a Loop", "a sequence"):
        refused(words, "holds a subgraph or a sequence", out)
    else:
        code, _, error = run(*words, "-o", out)
        assert code == 0, error


def test_a_quantized_model_is_not_quantized_again(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    path = saved(trained_int8(), tmp_path / "qat.onnx")
    (photos / "one.jpg").write_bytes(sorted(PHOTOS.iterdir())[0].read_bytes())
    words: list[str | Path] = [
        "build",
        path,
        "--int8",
        "--calib",
        photos,
        "--backend",
        "onnxruntime",
    ]
    refused(words, "quantized already", tmp_path / "out")


def test_external_data(tmp_path: Path) -> None:
    model, path = classifier(), tmp_path / "model" / "odd.onnx"
    path.parent.mkdir()
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    for words in (
        ["fold", path, "-o", tmp_path / "clean.onnx"],
        ["build", path, "--backend", "onnxruntime", "-o", tmp_path / "out"],
    ):
        code, _, error = run(*words)
        assert code == 0, error
    assert [file.name for file in tmp_path.glob("clean*")] == ["clean.onnx"]


@pytest.mark.parametrize("where", ["in the file", "beside it"])
@pytest.mark.parametrize("command", ["fold", "build"])
def test_over_2_gib(where: str, command: str, tmp_path: Path) -> None:
    """Sparse files: refused by their size, before anything is read."""
    path = tmp_path / "large.onnx"
    large = path if where == "in the file" else tmp_path / "weights.bin"
    onnx.save(
        classifier(), path, save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    with large.open("r+b") as stream:
        stream.truncate(5 << 30)
    if where == "beside it":
        whole = onnx.load(path, load_external_data=False)
        weights = next(tensor for tensor in whole.graph.initializer if len(tensor.dims) == 4)
        for entry in weights.external_data:
            entry.value = {"offset": "0", "length": str(5 << 30)}.get(entry.key, entry.value)
        path.write_bytes(whole.SerializeToString())
    backend: list[str | Path] = ["--backend", "onnxruntime"] if command == "build" else []
    refused([command, path, *backend], "larger than 2 GiB", tmp_path / "out")


def two_inputs() -> onnx.ModelProto:
    """A photograph, and a mask that its features are multiplied by."""
    s = network(0)
    x = s.op("Mul", features(s), "mask")
    model = declared(s.model(s.conv(x, (8, 4))))
    model.graph.input.append(
        helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["batch", 1, 32, 32])
    )
    return model


def test_two_inputs(tmp_path: Path) -> None:
    path, clean = saved(two_inputs(), tmp_path / "two.onnx"), tmp_path / "clean.onnx"
    for words in (
        ["fold", path, "--batch", "2", "-o", clean],
        ["cast", clean, "-o", tmp_path / "half.onnx"],
    ):
        code, _, error = run(*words)
        assert code == 0, error
    folded = onnx.load(clean)
    assert [value.type.tensor_type.shape.dim[0].dim_value for value in folded.graph.input] == [2, 2]
    refused(["build", path, "--backend", "onnxruntime"], "2 inputs (image, mask)", tmp_path / "out")


def test_the_batch_is_fixed(tmp_path: Path) -> None:
    path = saved(classifier(), tmp_path / "odd.onnx")
    code, printed, error = run(
        "fold", path, "--batch", "3", "--json", "-o", tmp_path / "clean.onnx"
    )
    assert code == 0, error
    assert json.loads(printed)["batch"] == 3
    refused(
        ["fold", tmp_path / "clean.onnx", "--batch", "2"], "is 3, not 2", tmp_path / "again.onnx"
    )


def test_training_scales_reach_an_engine(tmp_path: Path) -> None:
    needs("rtx")
    path = saved(trained_int8(), tmp_path / "qat.onnx")
    code, _, error = run("build", path, "--device", "l4", "--json", "-o", tmp_path / "out")
    assert code == 0, error
    engine = json.loads((tmp_path / "out" / "manifest.json").read_text())["engine"]
    assert (
        engine["convolutions"],
        engine["quantized_convolutions"],
        engine["int8_convolutions"],
    ) == (2, 1, 1)
