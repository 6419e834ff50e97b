"""What the last nodes of a graph say: vectors of features, and maps of classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from tests.models import Sketch, images, outputs, sketch
from trtforge.deepstream.config import describe
from trtforge.deepstream.config.describe import NetworkRequest
from trtforge.deepstream.config.graph import inspect
from trtforge.errors import ForgeError
from trtforge.recipe import Recipe
from trtforge.stages.patch import EditOptions, edit


def conv(s: Sketch, x: str, out: int, low: int, side: int = 3, stride: int = 1) -> str:
    weights = np.random.default_rng(out).normal(size=(out, low, side, side))
    return s.op("Conv", x, s.const(weights), strides=[stride] * 2, pads=[side // 2] * 4)


def vector(s: Sketch) -> str:
    """(B, 8), by a learned operator."""
    features = s.op("Relu", conv(s, "image", 16, 3))
    pooled = s.op("Flatten", s.op("GlobalAveragePool", features))
    return s.op("Gemm", pooled, s.const(np.ones((16, 8))))


def reduce_l2(s: Sketch) -> str:
    x = vector(s)
    norm = s.op("Clip", s.op("ReduceL2", x, axes=[1], keepdims=1), s.const(1e-12))
    return s.op("Div", x, norm)


def expanded(s: Sketch) -> str:
    x = vector(s)
    norm = s.op("Clip", s.op("ReduceL2", x, axes=[1], keepdims=1), s.const(1e-12))
    return s.op("Div", x, s.op("Expand", norm, s.op("Shape", x)))


def root_of_squares(s: Sketch) -> str:
    x = vector(s)
    total = s.op("ReduceSum", s.op("Mul", x, x), s.ints(1), keepdims=1)
    return s.op("Div", x, s.op("Sqrt", s.op("Add", total, s.const(1e-6))))


def inverse_root(s: Sketch) -> str:
    x = vector(s)
    total = s.op("ReduceSumSquare", x, axes=[1], keepdims=1)
    return s.op("Mul", x, s.op("Reciprocal", s.op("Sqrt", s.op("Max", total, s.const(1e-6)))))


def lp(s: Sketch) -> str:
    return s.op("LpNormalization", vector(s), axis=1, p=2)


def rectified(s: Sketch) -> str:
    return s.op("Relu", vector(s))


def swish(s: Sketch) -> str:
    x = vector(s)
    return s.op("Mul", s.op("Sigmoid", x), x)


def class_token(s: Sketch) -> str:
    rows = s.op(
        "Transpose", s.op("Reshape", conv(s, "image", 8, 3), s.ints(0, 8, -1)), perm=[0, 2, 1]
    )
    rows = s.op("LayerNormalization", rows, s.const(np.ones(8)))
    return s.op("Gather", rows, s.const(0, np.int64), axis=1)


def normalised(s: Sketch) -> str:
    figures = [s.const(np.ones(8)) for _ in range(4)]
    return s.op("BatchNormalization", vector(s), *figures)


def pooled(s: Sketch) -> str:
    x = conv(s, "image", 8, 3)
    x = s.op("Relu", s.op("Add", x, conv(s, x, 8, 8)))
    return s.op("Flatten", s.op("GlobalAveragePool", x))


def pooled_map(s: Sketch) -> str:
    x = s.op("Relu", conv(s, conv(s, "image", 4, 3), 8, 4, 1))
    return s.op("Flatten", s.op("GlobalAveragePool", x))


def spelled_softmax(s: Sketch) -> str:
    powers = s.op("Exp", vector(s))
    return s.op("Div", powers, s.op("ReduceSum", powers, s.ints(1), keepdims=1))


def probabilities(s: Sketch) -> str:
    return s.op("Softmax", vector(s), axis=1)


def written(path: Path, s: Sketch, out: str, shape: Any, props: Any = None) -> Path:
    model = s.model(out, side=64, opset=17)
    model.graph.output[0].CopyFrom(
        helper.make_tensor_value_info(out, onnx.TensorProto.FLOAT, shape)
    )
    helper.set_model_props(model, props or {})
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(
    "make",
    [
        reduce_l2,
        expanded,
        root_of_squares,
        inverse_root,
        lp,
        rectified,
        swish,
        class_token,
        normalised,
        pooled,
    ],
)
def test_vectors_of_features(tmp_path: Path, make: Any) -> None:
    s = sketch()
    path = written(tmp_path / "m.onnx", s, make(s), ["batch", 8])
    assert inspect(path).kind() == "tensors"
    with pytest.raises(ForgeError, match="none of DeepStream's parsers"):
        describe.network(describe.model(path, None), NetworkRequest(), tmp_path, "9.1")


@pytest.mark.parametrize("make", [vector, pooled_map, spelled_softmax, probabilities])
def test_classifiers(tmp_path: Path, make: Any) -> None:
    s = sketch()
    path = written(tmp_path / "m.onnx", s, make(s), ["batch", 8])
    assert inspect(path).kind() == "classifier"


def test_the_files_task_decides(tmp_path: Path) -> None:
    s = sketch()
    path = written(tmp_path / "m.onnx", s, reduce_l2(s), ["batch", 8], {"task": "classify"})
    assert inspect(path).kind() == "classifier"
    s = sketch()
    path = written(tmp_path / "m.onnx", s, vector(s), ["batch", 8], {"task": "feature-extraction"})
    assert inspect(path).kind() == "tensors"


@pytest.mark.parametrize("step", [1, 2, 4, 8])
def test_a_map_of_classes(tmp_path: Path, step: int) -> None:
    """nvinfer reads one at the image's size: a coarser one has to be enlarged before."""
    s = sketch()
    out = conv(s, s.op("Relu", conv(s, "image", 4, 3, 9, step)), 19, 4, 1)
    shape = ["batch", 19, 64 // step, 64 // step]
    path = written(tmp_path / "m.onnx", s, out, shape, {"class_names": str(["a"] * 19)})
    if step > 1:
        with pytest.raises(ForgeError) as error:
            describe.network(describe.model(path, None), NetworkRequest(), tmp_path, "9.1")
        assert "trtforge patch" in error.value.hint
        assert "--network segmentation" in error.value.hint
    before = outputs(onnx.load(path), images(1))[0]
    options = EditOptions("deepstream", "auto", Recipe())
    facts = edit(tmp_path, path, options) if step > 1 else None
    assert facts is None or (facts.form, facts.enlarged) == ("keep", step)
    model = describe.model(tmp_path / "model.onnx" if facts else path, None)
    made, labels = describe.network(model, NetworkRequest(), tmp_path, "9.1")
    assert (made.kind, made.classes, made.channels_last) == ("segmentation", 19, False)
    assert labels == "a\n" * 19
    after = outputs(onnx.load(model.path), images(1))[0]
    assert after.shape == (1, 19, 64, 64)
    rows = between_centres(64 // step, step)
    np.testing.assert_allclose(after, rows @ before @ rows.T, rtol=1e-3, atol=1e-4)


def between_centres(cells: int, step: int) -> np.ndarray:
    """(cells * step, cells): the share of each cell in the value of each pixel, along one side."""
    places = np.clip((np.arange(cells * step) + 0.5) / step - 0.5, 0, cells - 1)
    low = np.floor(places).astype(int)
    shares = np.zeros((cells * step, cells), np.float32)
    shares[np.arange(cells * step), np.minimum(low + 1, cells - 1)] = places - low
    shares[np.arange(cells * step), low] += 1 - (places - low)
    return shares


def test_coarse_features_are_none(tmp_path: Path) -> None:
    s = sketch()
    out = s.op("Relu", conv(s, "image", 19, 3, 9, 4))
    path = written(tmp_path / "m.onnx", s, out, ["batch", 19, 16, 16])
    with pytest.raises(ForgeError) as error:
        describe.network(describe.model(path, None), NetworkRequest(), tmp_path, "9.1")
    assert "--network segmentation" in error.value.hint
    request = NetworkRequest(kind="segmentation")
    made, _ = describe.network(describe.model(path, None), request, tmp_path, "9.1")
    assert made.classes == 19


def test_a_dictionary_of_characters(tmp_path: Path) -> None:
    s = sketch()
    out = s.op("Softmax", s.op("Reshape", conv(s, "image", 5, 3), s.ints(0, -1, 5)), axis=2)
    path = written(tmp_path / "m.onnx", s, out, ["batch", 4096, 5], {"character": "a\n;\n#"})
    model = describe.model(path, Recipe())
    names, origin = describe.class_names(model, "tensors")
    assert names == ["blank", "a", ";", "#", "space"]
    assert "character" in origin
