"""Normalisations that are written out are right in FP16: rounding after every operator, by ONNX's reference."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from trtforge.graph.fold import fold
from trtforge.graph.model import graph_of, model_of
from trtforge.graph.precision.half import to_half

# x holds values up to some 1000, and y is compared.
PATTERNS = {
    "LayerNorm by Pow": """
        mean = ReduceMean <axes = [-1]> (x)  centred = Sub (x, mean)  square = Pow (centred, two)
        variance = ReduceMean <axes = [-1]> (square)  guarded = Add (variance, tiny)
        deviation = Sqrt (guarded)  y = Div (centred, deviation)""",
    "LayerNorm by Mul": """
        mean = ReduceMean <axes = [-1]> (x)  centred = Sub (x, mean)  square = Mul (centred, centred)
        variance = ReduceMean <axes = [-1]> (square)  guarded = Add (variance, tiny)
        deviation = Sqrt (guarded)  y = Div (centred, deviation)""",
    "RMSNorm by Reciprocal": """
        square = Mul (x, x)  mean = ReduceMean <axes = [-1]> (square)  guarded = Add (mean, tiny)
        root = Sqrt (guarded)  inverse = Reciprocal (root)  y = Mul (x, inverse)""",
    "RMSNorm by a power": """
        square = Pow (x, two)  mean = ReduceMean <axes = [-1]> (square)  guarded = Add (mean, tiny)
        inverse = Pow (guarded, minus_half)  y = Mul (x, inverse)""",
    "softmax by Exp": """
        scaled = Mul (x, small)  power = Exp (scaled)  sum = ReduceSum <keepdims = 1> (power, last)
        y = Div (power, sum)""",
    "L2 norm": """
        square = Mul (x, x)  sum = ReduceSum <keepdims = 1> (square, last)  length = Sqrt (sum)
        y = Div (x, length)""",
    "L2 norm by ReduceL2 and Clip": """
        length = ReduceL2 <axes = [-1], keepdims = 1> (x)  guarded = Clip (length, tiny)
        y = Div (x, guarded)""",
    "a guard in a map": """
        square = Mul (x, x)  mean = ReduceMean <axes = [-1]> (square)  guarded = Add (mean, tinies)
        deviation = Sqrt (guarded)  y = Div (x, deviation)""",
    "log of a sum of powers": """
        scaled = Mul (x, small)  power = Exp (scaled)  sum = ReduceSum <keepdims = 1> (power, last)
        log = Log (sum)  y = Sub (scaled, log)""",
    "no normalisation": """
        scaled = Mul (x, small)  y = Sigmoid (scaled)""",
}


def model(pattern: str) -> onnx.ModelProto:
    """A product that makes x, the pattern, and a product behind it."""
    parsed = onnx.parser.parse_model(f"""<ir_version: 8, opset_import: ["": 13]>
        pattern (float[1, 8, 16] image) => (float[1, 8, 16] scores)
        <float two = {{2.0}}, float minus_half = {{-0.5}}, float tiny = {{0.00000001}},
         float small = {{0.02}}, int64[1] last = {{-1}}> {{
        x = MatMul (image, wide) {PATTERNS[pattern]} scores = MatMul (y, narrow) }}""")
    rng = np.random.default_rng(0)
    values = {
        "tinies": np.full((1, 8, 1), 1e-8),
        "wide": rng.normal(0, 120, (16, 64)),
        "narrow": rng.normal(0, 1, (64, 16)),
    }
    parsed.graph.initializer.extend(
        onnx.numpy_helper.from_array(array.astype(np.float32), name)
        for name, array in values.items()
    )
    return parsed


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_normalisation_is_right_in_half_floats(pattern: str) -> None:
    image = {"image": np.random.default_rng(1).normal(0, 1, (1, 8, 16)).astype(np.float32)}
    folded = fold(model(pattern))
    half = model_of(to_half(graph_of(folded)))
    (right,) = ReferenceEvaluator(folded).run(None, image)
    (found,) = ReferenceEvaluator(half).run(None, image)
    assert np.isfinite(found).all()
    assert np.corrcoef(right.ravel(), found.ravel())[0, 1] > 0.999
    products = [node for node in graph_of(half).nodes if node.op == "MatMul"]
    assert any(node.inputs[1].dtype == np.float16 for node in products)
