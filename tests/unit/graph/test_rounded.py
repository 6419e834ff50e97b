"""FP16 in ONNX Runtime, rounded after every operator: what ONNX's reference computes."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from onnx.reference import ReferenceEvaluator

from tests.models import photographs, yolov8_like
from trtforge.evaluate.models import reference_session
from trtforge.graph.fold import fold
from trtforge.graph.model import graph_of, model_of
from trtforge.graph.precision.half import to_half
from trtforge.graph.precision.rounded import has_half, round_halves

# 300 * 300 is beyond FP16's range, and dividing twice brings it back in FP32.
OVERFLOW = """<ir_version: 8, opset_import: ["": 17]>
overflow (float[1, 4] x) => (float[1, 4] y) <float wide = {300.0}> {
  factor = Cast <to = 10> (wide)  half = Cast <to = 10> (x)
  once = Mul (half, factor)  twice = Mul (once, factor)
  back = Div (twice, factor)  again = Div (back, factor)  y = Cast <to = 1> (again)
}"""


def test_an_overflow_is_seen() -> None:
    model = onnx.parser.parse_model(OVERFLOW)
    x = {"x": np.array([[1, 2.0001, 0.3, 1e-4]], np.float32)}
    with np.errstate(over="ignore"):
        (right,) = ReferenceEvaluator(model).run(None, x)
    assert np.isinf(right).sum() == 2
    np.testing.assert_array_equal(reference_session(model).run(None, x)[0], right)
    plain = onnxruntime.InferenceSession(model.SerializeToString()).run(None, x)[0]
    assert np.isfinite(plain).all()  # why the rounding is written into the graph


def test_a_detector_is_computed_as_before_but_for_rounding() -> None:
    full = fold(yolov8_like())
    half = model_of(to_half(graph_of(full)))
    assert has_half(half)
    assert not has_half(full)
    rounded = round_halves(half)
    onnx.checker.check_model(rounded, full_check=True)
    assert {tensor.name for tensor in half.graph.output} == {
        tensor.name for tensor in rounded.graph.output
    }
    images = {"image": photographs(2)}
    for one, other in zip(
        onnxruntime.InferenceSession(full.SerializeToString()).run(None, images),
        reference_session(half).run(None, images),
        strict=True,
    ):
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.9999
