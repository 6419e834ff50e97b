"""Small models for tests: deterministic weights, made with onnx.helper, run by ONNX Runtime in
milliseconds.

`objectness` and `anchor_free` are one strided convolution a scale, so that NumPy can decode them
(`reference`). `yolov7_like`, `yolov8_like` and `classifier` have the blocks of their families and
are meant for whole pipelines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

SIDE, STRIDES, CLASSES = 64, (8, 16, 32), 3
CELLS = sum((SIDE // stride) ** 2 for stride in STRIDES)  # 84


@dataclass
class Sketch:
    """Nodes and constants of a model in the making."""

    nodes: list[Any]
    constants: list[Any]

    def const(self, value: Any, dtype: Any = np.float32) -> str:
        self.constants.append(
            numpy_helper.from_array(np.asarray(value, dtype), f"c{len(self.constants)}")
        )
        return str(self.constants[-1].name)

    def op(self, kind: str, *inputs: str, **attrs: Any) -> str:
        self.nodes.append(
            helper.make_node(
                kind, list(inputs), [f"t{len(self.nodes)}"], f"n{len(self.nodes)}", **attrs
            )
        )
        return f"t{len(self.nodes) - 1}"

    def ints(self, *values: int) -> str:
        return self.const(values, np.int64)

    def slice(self, tensor: str, low: int, high: int, axis: int) -> str:
        return self.op("Slice", tensor, self.ints(low), self.ints(high), self.ints(axis))

    def model(
        self, *outputs: str, batch: int | str = "batch", opset: int = 13, side: Any = SIDE
    ) -> onnx.ModelProto:
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 3, side, side])
        results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        graph = helper.make_graph(self.nodes, "g", [image], results, self.constants)
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8
        )


def sketch() -> Sketch:
    return Sketch([], [])


def weights(stride: int, channels: int) -> np.ndarray:
    return (
        np.random.default_rng(stride)
        .normal(0, 6 / stride, (channels, 3, stride, stride))
        .astype(np.float32)
    )


def head(s: Sketch, stride: int, channels: int) -> str:
    """`(B, channels, SIDE / stride, SIDE / stride)`"""
    return s.op(
        "Conv",
        "image",
        s.const(weights(stride, channels)),
        kernel_shape=[stride] * 2,
        strides=[stride] * 2,
    )


def grid(stride: int) -> np.ndarray:
    """`(rows, columns, 2)` of x, y"""
    steps = np.arange(SIDE // stride, dtype=np.float32)
    return np.stack(np.meshgrid(steps, steps), -1)


def anchors(stride: int) -> np.ndarray:
    return stride * np.array([[1, 2], [2, 1], [1.5, 1.5]], np.float32)


def decoded_anchors(s: Sketch, y: str, stride: int, width: int) -> str:
    """Pixels from a scale's sigmoids `(B, 3, rows, columns, width)`."""
    centre = s.op(
        "Add", s.op("Mul", s.slice(y, 0, 2, 4), s.const(2)), s.const(grid(stride)[None, None] - 0.5)
    )
    centre = s.op("Mul", centre, s.const(stride))
    extent = s.op("Pow", s.op("Mul", s.slice(y, 2, 4, 4), s.const(2)), s.const(2))
    extent = s.op("Mul", extent, s.const(anchors(stride)[None, :, None, None]))
    return s.op("Concat", centre, extent, s.slice(y, 4, width, 4), axis=4)


def objectness_output(s: Sketch, classes: int = CLASSES, decode: bool = True) -> str:
    """YOLOv7's: `(B, 252, 5 + C)`"""
    rows = []
    for stride in STRIDES:
        width, cells = 5 + classes, SIDE // stride
        raw = s.op("Reshape", head(s, stride, 3 * width), s.ints(-1, 3, width, cells, cells))
        y = s.op("Sigmoid", s.op("Transpose", raw, perm=[0, 1, 3, 4, 2]))
        if decode:
            y = decoded_anchors(s, y, stride, width)
        rows.append(s.op("Reshape", y, s.ints(-1, 3 * cells * cells, width)))
    return s.op("Concat", *rows, axis=1)


