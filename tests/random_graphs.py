"""Draw random ONNX graphs of one image input, in the ways that exporters write them.

The same seed gives the same graph. Half of the graphs are of fixed shape; the others have a dynamic
batch, and some of them dynamic sides. Operators with optional inputs are drawn in every form that
their opset allows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

BATCH, SIDE = 2, 32  # of the pictures that dynamic graphs are computed on
OPSETS = (11, 12, 13, 14, 16, 17, 18, 19, 20)
LARGEST_INT64 = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Value:
    """A float tensor: its shape for BATCH pictures of SIDE, and which of its sides are dynamic."""

    name: str
    shape: tuple[int, ...]
    dynamic: tuple[bool, ...]

    def fixed(self, axis: int) -> bool:
        return not self.dynamic[axis]


@dataclass
class Drawing:
    """A graph in the making."""

    random: np.random.Generator
    opset: int
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)

    def chance(self, share: float = 0.5) -> bool:
        return bool(self.random.random() < share)

    def pick(self, low: int, high: int) -> int:
        """Return a whole number from low to high, both included."""
        return int(self.random.integers(low, high + 1))

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes: object) -> str:
        number = len(self.nodes)
        names = [f"t{number}_{index}" for index in range(outputs)]
        kept = list(inputs)
        while kept and not kept[-1]:
            kept.pop()
        self.nodes.append(
            helper.make_node(
                kind,
                kept,
                names,
                f"{kind}_{number}" if self.chance(0.8) else "",
                **attributes,  # type: ignore[arg-type]
            )
        )
        return names[0]

    def constant(self, values: np.ndarray) -> str:
        """Add values as an initializer or, as torch's first exporter does, as a node."""
        tensor = numpy_helper.from_array(values, f"c{len(self.constants)}_{len(self.nodes)}")
        if self.chance(0.7):
            self.constants.append(tensor)
            return str(tensor.name)
        return self.op("Constant", value=tensor)

    def ints(self, *values: int, wide: bool = True) -> str:
        return self.constant(np.array(values, np.int64 if wide else np.int32))

    def floats(self, *shape: int, scale: float = 1.0) -> str:
        return self.constant((self.random.standard_normal(shape) * scale).astype(np.float32))

    def scalar(self, value: float) -> str:
        return self.constant(np.array(value, np.float32))

    def side(self, value: Value, axis: int) -> str:
        """Return a dynamic side as exporters compute it: int64 of shape (1,)."""
        if self.opset >= 15 and self.chance(0.3):
            return self.op("Shape", value.name, start=axis, end=axis + 1)
        shape = self.op("Shape", value.name)
        if self.chance():
            return self.op("Slice", shape, self.ints(axis), self.ints(axis + 1), self.ints(0))
        if self.chance():
            return self.op("Gather", shape, self.ints(axis), axis=0)
        picked = self.op("Gather", shape, self.constant(np.array(axis, np.int64)), axis=0)
        return self.unsqueezed(picked, 0)

    def unsqueezed(self, name: str, *axes: int) -> str:
        if self.opset < 13:
            return self.op("Unsqueeze", name, axes=list(axes))
        return self.op("Unsqueeze", name, self.ints(*axes))


Step = Callable[[Drawing, Value], Value | None]  # None: the operator does not go with the tensor


