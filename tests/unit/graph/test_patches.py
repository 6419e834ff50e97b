"""The user's own edits, each run before and after."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests.models import images, network, objectness, outputs
from trtforge.errors import ForgeError
from trtforge.graph.edit.patches import apply_patches
from trtforge.graph.model import graph_of, model_of
from trtforge.recipe import Recipe, load


def chain() -> onnx.ModelProto:
    """image -> n0 Conv t0 -> n1 Relu t1 -> n2 Mul by c2 t2 -> n3 Sigmoid t3"""
    s = network(1)
    x = s.op("Mul", s.op("Relu", s.conv("image", (3, 4), 3)), s.const(2.0))
    return onnx.shape_inference.infer_shapes(s.model(s.op("Sigmoid", x)))


def patched(model: onnx.ModelProto, *items: dict[str, Any]) -> onnx.ModelProto:
    graph = graph_of(model)
    apply_patches(graph, Recipe.model_validate({"patches": items}).patches)
    result = model_of(graph)
    onnx.checker.check_model(result, full_check=True)
    return result


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def logit(x: np.ndarray) -> np.ndarray:
    return np.log(x / (1 - x))


def test_rename() -> None:
    model = patched(
        chain(),
        {"patch": "rename", "tensor": "t3", "to": "scores"},
        {"patch": "rename", "node": "n0", "to": "stem"},
        {"patch": "rename", "tensor": "image", "to": "input"},
    )
    assert [model.graph.input[0].name, model.graph.output[0].name] == ["input", "scores"]
    assert model.graph.node[0].name == "stem"
    np.testing.assert_array_equal(outputs(model, images(1))[0], outputs(chain(), images(1))[0])


def test_delete_inside() -> None:
    before = outputs(chain(), images(1))[0]
    after = outputs(patched(chain(), {"patch": "delete", "node": "n2"}), images(1))[0]
    np.testing.assert_allclose(after, sigmoid(logit(before) / 2), atol=1e-5)


def test_delete_at_the_end_keeps_the_outputs_name() -> None:
    model = patched(chain(), {"patch": "delete", "node": "n3"})
    assert [output.name for output in model.graph.output] == ["t3"]
    np.testing.assert_allclose(
        sigmoid(outputs(model, images(1))[0]), outputs(chain(), images(1))[0], atol=1e-6
    )


@pytest.mark.parametrize("value", [0.5, [0.5]])
def test_constant(value: Any) -> None:
    before = outputs(chain(), images(1))[0]
    model = chain()
    if value == [0.5]:
        model.graph.initializer[2].dims.append(1)
    after = outputs(
        patched(model, {"patch": "constant", "tensor": "c2", "value": value}), images(1)
    )[0]
    np.testing.assert_allclose(after, sigmoid(logit(before) / 4), atol=1e-5)


def test_an_input_becomes_a_constant() -> None:
    """A post-processor's second input: the size of the original image."""
    model = chain()
    model.graph.initializer.pop()
    model.graph.input.append(onnx.helper.make_tensor_value_info("c2", onnx.TensorProto.FLOAT, []))
    model = patched(model, {"patch": "constant", "tensor": "c2", "value": 2.0})
    assert [value.name for value in model.graph.input] == ["image"]
    np.testing.assert_allclose(
        outputs(model, images(1))[0], outputs(chain(), images(1))[0], atol=1e-6
    )


def test_cast_inside_and_at_the_end() -> None:
    model = patched(
        chain(),
        {"patch": "cast", "tensor": "t1", "to": "float16"},
        {"patch": "cast", "tensor": "trtforge/nms/cast/t1", "to": "float32"},
        {"patch": "cast", "tensor": "t3", "to": "float16"},
    )
    assert model.graph.output[0].name == "t3"
    (got,) = outputs(model, images(1))
    assert got.dtype == np.float16
    np.testing.assert_allclose(got, outputs(chain(), images(1))[0], atol=2e-3)


def test_cut() -> None:
    tail = patched(chain(), {"patch": "cut", "inputs": ["t1"]})
    head = patched(chain(), {"patch": "cut", "outputs": ["t1"]})
    assert [value.name for value in tail.graph.input] == ["t1"]
    middle = outputs(head, images(2))[0]
    np.testing.assert_allclose(outputs(tail, middle)[0], outputs(chain(), images(2))[0], atol=1e-6)


def test_output() -> None:
    model = patched(chain(), {"patch": "output", "tensor": "t2"})
    end, inner = outputs(model, images(1))
    np.testing.assert_allclose(sigmoid(inner), end, atol=1e-6)


def test_dims() -> None:
    model = patched(
        chain(), {"patch": "dims", "tensor": "image", "dims": [4, 3, "rows", "columns"]}
    )
    shape = [
        dim.dim_value or dim.dim_param for dim in model.graph.input[0].type.tensor_type.shape.dim
    ]
    assert shape == [4, 3, "rows", "columns"]
    np.testing.assert_allclose(
        outputs(model, images(4))[0], outputs(chain(), images(4))[0], atol=1e-6
    )


@pytest.mark.parametrize(
    ("item", "problem"),
    [
        ({"patch": "rename", "tensor": "t33", "to": "x"}, "there is no tensor 't33'"),
        ({"patch": "rename", "tensor": "t3", "to": "t2"}, "'t2' is taken"),
        ({"patch": "delete", "node": "nothing"}, "there is no node 'nothing'"),
        (
            {"patch": "constant", "tensor": "c2", "value": [1, 2]},
            r"has shape \[\], and the value \[2\]",
        ),
        ({"patch": "constant", "tensor": "c2", "value": "two"}, "no array"),
        ({"patch": "constant", "tensor": "c2", "value": [[1], [2, 3]]}, "no array"),
        ({"patch": "constant", "tensor": "t3", "value": 1}, "is an output"),
        ({"patch": "cut", "inputs": ["c2"]}, "is a constant"),
        ({"patch": "output", "tensor": "image"}, "is an input"),
        ({"patch": "output", "tensor": "t3"}, "is an output already"),
        ({"patch": "dims", "tensor": "t1", "dims": [1]}, "neither input nor output"),
        ({"patch": "dims", "tensor": "image", "dims": [1]}, "has 4 dimensions, not 1"),
    ],
)
def test_what_does_not_fit_is_named_with_its_number(item: dict[str, Any], problem: str) -> None:
    with pytest.raises(ForgeError, match=problem) as caught:
        patched(chain(), {"patch": "output", "tensor": "t2"}, item)
    assert caught.value.problem.startswith(f"patch 2 ({item['patch']}): ")


def test_a_near_name_is_suggested() -> None:
    with pytest.raises(ForgeError) as caught:
        patched(objectness(), {"patch": "output", "tensor": "imagee"})
    assert caught.value.hint == "did you mean 'image'?"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("patches:\n- {patch: output}\n", ":2: patches.0.output.tensor: field required"),
        ("patches:\n- {patch: output, tenser: a, tensor: b}\n", "(did you mean 'tensor'?)"),
        ("patches:\n- {patch: outptu, tensor: a}\n", ":2: patches.0: "),
        ("patches:\n- {patch: rename, to: a}\n", "either a tensor or a node"),
        ("patches:\n- {patch: cut}\n", "inputs, outputs or both"),
        ("patches:\n- {patch: cast, tensor: a, to: float8}\n", ":2: patches.0.cast.to: "),
        ("patches:\n- {patch: dims, tensor: a, dims: [0]}\n", ":2: patches.0.dims.dims.0"),
    ],
)
def test_recipes_are_checked(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ForgeError) as caught:
        load(tmp_path / "mine.yaml")
    assert problem in caught.value.problem
