"""Two graphs that compute the same, but for rounding, and two that do not."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tests.models import sketch
from trtforge.backends.onnxruntime import session
from trtforge.graph.fold import fold
from trtforge.graph.fold.equality import different, random_inputs


def rare(largest: float) -> onnx.ModelProto:
    """A map of probabilities that are nearly 0 on noise, as of a text detector.

    `largest` is the largest logit on the noise that graphs are compared on.
    """
    logits = network(0.0, sigmoid=False)
    (noise,) = random_inputs(logits).values()
    (found,) = session(logits.SerializeToString()).run(None, {"image": noise})
    return network(largest - float(found.max()), sigmoid=True)


def network(bias: float, sigmoid: bool) -> onnx.ModelProto:
    s = sketch()
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.standard_normal(shape).astype(np.float32)  # noqa: E731
    x = s.op("Conv", "image", s.const(draw(16, 3, 3, 3)), pads=[1] * 4)
    ones = np.ones(16, np.float32)
    parts = [s.const(part) for part in (ones, draw(16), draw(16) * 5, ones * 1e-2)]
    x = s.op("Relu", s.op("BatchNormalization", x, *parts))
    x = s.op("Conv", x, s.const(draw(1, 16, 1, 1)), s.const(np.full(1, bias, np.float32)))
    return s.model(s.op("Sigmoid", x) if sigmoid else x, batch=1)


@pytest.mark.parametrize("largest", [-7.0, -9.0, -11.0])
def test_rounding_of_probabilities_near_zero_is_no_difference(largest: float) -> None:
    model = rare(largest)
    assert different(model, fold(model)) is None


def test_another_network_is_a_difference() -> None:
    """A last convolution that is off by a thousandth is not rounding."""
    model = rare(-9.0)
    other = fold(model)
    weights = next(t for t in other.graph.initializer if list(t.dims) == [1, 16, 1, 1])
    values = numpy_helper.to_array(weights) * np.float32(1.001)
    weights.CopyFrom(numpy_helper.from_array(values, weights.name))
    assert different(model, other) == model.graph.output[0].name


def compared(weight: float = 1.0) -> onnx.ModelProto:
    """The best of what is left where two sums are equal: rounding decides where that is.

    CenterNet leaves the peaks, where a map of probabilities equals the greatest ones around; many
    are nearly 1.
    """
    s = sketch()
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.standard_normal(shape).astype(np.float32)  # noqa: E731
    x = s.op("Conv", "image", s.const(draw(8, 3, 3, 3) * weight), pads=[1] * 4)
    parts = [s.const(part) for part in (draw(8), draw(8), draw(8), np.ones(8, np.float32))]
    x = s.op("BatchNormalization", x, *parts)
    part = s.op("Mul", x, s.const(np.float32(1.1)))
    equal = s.op("Equal", s.op("Add", part, x), s.op("Mul", x, s.const(np.float32(2.1))))
    y = s.op("Mul", x, s.op("Cast", equal, to=onnx.TensorProto.FLOAT))
    s.nodes.append(helper.make_node("TopK", [y, s.ints(5)], ["best", "where"], "top", axis=1))
    return s.model("best", batch=1)


def test_comparisons_that_rounding_decides_are_no_difference() -> None:
    model = compared()
    assert different(model, fold(model)) is None


def test_comparisons_of_other_numbers_are_a_difference() -> None:
    assert different(compared(), fold(compared(1.001))) is not None
