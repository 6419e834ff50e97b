"""Q/DQ as other tools write it: what TensorRT takes only in another form, and what in none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import TensorProto

from tests.models import Network

SCALE = 0.02
MIDDLE = np.uint8(128)


def pair(s: Network, x: str, zero: Any = MIDDLE, between: Any = None, **attrs: Any) -> str:
    """Quantize and dequantize a tensor, with something in between that reads the integers."""
    zero = np.asarray(zero)
    scale = s.const(np.full(zero.shape, SCALE))
    point = s.const(zero, zero.dtype)
    stored = s.op("QuantizeLinear", x, scale, point, **attrs)
    return s.op(
        "DequantizeLinear", between(s, stored) if between else stored, scale, point, **attrs
    )


def weights(
    s: Network, shape: tuple[int, ...], dtype: type = np.uint8, zero: int = 128, scale: float = 0.01
) -> str:
    """Weights of whole numbers, a scale for each row."""
    values = np.clip(s.rng.normal(0, 40, shape), -120, 120) + zero
    rows = shape[0]
    return s.op(
        "DequantizeLinear",
        s.const(np.rint(values), dtype),
        s.const(np.linspace(scale, 2 * scale, rows)),
        s.const(np.full(rows, zero), dtype),
        axis=0,
    )


def stored(s: Network) -> str:
    return s.op("QuantizeLinear", "image", s.const(SCALE), s.const(MIDDLE, np.uint8))


def bias(s: Network, width: int, **attrs: Any) -> str:
    values = s.const(s.rng.integers(-9999, 9999, width), np.int32)
    return s.op("DequantizeLinear", values, s.const(np.full(width, 1e-4)), axis=0, **attrs)


def conv(s: Network, x: str, *more: str, **attrs: Any) -> str:
    return s.op("Conv", x, weights(s, (4, 3, 3, 3)), *more, pads=[1] * 4, **attrs)


def small(s: Network, x: str) -> str:
    """Turn the rows of three channels over: a move of integers in its widest sense."""
    return s.op("Transpose", s.slice(x, 8, 40, 2), perm=[0, 1, 3, 2])


Build = Callable[[Network], str]
TAKEN: dict[str, Build] = {
    "unsigned around 128": lambda s: conv(s, pair(s, "image")),
    "a zero point of each channel": lambda s: conv(
        s, pair(s, "image", np.full(3, 128, np.uint8), axis=1)
    ),
    "an int32 bias": lambda s: conv(s, pair(s, "image"), bias(s, 4)),
    "an int32 bias in an Add": lambda s: s.op(
        "Add",
        s.op("MatMul", pair(s, "image"), weights(s, (64, 4))),
        bias(s, 4),
    ),
    "a scalar": lambda s: s.op(
        "Mul",
        conv(s, pair(s, "image")),
        s.op("DequantizeLinear", s.const(93, np.int8), s.const(0.02), s.const(0, np.int8)),
    ),
    "weights around 3": lambda s: s.op(
        "Conv", pair(s, "image"), weights(s, (4, 3, 3, 3), np.int8, 3)
    ),
    "weights around nothing": lambda s: s.op(
        "Conv", pair(s, "image"), weights(s, (4, 3, 1, 1), np.int8, 0)
    ),
    "moved integers": lambda s: conv(s, pair(s, "image", between=small)),
    "pooled integers": lambda s: conv(
        s, pair(s, "image", between=lambda s, x: s.op("MaxPool", x, kernel_shape=[2, 2]))
    ),
    "joined integers": lambda s: s.op(
        "DequantizeLinear",
        s.op("Concat", *[stored(s) for _ in range(2)], axis=1),
        s.const(SCALE),
        s.const(MIDDLE, np.uint8),
    ),
    "clipped integers": lambda s: conv(
        s,
        pair(
            s,
            "image",
            np.int8(0),
            lambda s, x: s.op("Clip", x, s.const(-31, np.int8), s.const(31, np.int8)),
        ),
    ),
    "integers clipped on one side": lambda s: conv(
        s, pair(s, "image", np.int8(0), lambda s, x: s.op("Clip", x, s.const(0, np.int8)))
    ),
    "clipped integers around 128": lambda s: conv(
        s,
        pair(s, "image", between=lambda s, x: s.op("Clip", x, s.const(1, np.uint8), "")),
    ),
}


LEFT: dict[str, tuple[Build, str]] = {
    "zero point 114": (lambda s: conv(s, pair(s, "image", np.uint8(114))), "zero point 114"),
    "int8 around -128": (lambda s: conv(s, pair(s, "image", np.int8(-128))), "zero point -128"),
    "unsigned from 0": (lambda s: conv(s, pair(s, "image", np.uint8(0))), "is unsigned"),
    "one channel elsewhere": (
        lambda s: conv(s, pair(s, "image", np.array([128, 128, 127], np.uint8), axis=1)),
        "zero point 128",
    ),
    "weights that do not fit": (
        lambda s: s.op("Conv", pair(s, "image"), weights(s, (4, 3, 1, 1), np.uint8, 4)),
        "zero point 4",
    ),
    "integers joined with constants": (
        lambda s: s.op(
            "DequantizeLinear",
            s.op(
                "Concat",
                s.op("QuantizeLinear", "image", s.const(0.02), s.const(128, np.uint8)),
                s.const(s.rng.integers(0, 256, (2, 1, 64, 64)), np.uint8),
                axis=1,
            ),
            s.const(0.02),
            s.const(128, np.uint8),
        ),
        "zero point 128",
    ),
    "summed integers": (
        lambda s: s.op(
            "Cast",
            s.op(
                "MatMulInteger",
                s.op("QuantizeLinear", "image", s.const(0.02), s.const(0, np.int8)),
                s.const(np.ones((64, 4)), np.int8),
            ),
            to=TensorProto.FLOAT,
        ),
        "no MatMulInteger (node 'n1')",
    ),
}