def boxes_of_sides(s: Sketch, sides: str, corners: bool = False) -> str:
    """Pixels `(B, 4, 84)` from the distances of a box's sides to its cell, in cells."""
    points = s.const(
        np.concatenate([grid(stride).reshape(-1, 2) + 0.5 for stride in STRIDES]).T[None]
    )
    low = s.op("Sub", points, s.slice(sides, 0, 2, 1))
    high = s.op("Add", points, s.slice(sides, 2, 4, 1))
    if not corners:
        low, high = s.op("Div", s.op("Add", low, high), s.const(2)), s.op("Sub", high, low)
    scale = s.const(
        np.concatenate([np.full((SIDE // stride) ** 2, stride) for stride in STRIDES])[None, None]
    )
    return s.op("Mul", s.op("Concat", low, high, axis=1), scale)


def anchor_free_parts(s: Sketch, classes: int = CLASSES, corners: bool = False) -> tuple[str, str]:
    """YOLOv8's boxes `(B, 4, 84)` and logits `(B, C, 84)`"""
    columns = [
        s.op(
            "Reshape", head(s, stride, 4 + classes), s.ints(-1, 4 + classes, (SIDE // stride) ** 2)
        )
        for stride in STRIDES
    ]
    everything = s.op("Concat", *columns, axis=2)
    sides = s.op("Exp", s.slice(everything, 0, 4, 1))
    boxes = boxes_of_sides(s, sides, corners)
    return boxes, s.slice(everything, 4, 4 + classes, 1)


def anchor_free_output(s: Sketch, classes: int = CLASSES, corners: bool = False) -> str:
    """YOLOv8's: `(B, 4 + C, 84)`"""
    boxes, logits = anchor_free_parts(s, classes, corners)
    return s.op("Concat", boxes, s.op("Sigmoid", logits), axis=1)


def objectness(**kwargs: Any) -> onnx.ModelProto:
    s = sketch()
    return s.model(objectness_output(s), **kwargs)


def anchor_free(**kwargs: Any) -> onnx.ModelProto:
    s = sketch()
    return s.model(anchor_free_output(s), **kwargs)


def images(batch: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.2, (batch, 3, SIDE, SIDE)).astype(np.float32)


def reference(form: str, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Corners `(B, N, 4)` and scores `(B, N, C)`, decoded in NumPy from the convolutions up."""
    width = 3 * (5 + CLASSES) if form == "objectness" else 4 + CLASSES
    boxes, scores = [], []
    for stride in STRIDES:
        cells = SIDE // stride
        patches = image.reshape(-1, 3, cells, stride, cells, stride)
        raw = np.einsum("bcyixj,ocij->byxo", patches, weights(stride, width))
        if form == "objectness":
            y = sigmoid(raw.reshape(-1, cells, cells, 3, 5 + CLASSES).transpose(0, 3, 1, 2, 4))
            centre = (y[..., :2] * 2 + grid(stride) - 0.5) * stride
            half = (y[..., 2:4] * 2) ** 2 * anchors(stride)[:, None, None] / 2
            corners, score = (
                np.concatenate([centre - half, centre + half], -1),
                y[..., 4:5] * y[..., 5:],
            )
        else:
            sides, point = np.exp(raw[..., :4]), grid(stride) + 0.5
            corners = np.concatenate([point - sides[..., :2], point + sides[..., 2:]], -1) * stride
            score = sigmoid(raw[..., 4:])
        boxes.append(corners.reshape(len(image), -1, 4))
        scores.append(score.reshape(len(image), -1, CLASSES))
    return np.concatenate(boxes, 1), np.concatenate(scores, 1)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def run(graph: gs.Graph, feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    model = gs.export_onnx(graph)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return dict(
        zip([output.name for output in session.get_outputs()], session.run(None, feed), strict=True)
    )


# ------------------------------------------------------------------------------------------------
# whole networks


@dataclass
class Network(Sketch):
    """A sketch with layers that have weights."""

    rng: np.random.Generator

    def conv(
        self, x: str, channels: tuple[int, int], kernel: int = 1, stride: int = 1, bias: float = 0.0
    ) -> str:
        """A convolution that keeps the spread of values about 1; channels are (in, out)."""
        values = self.rng.normal(
            0, (2 / (channels[0] * kernel**2)) ** 0.5, (channels[1], channels[0], kernel, kernel)
        )
        pads = [kernel // 2] * 4
        return self.op(
            "Conv",
            x,
            self.const(values),
            self.const(self.rng.normal(bias, 0.1, channels[1])),
            kernel_shape=[kernel] * 2,
            strides=[stride] * 2,
            pads=pads,
        )

    def model(self, *outputs: str, **kwargs: Any) -> onnx.ModelProto:
        """As `Sketch.model`, with the shapes of outputs as inference finds them: ONNX's checker
        wants some.
        """
        model = super().model(*outputs, **kwargs)
        inferred = onnx.shape_inference.infer_shapes(model).graph.output
        del model.graph.output[:]
        model.graph.output.extend(inferred)
        return model

    def leaky(self, x: str, channels: tuple[int, int], kernel: int = 1, stride: int = 1) -> str:
        return self.op("LeakyRelu", self.conv(x, channels, kernel, stride), alpha=0.1)

    def relu(self, x: str, channels: tuple[int, int], kernel: int = 1, stride: int = 1) -> str:
        return self.op("Relu", self.conv(x, channels, kernel, stride))

    def silu(self, x: str, channels: tuple[int, int], kernel: int = 1, stride: int = 1) -> str:
        linear = self.conv(x, channels, kernel, stride)
        return self.op("Mul", linear, self.op("Sigmoid", linear))

    def reshape(self, x: str, *rest: int) -> str:
        """To (batch, *rest) as exporters write it: the batch is read back out of the tensor."""
        batch = self.op("Gather", self.op("Shape", x), self.const(0, np.int64), axis=0)
        batch = self.op("Unsqueeze", batch, self.ints(0))
        return self.op(
            "Reshape", x, self.op("Concat", batch, *[self.ints(dim) for dim in rest], axis=0)
        )

    def maxpool(self, x: str, kernel: int, stride: int) -> str:
        pads = [kernel // 2 if stride == 1 else 0] * 4
        return self.op("MaxPool", x, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads)


def network(seed: int) -> Network:
    return Network([], [], np.random.default_rng(seed))


def yolov7_like(
    seed: int = 7, classes: int = CLASSES, heads: int = 3, **kwargs: Any
) -> onnx.ModelProto:
    """LeakyReLU, ELAN-like concat, a residual add, max-pools, and 3 anchors on each cell: `(B, N, 5
    + C)`.
    """
    s = network(seed)
    x = s.leaky("image", (3, 8), 3, 2)
    x = s.leaky(x, (8, 16), 3, 2)
    one, two = s.leaky(x, (16, 8)), s.leaky(x, (16, 8))
    x = s.leaky(s.op("Concat", one, two, s.leaky(two, (8, 8), 3), axis=1), (24, 16))
    x = s.op("Add", x, s.leaky(s.leaky(x, (16, 8)), (8, 16), 3))
    scales = []
    for _ in STRIDES[:heads]:
        pooled = s.leaky(s.maxpool(x, 2, 2), (16, 8))
        x = s.op("Concat", s.leaky(x, (16, 8), 3, 2), pooled, axis=1)
        scales.append(x)
    rows = []
    for x, stride in zip(scales, STRIDES, strict=False):
        cells, width = SIDE // stride, 5 + classes
        raw = s.reshape(s.conv(s.leaky(x, (16, 16), 3), (16, 3 * width)), 3, width, cells, cells)
        y = s.op("Sigmoid", s.op("Transpose", raw, perm=[0, 1, 3, 4, 2]))
        y = decoded_anchors(s, y, stride, width)
        rows.append(s.reshape(y, 3 * cells * cells, width))
    return s.model(s.op("Concat", *rows, axis=1), **kwargs)


def yolov8_like(
    seed: int = 8, classes: int = CLASSES, bins: int = 8, **kwargs: Any
) -> onnx.ModelProto:
    """SiLU, C2f, SPPF, an upsampling neck, and boxes as the mean of a distribution: `(B, 4 + C,
    N)`.
    """
    s = network(seed)
    x = s.silu("image", (3, 8), 3, 2)
    x = c2f(s, s.silu(x, (8, 16), 3, 2), 16)
    eight = c2f(s, s.silu(x, (16, 16), 3, 2), 16)
    sixteen = c2f(s, s.silu(eight, (16, 16), 3, 2), 16)
    thirty_two = sppf(s, s.silu(sixteen, (16, 16), 3, 2))
    grown = s.op(
        "Resize",
        thirty_two,
        "",
        s.const([1, 1, 2, 2]),
        mode="nearest",
        nearest_mode="floor",
        coordinate_transformation_mode="asymmetric",
    )
    sixteen = c2f(s, s.silu(s.op("Concat", grown, sixteen, axis=1), (32, 16)), 16)
    columns = []
    for x in (eight, sixteen, thirty_two):
        boxes = s.conv(s.silu(x, (16, 16), 3), (16, 4 * bins))
        scores = s.conv(s.silu(x, (16, 16), 3), (16, classes))
        cells = (SIDE // STRIDES[len(columns)]) ** 2
        columns.append(s.reshape(s.op("Concat", boxes, scores, axis=1), 4 * bins + classes, cells))
    everything = s.op("Concat", *columns, axis=2)
    boxes = s.slice(everything, 0, 4 * bins, 1)
    sides = s.op(
        "Softmax", s.op("Transpose", s.reshape(boxes, 4, bins, CELLS), perm=[0, 2, 1, 3]), axis=1
    )
    mean = s.const(np.arange(bins).reshape(1, bins, 1, 1))
    sides = s.reshape(s.op("Conv", sides, mean, kernel_shape=[1, 1]), 4, CELLS)
    scores = s.op("Sigmoid", s.slice(everything, 4 * bins, 4 * bins + classes, 1))
    return s.model(s.op("Concat", boxes_of_sides(s, sides), scores, axis=1), **kwargs)


def c2f(s: Network, x: str, channels: int) -> str:
    half = channels // 2
    x, count = s.silu(x, (channels, channels)), len(s.nodes)
    one, two = f"t{count}", f"t{count}.b"
    s.nodes.append(
        helper.make_node("Split", [x, s.ints(half, half)], [one, two], f"n{count}", axis=1)
    )
    deep = s.op("Add", two, s.silu(s.silu(two, (half, half), 3), (half, half), 3))
    return s.silu(s.op("Concat", one, two, deep, axis=1), (3 * half, channels))


def sppf(s: Network, x: str) -> str:
    pools = [s.silu(x, (16, 8))]
    for _ in range(3):
        pools.append(s.maxpool(pools[-1], 5, 1))
    return s.silu(s.op("Concat", *pools, axis=1), (32, 16))


def classifier(seed: int = 50, classes: int = 10, **kwargs: Any) -> onnx.ModelProto:
    """A small ResNet: `(B, C)` logits. Its first block is an identity block, its second has a
    downsampling branch.
    """
    s = network(seed)
    x = s.maxpool(s.relu("image", (3, 16), 3, 2), 2, 2)
    x = s.op("Relu", s.op("Add", s.conv(s.relu(x, (16, 16), 3), (16, 16), 3), x))
    short = s.conv(x, (16, 32), 1, 2)
    x = s.op("Relu", s.op("Add", s.conv(s.relu(x, (16, 32), 3, 2), (32, 32), 3), short))
    pooled = s.op("ReduceMean", x, axes=[2, 3], keepdims=0)
    weights = s.const(s.rng.normal(0, 0.2, (classes, 32)))
    return s.model(
        s.op("Gemm", pooled, weights, s.const(s.rng.normal(0, 0.1, classes)), transB=1), **kwargs
    )


def photographs(batch: int, seed: int = 0) -> np.ndarray:
    """Smooth images in 0..1, as networks see them."""
    coarse = np.random.default_rng(seed).random((batch, 3, SIDE // 8, SIDE // 8), np.float32)
    fine = np.random.default_rng(seed + 1).random((batch, 3, SIDE, SIDE), np.float32)
    return (0.8 * coarse.repeat(8, 2).repeat(8, 3) + 0.2 * fine).astype(np.float32)


def outputs(model: onnx.ModelProto, images: np.ndarray, fuse: bool = True) -> list[np.ndarray]:
    """What ONNX Runtime makes of the images; graphs typed for TensorRT run without its fusions."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    if not fuse:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return list(session.run(None, {session.get_inputs()[0].name: images}))


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(
        np.corrcoef(one.astype(np.float64).ravel(), other.astype(np.float64).ravel())[0, 1]
    )
