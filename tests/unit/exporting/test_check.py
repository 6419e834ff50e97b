"""ONNX Runtime against a reference: what passes, and what does not."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.extras import needs

torch = needs("torch")

from trtforge.errors import GateError  # noqa: E402
from trtforge.exporting.check import compare  # noqa: E402
from trtforge.exporting.inputs import STEPS, from_options  # noqa: E402
from trtforge.exporting.outputs import flatten, infer, with_flat_outputs  # noqa: E402

SHAPES = [(1, 3, 4, 4), (3, 3, 4, 4)]


@pytest.fixture
def doubling(tmp_path):
    image = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, 4, 4])
    result = helper.make_tensor_value_info("output0", TensorProto.FLOAT, ["batch", 3, 4, 4])
    graph = helper.make_graph(
        [helper.make_node("Add", ["images", "images"], ["output0"])], "g", [image], [result]
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8),
        tmp_path / "m.onnx",
    )
    return tmp_path / "m.onnx"


def reference(change=lambda x: x):
    return lambda images: {"output0": change(images * np.float32(2))}


def test_largest_difference_is_measured_over_all_inputs(doubling):
    found = compare(
        doubling,
        reference(lambda y: y + np.float32(1e-3) * (len(y) == 3)),
        SHAPES,
        atol=2e-3,
        rtol=0,
    )
    assert found.largest == pytest.approx(1e-3, rel=1e-2)
    assert found.inputs == 6


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            lambda y: y + np.float32(5e-3),
            "differs from PyTorch by up to 0.005 on images of 1x3x4x4",
        ),
        (lambda y: y + np.float32(5e-3) * (len(y) == 3), "on images of 3x3x4x4"),
        (lambda y: np.where(y == y.max(), np.nan, y).astype(np.float32), "by up to (nan|inf)"),
        (lambda y: y.astype(np.float64), r"output0 is float32 .* and float64"),
        (lambda y: y[:, :2], r"\(1, 3, 4, 4\) in ONNX Runtime .* \(1, 2, 4, 4\)"),
    ],
)
def test_gate_over_tolerance_type_or_shape(doubling, change, text):
    with pytest.raises(GateError, match=text):
        compare(doubling, reference(change), SHAPES, atol=1e-3, rtol=1e-6)


def test_relative_tolerance_is_a_share_of_the_value(doubling):
    compare(doubling, reference(lambda y: y * np.float32(1.009)), SHAPES, atol=1e-6, rtol=1e-2)
    with pytest.raises(GateError):
        compare(doubling, reference(lambda y: y * np.float32(1.03)), SHAPES, atol=1e-6, rtol=1e-2)


def test_dynamic_axes_are_checked_at_other_sizes_than_they_are_traced_at():
    images = from_options(None, (64, 96), ("batch", "width"))
    assert images.shape == (2, 3, 64, 96)
    assert images.checked == [(1, 3, 64, 96), (3, 3, 64, 96 + STEPS["width"])]
    assert images.axes == {0: "batch", 3: "width"}
    assert from_options(None, (64, 64), ()).checked == [(1, 3, 64, 64)]
    assert from_options(4, (64, 64), ("batch",)).checked == [(1, 3, 64, 64), (5, 3, 64, 64)]


def test_outputs_are_named_by_key_or_number():
    x, y, z = torch.zeros(1), torch.ones(2), torch.zeros(3)
    assert list(flatten(x)) == ["output0"]
    assert list(flatten((x, [y, z]))) == ["output0", "output1", "output2"]
    assert list(flatten({"boxes": x, "aux": [y, {"deep": z}], "loss": None})) == [
        "boxes",
        "aux_0",
        "aux_1_deep",
    ]
    # The input is called images, so the output of that name gets another one.
    assert list(flatten({"images": x, "images_": y})) == ["images_", "images__"]


def test_wrapper_leaves_the_models_mode_alone():
    from tests.torch_models import Named

    for training in (False, True):
        model = Named().train(training)
        assert with_flat_outputs(model, model(torch.rand(1, 3, 4, 4))).training is training
    assert list(
        infer(Named(), ["mask", "images_", "aux_0"], np.ones((1, 3, 4, 4), np.float32))
    ) == [
        "mask",
        "images_",
        "aux_0",
    ]
