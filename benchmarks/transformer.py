"""A detector like RT-DETR, as torch's TorchScript exporter writes one: about 2,800 nodes.

Structure after Zhao et al., "DETRs Beat YOLOs on Real-time Object Detection" (arXiv 2304.08069): a
convolutional backbone with batch normalization, one attention layer on the coarsest scale, a top-k
choice of queries among all positions, decoder layers with self-attention and deformable attention,
and boxes refined layer by layer. Weights are random; the batch is dynamic.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WIDTH, HEADS, POINTS, QUERIES, CLASSES, LAYERS, SIDE = 64, 4, 4, 100, 20, 5, 256
SCALES = (8, 16, 32)


@dataclass
class Trace:
    """Nodes in the making; constants are Constant nodes, as torch writes them, but for weights."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        return self.ops(kind, 1, *inputs, **attributes)[0]

    def ops(self, kind: str, count: int, *inputs: str, **attributes: Any) -> list[str]:
        name = f"/{kind}_{len(self.nodes)}"
        made = [f"{name}_output_{index}" for index in range(count)]
        self.nodes.append(helper.make_node(kind, list(inputs), made, name, **attributes))
        return made

    def const(self, value: Any, dtype: Any = np.float32) -> str:
        return self.op("Constant", value=numpy_helper.from_array(np.asarray(value, dtype)))

    def weight(self, *shape: int, scale: float | None = None) -> str:
        spread = scale if scale is not None else (1 / max(1, int(np.prod(shape[1:])))) ** 0.5
        values = self.rng.normal(0, spread, shape).astype(np.float32)
        self.weights.append(numpy_helper.from_array(values, f"w{len(self.weights)}"))
        return self.weights[-1].name

    # ------------------------------------------------------------------------------------- what
    # tracing leaves behind

    def size(self, x: str, axis: int) -> str:
        """`x.shape[axis]`"""
        return self.op("Gather", self.op("Shape", x), self.const(axis, np.int64), axis=0)

    def sizes(self, *dims: int | str) -> str:
        """A shape tensor, of numbers and of sizes read out of tensors."""
        parts = [self.const(dim, np.int64) if isinstance(dim, int) else dim for dim in dims]
        return self.op(
            "Concat",
            *(self.op("Unsqueeze", part, self.const([0], np.int64)) for part in parts),
            axis=0,
        )

    def view(self, x: str, *dims: int | str) -> str:
        return self.op("Reshape", x, self.sizes(*dims))

    def expand(self, x: str, *dims: int | str) -> str:
        """`x.expand(...)`: -1 keeps a size, which torch exports as a choice at run time."""
        wanted = self.op("Reshape", self.sizes(*dims), self.const([-1], np.int64))
        ones = self.op(
            "ConstantOfShape",
            self.op("Shape", wanted),
            value=numpy_helper.from_array(np.array([1], np.int64)),
        )
        keeps = self.op("Equal", wanted, self.op("Mul", ones, self.const(-1, np.int64)))
        return self.op("Expand", x, self.op("Where", keeps, ones, wanted))

    def slice(self, x: str, axis: int, low: int, high: int) -> str:
        bounds = [self.const([value], np.int64) for value in (low, high, axis)]
        return self.op("Slice", x, *bounds, self.const([1], np.int64))

    # ----------------------------------------------------------------------------------------------------------
    # layers

    def linear(self, x: str, inputs: int, outputs: int) -> str:
        product = self.op(
            "MatMul", x, self.op("Transpose", self.weight(outputs, inputs), perm=[1, 0])
        )
        return self.op("Add", self.weight(outputs, scale=0.01), product)

    def norm(self, x: str) -> str:
        return self.op(
            "LayerNormalization",
            x,
            self.weight(WIDTH, scale=1.0),
            self.weight(WIDTH, scale=0.1),
            axis=-1,
        )

    def mlp(self, x: str, outputs: int) -> str:
        for _ in range(2):
            x = self.op("Relu", self.linear(x, WIDTH, WIDTH))
        return self.linear(x, WIDTH, outputs)

    def conv(self, x: str, channels: tuple[int, int], kernel: int, stride: int) -> str:
        """Padding, convolution, batch normalization and ReLU, each a node."""
        low, high = kernel // 2, kernel // 2
        pads = self.op(
            "Cast", self.const([0, 0, low, low, 0, 0, high, high], np.int64), to=TensorProto.INT64
        )
        x = self.op("Pad", x, pads, self.const(0.0)) if kernel > 1 else x
        kernels = self.weight(channels[1], channels[0], kernel, kernel)
        x = self.op("Conv", x, kernels, kernel_shape=[kernel] * 2, strides=[stride] * 2)
        values = [self.rng.uniform(0.5, 1.5, channels[1]).astype(np.float32) for _ in range(4)]
        names = [f"w{len(self.weights) + index}" for index in range(4)]
        self.weights += [
            numpy_helper.from_array(value, name) for value, name in zip(values, names, strict=True)
        ]
        return self.op("Relu", self.op("BatchNormalization", x, *names))

    def attention(self, x: str, value: str) -> str:
        """Multi-head self-attention over rows `(B, N, WIDTH)`, in torch's layout of rows first."""
        query, key, values = (
            self.op("Transpose", self.linear(each, WIDTH, WIDTH), perm=[1, 0, 2])
            for each in (x, x, value)
        )
        rows, batch = self.size(query, 0), self.size(query, 1)
        folded = self.op("Mul", batch, self.const(HEADS, np.int64))
        parts = [
            self.op("Transpose", self.view(each, rows, folded, WIDTH // HEADS), perm=[1, 0, 2])
            for each in (query, key, values)
        ]
        scores = self.op("MatMul", parts[0], self.op("Transpose", parts[1], perm=[0, 2, 1]))
        scores = self.op(
            "Softmax", self.op("Mul", scores, self.const((WIDTH // HEADS) ** -0.5)), axis=-1
        )
        mixed = self.op("Transpose", self.op("MatMul", scores, parts[2]), perm=[1, 0, 2])
        mixed = self.view(mixed, self.op("Mul", rows, batch), WIDTH)
        mixed = self.linear(mixed, WIDTH, WIDTH)
        return self.op("Transpose", self.view(mixed, rows, batch, WIDTH), perm=[1, 0, 2])

    def deformable(self, x: str, boxes: str, memory: str) -> str:
        """Deformable attention (arXiv 2010.04159): a few points of each scale around each query's
        box.
        """
        batch, rows = self.size(x, 0), self.size(x, 1)
        by_heads = self.op("Mul", batch, self.const(HEADS, np.int64))
        levels, head = len(SCALES), WIDTH // HEADS
        value = self.view(
            self.linear(memory, WIDTH, WIDTH), batch, self.size(memory, 1), HEADS, head
        )
        offsets = self.linear(x, WIDTH, HEADS * levels * POINTS * 2)
        offsets = self.view(offsets, batch, rows, HEADS, levels * POINTS, 2)
        weights = self.linear(x, WIDTH, HEADS * levels * POINTS)
        weights = self.op(
            "Softmax", self.view(weights, batch, rows, HEADS, levels * POINTS), axis=-1
        )
        box = self.op(
            "Unsqueeze",
            self.op("Unsqueeze", boxes, self.const([2], np.int64)),
            self.const([2], np.int64),
        )
        reach = self.op(
            "Mul", self.op("Div", offsets, self.const(float(POINTS))), self.slice(box, 4, 2, 4)
        )
        places = self.op("Add", self.slice(box, 4, 0, 2), self.op("Mul", reach, self.const(0.5)))
        places = self.op("Sub", self.op("Mul", places, self.const(2.0)), self.const(1.0))
        cells = [(SIDE // scale) ** 2 for scale in SCALES]
        sampled = []
        for level, scale in enumerate(SCALES):
            low = sum(cells[:level])
            rows_of = self.slice(value, 1, low, low + cells[level])
            flat = self.view(rows_of, batch, cells[level], WIDTH)
            image = self.view(
                self.op("Transpose", flat, perm=[0, 2, 1]),
                by_heads,
                head,
                SIDE // scale,
                SIDE // scale,
            )
            here = self.slice(places, 3, level * POINTS, (level + 1) * POINTS)
            here = self.op("Transpose", here, perm=[0, 2, 1, 3, 4])
            grid = self.view(here, by_heads, rows, POINTS, 2)
            sampled.append(
                self.op("GridSample", image, grid, mode="bilinear", padding_mode="zeros")
            )
        stacked = self.op("Concat", *sampled, axis=-1)
        weights = self.view(
            self.op("Transpose", weights, perm=[0, 2, 1, 3]), by_heads, 1, rows, levels * POINTS
        )
        mixed = self.op(
            "ReduceSum", self.op("Mul", stacked, weights), self.const([-1], np.int64), keepdims=0
        )
        mixed = self.op("Transpose", self.view(mixed, batch, WIDTH, rows), perm=[0, 2, 1])
        return self.linear(mixed, WIDTH, WIDTH)

    def feed_forward(self, x: str) -> str:
        return self.linear(self.op("Relu", self.linear(x, WIDTH, 2 * WIDTH)), 2 * WIDTH, WIDTH)

    def anchors(self, features: list[str]) -> str:
        """A grid of cell centres for each scale, computed in the graph from the features' own
        sizes: `(1, N, 4)`.
        """
        found = []
        for level, x in enumerate(features):
            steps = []
            for axis in (2, 3):
                size = self.op("Cast", self.size(x, axis), to=TensorProto.INT64)
                counted = self.op("Range", self.const(0, np.int64), size, self.const(1, np.int64))
                centres = self.op(
                    "Add", self.op("Cast", counted, to=TensorProto.FLOAT), self.const(0.5)
                )
                steps.append(self.op("Div", centres, self.op("Cast", size, to=TensorProto.FLOAT)))
            height, width = self.size(x, 2), self.size(x, 3)
            down = self.expand(
                self.op("Reshape", steps[0], self.const([-1, 1], np.int64)), height, width
            )
            along = self.expand(
                self.op("Reshape", steps[1], self.const([1, -1], np.int64)), height, width
            )
            axis = [
                self.op("Unsqueeze", each, self.const([-1], np.int64)) for each in (along, down)
            ]
            grid = self.view(self.op("Concat", *axis, axis=-1), 1, self.op("Mul", height, width), 2)
            ones = self.op(
                "ConstantOfShape",
                self.op("Shape", grid),
                value=numpy_helper.from_array(np.ones(1, np.float32)),
            )
            found.append(
                self.op(
                    "Concat", grid, self.op("Mul", ones, self.const(0.05 * 2.0**level)), axis=-1
                )
            )
        points = self.op("Concat", *found, axis=1)
        return self.op("Log", self.op("Div", points, self.op("Sub", self.const(1.0), points)))


def build() -> onnx.ModelProto:
    """The model: `image (batch, 3, 256, 256)` to `boxes (batch, 100, 4)` and `scores (batch, 100,
    20)`.
    """
    t = Trace()
    x, features = "image", []
    channels = 3
    for stage, blocks in enumerate((3, 3, 8, 16, 8)):
        for block in range(blocks):
            wide = min(WIDTH, 16 * 2**stage)
            y = t.conv(x, (channels, wide), 3, 2 if block == 0 else 1)
            x = t.op("Relu", t.op("Add", y, x)) if block else y
            channels = wide
        if stage >= 2:
            features.append(t.conv(x, (channels, WIDTH), 1, 1))
    features[-1] = encoded(t, features[-1])
    rows = []
    for x in features:
        flat = t.view(x, t.size(x, 0), WIDTH, t.op("Mul", t.size(x, 2), t.size(x, 3)))
        rows.append(t.op("Transpose", flat, perm=[0, 2, 1]))
    memory = t.op("Concat", *rows, axis=1)
    target, boxes = queries(t, memory, t.anchors(features))
    for _ in range(LAYERS):
        target, boxes = decoded(t, target, boxes, memory)
    scores = t.op("Sigmoid", t.linear(target, WIDTH, CLASSES))
    t.nodes.append(helper.make_node("Identity", [boxes], ["boxes"], "/boxes"))
    t.nodes.append(helper.make_node("Identity", [scores], ["scores"], "/scores"))
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", QUERIES, last])
        for name, last in (("boxes", 4), ("scores", CLASSES))
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])
    graph = helper.make_graph(t.nodes, "rtdetr-like", [image], outputs, t.weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def encoded(t: Trace, x: str) -> str:
    """An attention layer over the coarsest features."""
    batch, height, width = (t.size(x, axis) for axis in (0, 2, 3))
    rows = t.op("Transpose", t.view(x, batch, WIDTH, t.op("Mul", height, width)), perm=[0, 2, 1])
    rows = t.norm(t.op("Add", rows, t.op("Dropout", t.attention(rows, rows))))
    rows = t.norm(t.op("Add", rows, t.feed_forward(rows)))
    return t.view(t.op("Transpose", rows, perm=[0, 2, 1]), batch, WIDTH, height, width)


def queries(t: Trace, memory: str, anchors: str) -> tuple[str, str]:
    """The positions with the best scores, and their boxes."""
    scores = t.linear(t.norm(memory), WIDTH, CLASSES)
    best = t.op("ReduceMax", scores, axes=[-1], keepdims=0)
    _, where = t.ops("TopK", 2, best, t.const([QUERIES], np.int64), axis=1)
    batch = t.size(memory, 0)
    boxes = t.op("Add", t.mlp(memory, 4), anchors)
    places = t.op("Unsqueeze", where, t.const([-1], np.int64))
    target = t.op("GatherElements", memory, t.expand(places, batch, QUERIES, WIDTH), axis=1)
    boxes = t.op("GatherElements", boxes, t.expand(places, batch, QUERIES, 4), axis=1)
    return target, t.op("Sigmoid", boxes)


def decoded(t: Trace, target: str, boxes: str, memory: str) -> tuple[str, str]:
    """A decoder layer, and the boxes that it refines."""
    place = t.mlp(t.linear(boxes, 4, WIDTH), WIDTH)
    x = t.op("Add", target, place)
    target = t.norm(t.op("Add", target, t.op("Dropout", t.attention(x, target))))
    x = t.op("Add", target, place)
    target = t.norm(t.op("Add", target, t.op("Identity", t.deformable(x, boxes, memory))))
    target = t.norm(t.op("Add", target, t.feed_forward(target)))
    inner = t.op("Clip", boxes, t.const(1e-5), t.const(1 - 1e-5))
    logit = t.op("Log", t.op("Div", inner, t.op("Sub", t.const(1.0), inner)))
    return target, t.op("Sigmoid", t.op("Add", t.mlp(target, 4), logit))