def convolution(d: Drawing, x: Value) -> Value | None:
    if len(x.shape) != 4 or min(x.shape[2:]) < 3:
        return None
    channels, width = x.shape[1], d.pick(1, 3) * 4
    group = channels if d.chance(0.2) else 1
    width = channels if group > 1 else width
    side, stride = (3, d.pick(1, 2)) if d.chance(0.7) else (1, 1)
    weights = d.floats(width, channels // group, side, side, scale=0.3)
    bias = d.floats(width) if d.chance(0.7) else ""
    made = d.op(
        "Conv", x.name, weights, bias, pads=[side // 2] * 4, strides=[stride] * 2, group=group
    )
    if d.chance(0.3):
        made = batch_normalization(d, made, width)
    return Value(made, (x.shape[0], width, *_strided(x.shape[2:], stride)), x.dynamic)


def batch_normalization(d: Drawing, name: str, width: int) -> str:
    parts = [d.floats(width), d.floats(width), d.floats(width)]
    variance = d.constant(d.random.uniform(0.5, 2, width).astype(np.float32))
    return d.op("BatchNormalization", name, *parts, variance)


def transposed_convolution(d: Drawing, x: Value) -> Value | None:
    if len(x.shape) != 4 or max(x.shape[2:]) > SIDE:
        return None
    width = d.pick(1, 2) * 4
    made = d.op(
        "ConvTranspose",
        x.name,
        d.floats(x.shape[1], width, 2, 2, scale=0.3),
        d.floats(width) if d.chance() else "",
        strides=[2, 2],
    )
    return Value(made, (x.shape[0], width, 2 * x.shape[2], 2 * x.shape[3]), x.dynamic)


def product(d: Drawing, x: Value) -> Value | None:
    """Multiply by a matrix, as MatMul or, for two dimensions, as Gemm."""
    if not x.fixed(-1) or x.shape[-1] > 512:
        return None
    width = d.pick(2, 12)
    if len(x.shape) == 2 and d.chance():
        flat = d.chance()
        shape = (width, x.shape[-1]) if flat else (x.shape[-1], width)
        bias = d.floats(width) if d.chance(0.7) else ""
        made = d.op("Gemm", x.name, d.floats(*shape, scale=0.2), bias, transB=int(flat))
    else:
        made = d.op("MatMul", x.name, d.floats(x.shape[-1], width, scale=0.2))
    return Value(made, (*x.shape[:-1], width), x.dynamic)


def activation(d: Drawing, x: Value) -> Value | None:
    simple = [
        "Relu",
        "Sigmoid",
        "Tanh",
        "LeakyRelu",
        "Softplus",
        "Elu",
        "HardSigmoid",
        "Erf",
        "Abs",
    ]
    kind = d.pick(0, 5)
    if kind == 0:
        made = d.op("Mul", x.name, d.op("Sigmoid", x.name))
    elif kind == 1:
        low = d.scalar(-1) if d.chance() else ""
        high = d.scalar(6) if d.chance() or not low else ""
        made = d.op("Clip", x.name, low, high)
    elif kind == 2 and d.opset >= 14:
        made = d.op("HardSwish", x.name)
    elif kind == 3 and len(x.shape) == 4 and x.fixed(1):
        made = d.op("PRelu", x.name, d.floats(x.shape[1], 1, 1))
    else:
        made = d.op(simple[d.pick(0, len(simple) - 1)], x.name)
    return Value(made, x.shape, x.dynamic)


def sliced(d: Drawing, x: Value) -> Value | None:
    """Cut one or two fixed axes, with or without axes and steps, by bounds of either width."""
    axes = [axis for axis in range(1, len(x.shape)) if x.fixed(axis) and x.shape[axis] > 3]
    if not axes:
        return None
    chosen = sorted(axes[-d.pick(1, 2) :])
    shape = list(x.shape)
    starts, ends, steps = [], [], []
    for axis in chosen:
        length, step = shape[axis], d.pick(1, 2)
        start = d.pick(0, length // 3)
        if d.chance(0.2):
            starts.append(length - 1)
            ends.append(-LARGEST_INT64 + 1)
            steps.append(-step)
            shape[axis] = -(-length // step)
            continue
        end = d.pick(start + 2, length)
        starts.append(start)
        ends.append(LARGEST_INT64 if end == length and d.chance() else end - length or length)
        steps.append(step)
        shape[axis] = -(-(end - start) // step)
    if all(step == 1 for step in steps) and d.chance(0.7):
        steps = []
    wide = d.chance(0.8)
    if not wide:
        limit = np.iinfo(np.int32)
        ends = [min(max(end, limit.min), limit.max) for end in ends]
    written = [axis - len(shape) if d.chance(0.3) else axis for axis in chosen]
    bounds = [starts, ends, written]
    if chosen == list(range(len(shape))):
        bounds[2] = []
    names = [d.ints(*each, wide=wide) if each else "" for each in bounds]
    made = d.op("Slice", x.name, *names, d.ints(*steps, wide=wide) if steps else "")
    return Value(made, tuple(shape), x.dynamic)


def sliced_by_shape(d: Drawing, x: Value) -> Value | None:
    """Cut the second half of an axis, whose middle is computed from the shape."""
    if len(x.shape) < 3 or x.shape[-1] < 4:
        return None
    axis = len(x.shape) - 1
    half = d.op("Div", d.side(x, axis), d.ints(2))
    full = d.ints(LARGEST_INT64)
    made = d.op("Slice", x.name, half, full, d.ints(axis), d.ints(1) if d.chance() else "")
    return Value(made, (*x.shape[:-1], x.shape[-1] - x.shape[-1] // 2), x.dynamic)


def split(d: Drawing, x: Value) -> Value | None:
    if len(x.shape) < 2 or not x.fixed(1) or x.shape[1] % 2 or x.shape[1] < 4:
        return None
    half = x.shape[1] // 2
    if d.opset >= 13 and d.chance():
        made = d.op("Split", x.name, d.ints(half, half), outputs=2, axis=1)
    elif d.opset >= 18:
        made = d.op("Split", x.name, outputs=2, axis=1, num_outputs=2)
    else:
        made = d.op("Split", x.name, outputs=2, axis=1)
    if d.chance():
        made = d.op("Concat", made[:-1] + "1", made, axis=1)
        half *= 2
    return Value(made, (x.shape[0], half, *x.shape[2:]), x.dynamic)


def padded(d: Drawing, x: Value) -> Value | None:
    if len(x.shape) != 4 or min(x.shape[2:]) < 4:
        return None
    mode = ("constant", "reflect", "edge")[d.pick(0, 2)]
    sides = [d.pick(0, 2) for _ in range(4)]
    if mode == "constant" and d.chance(0.2) and x.fixed(2):
        sides[0] = -1
    value = ""
    if mode == "constant" and d.chance():
        value = d.scalar(float(d.pick(0, 2)))
    if d.opset >= 18 and d.chance():
        axes = d.ints(2, 3) if d.chance() else d.ints(-2, -1)
        made = d.op("Pad", x.name, d.ints(*sides), value, axes, mode=mode)
    else:
        full = [0, 0, *sides[:2], 0, 0, *sides[2:]]
        made = d.op("Pad", x.name, d.ints(*full), value, mode=mode)
    high = x.shape[2] + sides[0] + sides[2]
    return Value(made, (*x.shape[:2], high, x.shape[3] + sides[1] + sides[3]), x.dynamic)


def resized(d: Drawing, x: Value) -> Value | None:
    """Resize by scales or to sizes, with and without the region of interest that is not used."""
    if len(x.shape) != 4 or max(x.shape[2:]) > SIDE or not x.fixed(1):
        return None
    mode = "nearest" if d.chance(0.6) else "linear"
    place = ("asymmetric", "half_pixel", "align_corners")[d.pick(0, 2)]
    attributes: dict[str, object] = {"mode": mode, "coordinate_transformation_mode": place}
    if mode == "nearest":
        attributes["nearest_mode"] = "floor" if d.chance(0.7) else "round_prefer_floor"
    empty = d.constant(np.zeros(0, np.float32)) if d.opset < 13 or d.chance(0.3) else ""
    shape = (*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
    if d.chance():
        if d.opset >= 18 and d.chance():
            made = d.op(
                "Resize",
                x.name,
                empty,
                d.constant(np.array([2, 2], np.float32)),
                axes=[2, 3],
                **attributes,
            )
        else:
            scales = d.constant(np.array([1, 1, 2, 2], np.float32))
            made = d.op("Resize", x.name, empty, scales, **attributes)
        return Value(made, shape, x.dynamic)
    none = d.constant(np.zeros(0, np.float32)) if d.opset < 13 else ""
    if any(x.dynamic):
        front = d.op("Slice", d.op("Shape", x.name), d.ints(0), d.ints(2), d.ints(0))
        sides = [d.op("Mul", d.side(x, axis), d.ints(2)) for axis in (2, 3)]
        sizes = d.op("Concat", front, *sides, axis=0)
    else:
        sizes = d.ints(*shape)
    made = d.op("Resize", x.name, empty, none, sizes, **attributes)
    return Value(made, shape, x.dynamic)


def pooled(d: Drawing, x: Value) -> Value | None:
    if len(x.shape) != 4 or min(x.shape[2:]) < 4:
        return None
    kind = d.pick(0, 3)
    if kind == 0:
        return Value(
            d.op("GlobalAveragePool", x.name),
            (*x.shape[:2], 1, 1),
            (x.dynamic[0], x.dynamic[1], False, False),
        )
    if kind == 1:
        made = d.op("MaxPool", x.name, kernel_shape=[5, 5], pads=[2] * 4, strides=[1, 1])
        return Value(made, x.shape, x.dynamic)
    name = "MaxPool" if kind == 2 else "AveragePool"
    made = d.op(name, x.name, kernel_shape=[2, 2], strides=[2, 2])
    return Value(made, (*x.shape[:2], x.shape[2] // 2, x.shape[3] // 2), x.dynamic)


def flattened(d: Drawing, x: Value) -> Value | None:
    """(N, C, H, W) to (N, C, H * W) or to (N, H * W, C), by constants or by the shape."""
    if len(x.shape) != 4 or not x.fixed(1):
        return None
    batch, channels, height, width = x.shape
    if any(x.dynamic) and d.chance(0.6):
        last = d.op("Mul", d.side(x, 2), d.side(x, 3)) if d.chance() else d.ints(-1)
        target = d.op("Concat", d.side(x, 0), d.ints(channels), last, axis=0)
    elif any(x.dynamic[2:]):
        target = d.ints(0, channels, -1)
    else:
        target = d.ints(-1 if x.dynamic[0] else batch, channels, height * width)
    made = d.op("Reshape", x.name, target)
    dynamic = (x.dynamic[0], False, any(x.dynamic[2:]))
    if d.chance():
        return Value(made, (batch, channels, height * width), dynamic)
    made = d.op("Transpose", made, perm=[0, 2, 1])
    return Value(made, (batch, height * width, channels), (dynamic[0], dynamic[2], False))


def shuffled(d: Drawing, x: Value) -> Value | None:
    """Swap groups of channels, as ShuffleNet does."""
    if len(x.shape) != 4 or not x.fixed(1) or x.shape[1] % 2 or any(x.dynamic[2:]):
        return None
    batch, channels, height, width = x.shape
    first = -1 if x.dynamic[0] else batch
    apart = d.op("Reshape", x.name, d.ints(first, 2, channels // 2, height, width))
    swapped = d.op("Transpose", apart, perm=[0, 2, 1, 3, 4])
    return Value(d.op("Reshape", swapped, d.ints(first, *x.shape[1:])), x.shape, x.dynamic)


def space_to_depth(d: Drawing, x: Value) -> Value | None:
    if len(x.shape) != 4 or x.shape[2] % 2 or x.shape[3] % 2 or x.shape[1] > 16:
        return None
    if any(x.dynamic[2:]):
        return None
    made = d.op("SpaceToDepth", x.name, blocksize=2)
    return Value(made, (x.shape[0], 4 * x.shape[1], x.shape[2] // 2, x.shape[3] // 2), x.dynamic)


def gathered(d: Drawing, x: Value) -> Value | None:
    """Pick along an axis by a constant, one index or several, some counted from the end."""
    axes = [axis for axis in range(1, len(x.shape)) if x.fixed(axis) and x.shape[axis] > 1]
    if not axes:
        return None
    axis = axes[d.pick(0, len(axes) - 1)]
    length = x.shape[axis]
    if len(x.shape) > 2 and d.chance(0.3):
        index = d.constant(np.array(d.pick(-1, length - 1), np.int64))
        made = d.op("Gather", x.name, index, axis=axis)
        return Value(
            made, x.shape[:axis] + x.shape[axis + 1 :], x.dynamic[:axis] + x.dynamic[axis + 1 :]
        )
    picked = [d.pick(-length, length - 1) for _ in range(d.pick(1, min(4, length)))]
    made = d.op("Gather", x.name, d.ints(*picked, wide=d.chance(0.8)), axis=axis)
    return Value(made, (*x.shape[:axis], len(picked), *x.shape[axis + 1 :]), x.dynamic)


def reduced(d: Drawing, x: Value) -> Value | None:
    if len(x.shape) < 3:
        return None
    kinds = ("ReduceMean", "ReduceMax", "ReduceSum", "ReduceMin", "ReduceL2", "ReduceProd")
    kind = kinds[d.pick(0, len(kinds) - 1)]
    axis = d.pick(1, len(x.shape) - 1)
    keep = d.chance(0.7)
    written = axis - len(x.shape) if d.chance() else axis
    by_input = d.opset >= (13 if kind == "ReduceSum" else 18)
    if by_input:
        made = d.op(kind, x.name, d.ints(written), keepdims=int(keep))
    else:
        made = d.op(kind, x.name, axes=[written], keepdims=int(keep))
    middle = ((1,), (False,)) if keep else ((), ())
    return Value(
        made,
        (*x.shape[:axis], *middle[0], *x.shape[axis + 1 :]),
        (*x.dynamic[:axis], *middle[1], *x.dynamic[axis + 1 :]),
    )


def best(d: Drawing, x: Value) -> Value | None:
    """Take the largest along an axis: its values, or its positions as floats."""
    axis = len(x.shape) - 1
    if len(x.shape) not in (2, 3) or not x.fixed(axis) or not 2 <= x.shape[axis] <= 2000:
        return None
    if d.chance(0.4):
        keep = d.chance()
        made = d.op("ArgMax", x.name, axis=axis if d.chance() else -1, keepdims=int(keep))
        made = d.op("Cast", made, to=TensorProto.FLOAT)
        return Value(made, x.shape[:-1] + (1,) * keep, x.dynamic[:-1] + (False,) * keep)
    count = d.pick(1, min(5, x.shape[axis]))
    attributes: dict[str, object] = {} if d.chance() else {"sorted": 1, "largest": d.pick(0, 1)}
    made = d.op(
        "TopK", x.name, d.ints(count), outputs=2, axis=axis if d.chance() else -1, **attributes
    )
    if d.chance(0.3):
        made = d.op("GatherElements", x.name, made[:-1] + "1", axis=axis)
    return Value(made, (*x.shape[:-1], count), x.dynamic)


def normalized(d: Drawing, x: Value) -> Value | None:
    if len(x.shape) < 3:
        return None
    kind = d.pick(0, 3)
    if kind == 0:
        return Value(d.op("Softmax", x.name, axis=-1), x.shape, x.dynamic)
    if kind == 1 and d.opset >= 17 and x.fixed(-1):
        bias = d.floats(x.shape[-1]) if d.chance() else ""
        made = d.op("LayerNormalization", x.name, d.floats(x.shape[-1]), bias, axis=-1)
        return Value(made, x.shape, x.dynamic)
    if kind == 2 and x.fixed(1) and len(x.shape) == 4:
        made = d.op("InstanceNormalization", x.name, d.floats(x.shape[1]), d.floats(x.shape[1]))
        return Value(made, x.shape, x.dynamic)
    axes = {"axes": [-1]} if d.opset < 18 else {}
    axis = [d.ints(-1)] if d.opset >= 18 else []
    centred = d.op("Sub", x.name, d.op("ReduceMean", x.name, *axis, **axes))
    variance = d.op("ReduceMean", d.op("Pow", centred, d.scalar(2)), *axis, **axes)
    deviation = d.op("Sqrt", d.op("Add", variance, d.scalar(1e-3)))
    return Value(d.op("Div", centred, deviation), x.shape, x.dynamic)


def arithmetic(d: Drawing, x: Value) -> Value | None:
    """Compute with a constant: a number, one of each channel, or a whole map."""
    kind = ("Add", "Mul", "Sub", "Div", "Max", "Min", "Pow")[d.pick(0, 6)]
    if kind == "Pow":
        return Value(d.op("Pow", x.name, d.scalar(2)), x.shape, x.dynamic)
    shape: tuple[int, ...] = ()
    # TensorRT-RTX 1.7 does not compile a convolution, a Min by channels, and a Concat of it.
    if kind in ("Max", "Min"):
        shape = ()
    elif len(x.shape) > 2 and x.fixed(1) and d.chance():
        shape = (x.shape[1], *[1] * (len(x.shape) - 2))
    elif not any(x.dynamic[1:]) and d.chance(0.3):
        shape = (1, *x.shape[1:])
    values = d.constant(d.random.uniform(0.5, 2, shape).astype(np.float32))
    pair = [values, x.name] if kind in ("Sub", "Add") and d.chance() else [x.name, values]
    return Value(d.op(kind, *pair), x.shape, x.dynamic)


def selected(d: Drawing, x: Value) -> Value | None:
    """Keep positive numbers, by a comparison and Where."""
    mask = d.op("Greater", x.name, d.scalar(0))
    if d.chance():
        mask = d.op("Not", d.op("Less", x.name, d.scalar(0)))
    return Value(d.op("Where", mask, x.name, d.scalar(0.1)), x.shape, x.dynamic)


def expanded(d: Drawing, x: Value) -> Value | None:
    """Add a row of positions that is stretched over the batch."""
    if len(x.shape) < 3 or not x.fixed(-1):
        return None
    row = d.constant(np.arange(x.shape[-1], dtype=np.float32).reshape(1, -1))
    first = d.side(x, 0) if x.dynamic[0] else d.ints(x.shape[0])
    target = d.op("Concat", first, d.ints(x.shape[-1]), axis=0)
    row = d.op("Expand", row, target)
    row = d.unsqueezed(row, *range(1, len(x.shape) - 1))
    return Value(d.op("Add", x.name, row), x.shape, x.dynamic)


def squeezed(d: Drawing, x: Value) -> Value | None:
    """Remove a side of 1, or add one and compute across it."""
    ones = [axis for axis in range(1, len(x.shape)) if x.shape[axis] == 1 and x.fixed(axis)]
    if not ones or len(x.shape) < 3:
        return None
    axis = ones[0]
    if d.opset < 13:
        made = d.op("Squeeze", x.name, axes=[axis])
    else:
        made = d.op("Squeeze", x.name, d.ints(axis))
    return Value(
        made, x.shape[:axis] + x.shape[axis + 1 :], x.dynamic[:axis] + x.dynamic[axis + 1 :]
    )


def attended(d: Drawing, x: Value) -> Value | None:
    """Compute attention of one head over the tokens of (N, L, C)."""
    if len(x.shape) != 3 or not x.fixed(2) or x.shape[2] > 64 or x.shape[1] > 1100:
        return None
    query, key, value = (
        d.op("MatMul", x.name, d.floats(x.shape[2], 8, scale=0.2)) for _ in range(3)
    )
    scores = d.op("MatMul", query, d.op("Transpose", key, perm=[0, 2, 1]))
    weights = d.op("Softmax", d.op("Div", scores, d.scalar(8**0.5)), axis=2)
    return Value(d.op("MatMul", weights, value), (*x.shape[:2], 8), x.dynamic)


def idle(d: Drawing, x: Value) -> Value | None:
    """Do nothing, as exporters do: Identity, Dropout, a Cast to the same type, a Slice of all."""
    kind = d.pick(0, 3)
    if kind == 0:
        made = d.op("Identity", x.name)
    elif kind == 1:
        made = d.op("Dropout", x.name)
    elif kind == 2:
        made = d.op("Cast", x.name, to=TensorProto.FLOAT)
    else:
        made = d.op("Slice", x.name, d.ints(0), d.ints(LARGEST_INT64), d.ints(1))
    return Value(made, x.shape, x.dynamic)


def chained(d: Drawing, x: Value) -> Value | None:
    """Apply a rarer function of one tensor, scaled so that it stays finite."""
    kinds = (
        "Sin Cos Exp Floor Ceil Round Sign Neg Selu Softsign ThresholdedRelu Reciprocal Sqrt Log"
    )
    kind = [
        *kinds.split(),
        *(["Mish"] if d.opset >= 18 else []),
        *(["Gelu"] if d.opset >= 20 else []),
    ]
    chosen = kind[d.pick(0, len(kind) - 1)]
    name = d.op("Tanh", x.name)
    if chosen in ("Reciprocal", "Sqrt", "Log"):
        name = d.op("Add", name, d.scalar(2))
    return Value(d.op(chosen, name), x.shape, x.dynamic)


def padded_convolution(d: Drawing, x: Value) -> Value | None:
    """Convolve with automatic padding, or behind a Pad that folding may take in."""
    if len(x.shape) != 4 or min(x.shape[2:]) < 4:
        return None
    weights = d.floats(8, x.shape[1], 3, 3, scale=0.3)
    if d.chance():
        stride = d.pick(1, 2)
        auto = "SAME_UPPER" if d.chance() else "SAME_LOWER"
        made = d.op("Conv", x.name, weights, auto_pad=auto, strides=[stride] * 2)
        return Value(made, (x.shape[0], 8, *_strided(x.shape[2:], stride)), x.dynamic)
    outer = d.op("Pad", x.name, d.ints(0, 0, 1, 1, 0, 0, 1, 1))
    made = d.op("Conv", outer, weights, dilations=[1, 1])
    return Value(made, (x.shape[0], 8, *x.shape[2:]), x.dynamic)


def line_convolution(d: Drawing, x: Value) -> Value | None:
    """Convolve along the last side of (N, C, L)."""
    if len(x.shape) != 3 or not x.fixed(1) or x.shape[2] < 3 or x.shape[1] > 128:
        return None
    bias = d.floats(4) if d.chance() else ""
    made = d.op("Conv", x.name, d.floats(4, x.shape[1], 3, scale=0.3), bias, pads=[1, 1])
    return Value(made, (x.shape[0], 4, x.shape[2]), x.dynamic)


def grouped_normalization(d: Drawing, x: Value) -> Value | None:
    """Normalize groups of channels, as torch writes GroupNorm."""
    if len(x.shape) != 4 or not x.fixed(1) or x.shape[1] % 2:
        return None
    flat = d.op("Reshape", x.name, d.ints(0, 2, -1))
    flat = d.op(
        "InstanceNormalization",
        flat,
        d.constant(np.ones(2, np.float32)),
        d.constant(np.zeros(2, np.float32)),
    )
    made = d.op("Reshape", flat, d.op("Shape", x.name))
    made = d.op("Mul", made, d.floats(x.shape[1], 1, 1))
    return Value(d.op("Add", made, d.floats(x.shape[1], 1, 1)), x.shape, x.dynamic)


def filled(d: Drawing, x: Value) -> Value | None:
    """Add a tensor that is made from the shape: ConstantOfShape, Range, or Expand by Where."""
    kind = d.pick(0, 2)
    shape = d.op("Shape", x.name)
    if kind == 0:
        value = numpy_helper.from_array(np.array([0.5], np.float32))
        made = d.op("ConstantOfShape", shape, value=value)
    elif kind == 1:
        last = d.op("Gather", shape, d.constant(np.array(-1, np.int64)))
        zero, one = (d.constant(np.array(value, np.int64)) for value in (0, 1))
        made = d.op("Cast", d.op("Range", zero, last, one), to=TensorProto.FLOAT)
    else:
        minus = d.op("Mul", d.op("ConstantOfShape", d.ints(len(x.shape)), value=ONE), d.ints(-1))
        target = d.op("Where", d.op("Equal", shape, minus), d.ints(*[1] * len(x.shape)), shape)
        made = d.op("Expand", d.constant(np.ones([1] * len(x.shape), np.float32)), target)
    return Value(d.op("Add", x.name, made), x.shape, x.dynamic)


def scattered(d: Drawing, x: Value) -> Value | None:
    """Write a constant into the first channel, or the first columns."""
    if any(x.dynamic) or len(x.shape) < 3:
        return None
    if d.chance():
        index = np.zeros((x.shape[0], 2), np.int64)
        index[:, 0] = np.arange(x.shape[0])
        made = d.op("ScatterND", x.name, d.constant(index), d.floats(x.shape[0], *x.shape[2:]))
    else:
        shape = (*x.shape[:-1], 1)
        wide = np.int64 if d.chance() else np.int32
        made = d.op(
            "ScatterElements", x.name, d.constant(np.zeros(shape, wide)), d.floats(*shape), axis=-1
        )
    return Value(made, x.shape, x.dynamic)


def sampled(d: Drawing, x: Value) -> Value | None:
    if len(x.shape) != 4 or d.opset < 16 or any(x.dynamic):
        return None
    grid = d.constant(d.random.uniform(-1, 1, (x.shape[0], 4, 5, 2)).astype(np.float32))
    mode = "bilinear" if d.opset < 20 else "linear"
    made = d.op("GridSample", x.name, grid, mode=mode, align_corners=d.pick(0, 1))
    return Value(made, (*x.shape[:2], 4, 5), x.dynamic)


def summed(d: Drawing, x: Value) -> Value | None:
    """Contract or accumulate: Einsum, CumSum, a sum of three, a mean of two."""
    kind = d.pick(0, 3)
    if kind == 0 and d.opset >= 12 and len(x.shape) == 3 and x.fixed(2) and x.shape[2] <= 128:
        made = d.op("Einsum", x.name, d.floats(x.shape[2], 6, scale=0.3), equation="nlc,cd->nld")
        return Value(made, (*x.shape[:2], 6), x.dynamic)
    if kind == 1:
        axis = d.constant(np.array(-1, np.int64 if d.chance() else np.int32))
        return Value(d.op("CumSum", x.name, axis), x.shape, x.dynamic)
    name = "Sum" if d.chance() else "Mean"
    return Value(d.op(name, x.name, x.name, d.scalar(1)), x.shape, x.dynamic)


def tiled(d: Drawing, x: Value) -> Value | None:
    if len(x.shape) < 3 or not x.fixed(1) or x.shape[1] > 16:
        return None
    repeats = d.ints(1, 2, *[1] * (len(x.shape) - 2))
    return Value(
        d.op("Tile", x.name, repeats), (x.shape[0], 2 * x.shape[1], *x.shape[2:]), x.dynamic
    )


def depth_to_space(d: Drawing, x: Value) -> Value | None:
    if len(x.shape) != 4 or x.shape[1] % 4 or not x.fixed(1) or max(x.shape[2:]) > SIDE:
        return None
    made = d.op("DepthToSpace", x.name, blocksize=2, mode="CRD" if d.chance() else "DCR")
    return Value(made, (x.shape[0], x.shape[1] // 4, 2 * x.shape[2], 2 * x.shape[3]), x.dynamic)


def integer(d: Drawing, x: Value) -> Value | None:
    """Round to whole numbers, compute with them, and return to float."""
    kind = TensorProto.INT64 if d.chance() else TensorProto.INT32
    dtype = np.int64 if kind == TensorProto.INT64 else np.int32
    whole = d.op("Cast", d.op("Clip", x.name, d.scalar(-9), d.scalar(9)), to=kind)
    whole = d.op(
        "Add", d.op("Mul", whole, d.constant(np.array(2, dtype))), d.constant(np.array(1, dtype))
    )
    if d.opset >= 12 and d.chance():
        whole = d.op("Max", whole, d.constant(np.array(0, dtype)))
    return Value(d.op("Cast", whole, to=TensorProto.FLOAT), x.shape, x.dynamic)


def flat(d: Drawing, x: Value) -> Value | None:
    """Flatten to two dimensions."""
    if len(x.shape) < 3 or any(x.dynamic[1:]) or np.prod(x.shape[1:]) > 4096:
        return None
    width = int(np.prod(x.shape[1:]))
    if d.chance():
        made = d.op("Flatten", x.name, axis=1 if d.chance() else 1 - len(x.shape))
    else:
        made = d.op("Reshape", x.name, d.ints(0 if d.chance() else -1, width))
    return Value(made, (x.shape[0], width), (x.dynamic[0], False))


def lstm(d: Drawing, x: Value) -> Value | None:
    """Run a recurrent layer over (L, N, C), with or without its optional inputs."""
    if len(x.shape) != 3 or not x.fixed(2) or x.shape[2] > 32 or any(x.dynamic):
        return None
    size, gates = 4, 4
    turned = d.op("Transpose", x.name, perm=[1, 0, 2])
    bias = d.floats(1, 2 * gates * size) if d.chance() else ""
    start = d.constant(np.zeros((1, x.shape[0], size), np.float32)) if d.chance() else ""
    weights = d.floats(1, gates * size, x.shape[2], scale=0.3)
    again = d.floats(1, gates * size, size, scale=0.3)
    made = d.op("LSTM", turned, weights, again, bias, "", start, start, outputs=3, hidden_size=size)
    made = d.op(
        "Squeeze",
        made,
        *([d.ints(1)] if d.opset >= 13 else []),
        **({} if d.opset >= 13 else {"axes": [1]}),
    )
    made = d.op("Transpose", made, perm=[1, 0, 2])
    return Value(made, (*x.shape[:2], size), x.dynamic)


def logical(d: Drawing, x: Value) -> Value | None:
    """Compare twice, join the answers, and return to float."""
    above, below = d.op("Greater", x.name, d.scalar(-1)), d.op("Less", x.name, d.scalar(1))
    both = d.op(("And", "Or", "Xor")[d.pick(0, 2)], above, below)
    return Value(d.op("Cast", both, to=TensorProto.FLOAT), x.shape, x.dynamic)


def doubled(d: Drawing, x: Value) -> Value | None:
    """Compute in double for a while."""
    wide = d.op("Cast", x.name, to=TensorProto.DOUBLE)
    wide = d.op("Mul", wide, d.constant(np.array(0.5, np.float64)))
    return Value(d.op("Cast", wide, to=TensorProto.FLOAT), x.shape, x.dynamic)


def halved(d: Drawing, x: Value) -> Value | None:
    """Compute in FP16 for a while, as mixed exports do."""
    half = d.op("Cast", x.name, to=TensorProto.FLOAT16)
    half = d.op("Mul", half, d.constant(np.array(0.5, np.float16)))
    if len(x.shape) == 4 and x.fixed(1) and d.chance():
        weights = d.random.standard_normal((x.shape[1], x.shape[1], 1, 1)) * 0.3
        half = d.op("Conv", half, d.constant(weights.astype(np.float16)))
    return Value(d.op("Cast", half, to=TensorProto.FLOAT), x.shape, x.dynamic)


ONE = numpy_helper.from_array(np.array([1], np.int64))
STEPS: tuple[Step, ...] = (
    *(convolution,) * 6,
    *(activation,) * 3,
    *(sliced,) * 4,
    *(padded, resized) * 2,
    *(flattened, gathered, reduced, arithmetic) * 2,
    *(transposed_convolution, product, sliced_by_shape, split, pooled, shuffled, space_to_depth),
    *(best, normalized, selected, expanded, squeezed, attended, idle, chained, padded_convolution),
    *(line_convolution, grouped_normalization, filled, scattered, sampled, summed, tiled),
    *(depth_to_space, integer, flat, lstm, logical, doubled, halved),
)


def joined(d: Drawing, values: list[Value]) -> Value | None:
    """Add or concatenate the last tensor and an earlier one of the same shape."""
    last = values[-1]
    same = [
        value
        for value in values[:-1]
        if len(value.shape) == len(last.shape) > 2
        and value.shape[2:] == last.shape[2:]
        and value.dynamic == last.dynamic
        and value.shape[0] == last.shape[0]
    ]
    if not same:
        return None
    other = same[d.pick(0, len(same) - 1)]
    if other.shape == last.shape and d.chance():
        return Value(d.op("Add", last.name, other.name), last.shape, last.dynamic)
    width = last.shape[1] + other.shape[1]
    if width > 64 or not last.fixed(1):
        return None
    axis = 1 if d.chance() else 1 - len(last.shape)
    made = d.op("Concat", last.name, other.name, axis=axis)
    return Value(made, (last.shape[0], width, *last.shape[2:]), last.dynamic)


def random_graph(seed: int) -> onnx.ModelProto:
    """Return a random model of one input ``image``, (N, 3, 32, 32) where its shape is fixed."""
    random = np.random.default_rng(seed)
    d = Drawing(random, OPSETS[int(random.integers(len(OPSETS)))])
    dynamic_batch, dynamic_sides = d.chance(), d.chance(0.3)
    batch = BATCH if dynamic_batch or d.chance(0.3) else 1
    moving = (dynamic_batch, False, *(dynamic_batch and dynamic_sides,) * 2)
    values = [Value("image", (batch, 3, SIDE, SIDE), moving)]
    for _ in range(d.pick(0, 2)):
        values.append(convolution(d, values[-1]) or values[-1])
    steps, wanted = 0, d.pick(4, 14)
    while steps < wanted:
        step = STEPS[d.pick(0, len(STEPS) - 1)]
        made = joined(d, values) if d.chance(0.15) else step(d, values[-1])
        if made is None or np.prod(made.shape) > 2**17:
            continue
        values.append(made)
        steps += 1
        if d.chance(0.1):  # a branch: the next step reads an earlier tensor
            values.append(values[d.pick(0, len(values) - 1)])
    return _model(d, values)


def _model(d: Drawing, values: list[Value]) -> onnx.ModelProto:
    names = ("batch", "channels", "height", "width")
    sides = [
        name if moves else side
        for name, side, moves in zip(names, values[0].shape, values[0].dynamic, strict=True)
    ]
    last = [value for value in values if not _read(d, value.name) and value.name != "image"]
    results = []
    for number, value in enumerate(dict.fromkeys(last)):
        d.nodes.append(helper.make_node("Identity", [value.name], [f"out{number}"], f"end{number}"))
        results.append(helper.make_tensor_value_info(f"out{number}", TensorProto.FLOAT, None))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, sides)
    graph = helper.make_graph(d.nodes, "random", [image], results, d.constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", d.opset)], ir_version=8)


def _read(d: Drawing, name: str) -> bool:
    return any(name in node.input for node in d.nodes)


def _strided(sides: tuple[int, ...], stride: int) -> tuple[int, ...]:
    return tuple(-(-side // stride) for side in sides)
