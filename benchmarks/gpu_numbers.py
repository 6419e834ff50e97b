"""Which forms of a quantized operator TensorRT computes right on this GPU, side by side in one engine.

    python benchmarks/gpu_numbers.py [--seconds 240] [--out numbers.jsonl]

Each form is a branch: a float convolution, the operator with an activation behind it, and a last
operator that is INT8 or float. The branches of one engine share what is not INT8 (FP32 or FP16) and
how weights are stored. ONNX Runtime computes the same Q/DQ graph in FP32 without optimisations; the
figure is the signal to noise ratio of the engine's output against it, in dB. FP16 and another rounding
at a tie cost some: over 30 dB is right; a wrong kernel gives less than 10 dB, or numbers that are not
finite. A branch that the builder refuses is named, taken out, and the rest is built again.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE, CHANNELS = 32, 64
RIGHT = 30.0  # dB


@dataclass(frozen=True)
class Form:
    """A form of an operator.

    Attributes:
        kind: name in ``KINDS``.
        activation: none, relu or silu.
        reader: precision of the operator behind it: int8 or float.
        channels: ordinary; small: a third of the weights' channels need scales under half's smallest
            normal number; dead: a third are 0; one: all channels are small.
    """

    kind: str
    activation: str = "none"
    reader: str = "int8"
    channels: str = "ordinary"

    @property
    def title(self) -> str:
        """The form in words."""
        return "; ".join((self.kind, self.activation, f"{self.reader} reader", self.channels))


@dataclass(frozen=True)
class Column:
    """A way to write the forms.

    Attributes:
        rest: fp16 or fp32, of all that is not quantized.
        stored: weights are integers behind DQ, as they are quantized; otherwise as trtforge hands
            them to TensorRT.
        form: int8 or fp8.
    """

    rest: str
    stored: bool = False
    form: str = "int8"

    @property
    def title(self) -> str:
        """The way in words."""
        stored = ", stored integers" if self.stored else ""
        return f"{self.form.upper()}, rest {self.rest.upper()}{stored}"


COLUMNS = (
    Column("fp16"),
    Column("fp16", stored=True),
    Column("fp32"),
    Column("fp16", stored=True, form="fp8"),
)


@dataclass(frozen=True)
class Row:
    """A form in a column: its figure, or why there is none, and its kernels."""

    form: Form
    column: Column
    result: str
    kernels: tuple[str, ...] = ()

    @property
    def right(self) -> bool:
        """Whether the engine computes what the graph says."""
        return self.result.endswith("dB") and float(self.result.split()[0]) >= RIGHT


class Net:
    """A float network in the making."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.branch, self.channels = "", "ordinary"

    def begin(self, branch: str, form: Form) -> None:
        """Let the names that follow begin with the branch's."""
        self.branch, self.channels = branch, form.channels
        self.rng = np.random.default_rng(len(form.kind))

    def const(self, values: np.ndarray, name: str) -> str:
        name = f"{self.branch}/{name}"
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def op(self, kind: str, *inputs: str, name: str, **attributes: Any) -> str:
        name = f"{self.branch}/{name}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], f"/{name}", **attributes))
        return name

    def kernel(self, *shape: int, name: str, fan_in: int) -> str:
        """Weights whose channels differ by up to 30 times, as batch normalization leaves them."""
        values = self.rng.normal(0, fan_in**-0.5, shape)
        spread = 10.0 ** self.rng.uniform(-0.7, 0, (shape[0], *[1] * (len(shape) - 1)))
        if name == "form":
            spread[::3] *= {"small": 1e-4, "dead": 0.0}.get(self.channels, 1.0)
            spread *= {"one": 1e-4}.get(self.channels, 1.0)
        return self.const((values * spread).astype(np.float32), f"{name}.weight")

    def conv(
        self, x: str, inputs: int, outputs: int, side: int, name: str, groups: int = 1, **more: Any
    ) -> str:
        more.setdefault("pads", [side // 2 * more.get("dilations", [1])[0]] * 4)
        weight = self.kernel(
            outputs, inputs // groups, side, side, name=name, fan_in=inputs // groups * side * side
        )
        bias = self.const(self.rng.normal(0, 0.2, outputs).astype(np.float32), f"{name}.bias")
        return self.op("Conv", x, weight, bias, name=name, group=groups, **more)

    def transposed(self, x: str, side: int, name: str, groups: int = 1) -> str:
        weight = self.kernel(
            CHANNELS, CHANNELS // groups, side, side, name=name, fan_in=CHANNELS * 4
        )
        bias = self.const(self.rng.normal(0, 0.2, CHANNELS).astype(np.float32), f"{name}.bias")
        pads = [(side - 2) // 2] * 4
        return self.op(
            "ConvTranspose", x, weight, bias, name=name, group=groups, strides=[2, 2], pads=pads
        )

    def tokens(self, x: str, name: str) -> str:
        """`(B, C, H, W)` to `(B, H * W, C)`."""
        shape = self.const(np.array([0, CHANNELS, SIDE * SIDE]), f"{name}.shape")
        flat = self.op("Reshape", x, shape, name=f"{name}.flat")
        return self.op("Transpose", flat, name=f"{name}.tokens", perm=[0, 2, 1])

    def maps(self, x: str, name: str) -> str:
        """`(B, H * W, C)` to `(B, C, H, W)`."""
        turned = self.op("Transpose", x, name=f"{name}.turned", perm=[0, 2, 1])
        shape = self.const(np.array([0, CHANNELS, SIDE, SIDE]), f"{name}.maps.shape")
        return self.op("Reshape", turned, shape, name=f"{name}.maps")

    def matmul(self, x: str, name: str, inputs: int = CHANNELS, outputs: int = CHANNELS) -> str:
        weight = self.rng.normal(0, inputs**-0.5, (inputs, outputs))
        if name == "form":
            weight[:, ::3] *= {"small": 1e-4, "dead": 0.0}.get(self.channels, 1.0)
        weight = weight.astype(np.float32)
        made = self.op("MatMul", x, self.const(weight, f"{name}.weight"), name=name)
        values = self.rng.normal(0, 0.2, outputs).astype(np.float32)
        return self.op("Add", made, self.const(values, f"{name}.bias"), name=f"{name}.add")

    def norm(self, x: str, name: str) -> str:
        ones = self.const(self.rng.uniform(0.5, 1.5, CHANNELS).astype(np.float32), f"{name}.scale")
        return self.op("LayerNormalization", x, ones, name=name, axis=-1)


def _residual(net: Net, x: str) -> str:
    return net.op("Add", x, net.conv(x, CHANNELS, CHANNELS, 3, "form"), name="residual")


def _product(net: Net, x: str) -> str:
    return net.maps(net.matmul(net.tokens(x, "form"), "form"), "form")


def _residual_norm(net: Net, x: str) -> str:
    """A transformer's block: product, residual, LayerNorm."""
    tokens = net.tokens(x, "form")
    added = net.op("Add", tokens, net.matmul(tokens, "form"), name="residual")
    return net.maps(net.norm(added, "norm"), "form")


def _gelu(net: Net, x: str) -> str:
    """Two products with GELU in between, as exporters of opset 17 write it."""
    one = net.matmul(net.tokens(x, "form"), "form")
    root = net.const(np.float32(2**0.5).reshape(()), "root")
    half = net.const(np.float32(0.5).reshape(()), "half")
    unit = net.const(np.float32(1).reshape(()), "unit")
    scaled = net.op("Erf", net.op("Div", one, root, name="scaled"), name="erf")
    gate = net.op("Mul", one, net.op("Add", scaled, unit, name="shifted"), name="gate")
    return net.maps(net.matmul(net.op("Mul", gate, half, name="gelu"), "second"), "form")


def _attention(net: Net, x: str) -> str:
    """One head: the projections are quantized, the products of activations are not."""
    tokens = net.tokens(x, "form")
    return net.maps(net.matmul(_attend(net, tokens, tokens), "form"), "out")


def _narrow(outputs: int) -> Callable[[Net, str], str]:
    """A product with few results, as of classes or of box sides; it ends the branch."""
    return lambda net, x: net.matmul(net.tokens(x, "form"), "form", CHANNELS, outputs)


def _from_few(inputs: int) -> Callable[[Net, str], str]:
    """A product of few numbers, as the position of a query is embedded."""

    def branch(net: Net, x: str) -> str:
        few = net.matmul(net.tokens(x, "few"), "few", CHANNELS, inputs)
        few = net.op("Sigmoid", few, name="box")
        wide = net.op("Relu", net.matmul(few, "form", inputs, CHANNELS), name="wide")
        return net.maps(net.matmul(wide, "second"), "form")

    return branch


def _encoder(net: Net, x: str) -> str:
    """An encoder's layer: positions are added to what queries and keys are made of."""
    tokens = net.tokens(x, "form")
    places = net.rng.uniform(-1, 1, (1, SIDE * SIDE, CHANNELS)).astype(np.float32)
    placed = net.op("Add", tokens, net.const(places, "places"), name="placed")
    mixed = _attend(net, placed, tokens)
    added = net.op("Add", tokens, net.matmul(mixed, "form"), name="residual")
    return net.maps(net.norm(added, "norm"), "out")


def _attend(net: Net, placed: str, tokens: str) -> str:
    query, key = net.matmul(placed, "query"), net.matmul(placed, "key")
    value = net.matmul(tokens, "value")
    scale = net.const(np.float32(CHANNELS**-0.5).reshape(()), "scale")
    turned = net.op("Transpose", key, name="turned", perm=[0, 2, 1])
    scores = net.op("Mul", net.op("MatMul", query, turned, name="qk"), scale, name="scores")
    return net.op("MatMul", net.op("Softmax", scores, name="softmax", axis=-1), value, name="pv")


def _pools(net: Net, x: str) -> str:
    """Pools of three sizes beside the tensor itself, as SPP has them."""
    x = net.conv(x, CHANNELS, CHANNELS, 1, "form")
    pools = [
        net.op("MaxPool", x, name=f"pool{side}", kernel_shape=[side, side], pads=[side // 2] * 4)
        for side in (5, 9, 13)
    ]
    joined = net.op("Concat", *pools, x, name="joined", axis=1)
    return net.conv(joined, 4 * CHANNELS, CHANNELS, 1, "second")


def _wide_conv(outputs: int) -> Callable[[Net, str], str]:
    """A last convolution with an odd number of channels; it ends the branch."""
    return lambda net, x: net.conv(x, CHANNELS, outputs, 1, "form")


def _conv(side: int, groups: int = 1, **more: Any) -> Callable[[Net, str], str]:
    return lambda net, x: net.conv(x, CHANNELS, CHANNELS, side, "form", groups, **more)


KINDS: dict[str, Callable[[Net, str], str]] = {
    "depthwise 3x3": _conv(3, CHANNELS),
    "depthwise 3x3, stride 2": _conv(3, CHANNELS, strides=[2, 2]),
    "depthwise 5x5": _conv(5, CHANNELS),
    "depthwise 7x7": _conv(7, CHANNELS),
    "depthwise 3x3, dilated": _conv(3, CHANNELS, dilations=[2, 2]),
    "grouped 3x3, 2 groups": _conv(3, 2),
    "grouped 3x3, 16 groups": _conv(3, 16),
    "grouped 1x1, 4 groups": _conv(1, 4),
    "dense 3x3": _conv(3),
    "dense 1x1": _conv(1),
    "dense 3x3, residual": _residual,
    "transposed 2x2": lambda net, x: net.transposed(x, 2, "form"),
    "transposed 4x4": lambda net, x: net.transposed(x, 4, "form"),
    "1x1 to 10 channels": _wide_conv(10),
    "1x1 to 45 channels": _wide_conv(45),
    "pools": _pools,
    "product": _product,
    "product to 4": _narrow(4),
    "product to 8": _narrow(8),
    "product to 10": _narrow(10),
    "product to 16": _narrow(16),
    "product to 24": _narrow(24),
    "product to 32": _narrow(32),
    "product to 48": _narrow(48),
    "product of 4": _from_few(4),
    "product of 8": _from_few(8),
    "product of 16": _from_few(16),
    "product of 24": _from_few(24),
    "product of 32": _from_few(32),
    "product of 48": _from_few(48),
    "product, residual, LayerNorm": _residual_norm,
    "products around GELU": _gelu,
    "attention": _attention,
    "encoder layer": _encoder,
}
ACTIVATIONS: dict[str, Callable[[Net, str], str]] = {
    "none": lambda net, x: x,
    "relu": lambda net, x: net.op("Relu", x, name="active"),
    "leaky": lambda net, x: net.op("LeakyRelu", x, name="active", alpha=0.1),
    "silu": lambda net, x: net.op("Mul", x, net.op("Sigmoid", x, name="gate.silu"), name="active"),
}
ENDS = {"1x1 to 10 channels", "1x1 to 45 channels"} | {k for k in KINDS if "product to" in k}


def forms() -> list[Form]:
    """Return the forms of a network."""
    depthwise = [kind for kind in KINDS if kind.startswith("depthwise")]
    grouped = [kind for kind in KINDS if kind.startswith("grouped")]
    found = [Form(kind, "silu") for kind in (*depthwise, *grouped, "dense 3x3", "dense 1x1")]
    found += [Form(kind, "none", "float") for kind in (*depthwise, *grouped, "dense 1x1")]
    found += [Form("depthwise 3x3", "relu"), Form("depthwise 3x3", "silu", "float")]
    found += [Form("dense 3x3", "silu", "float"), Form("dense 3x3", "leaky")]
    found += [Form(kind, "silu") for kind in ("transposed 2x2", "transposed 4x4")]
    narrow = [kind for kind in KINDS if kind.startswith("product of")]
    plain = ("dense 3x3, residual", "pools", "product", "product, residual, LayerNorm",
             "products around GELU", "attention", "encoder layer", *narrow)  # fmt: skip
    found += [Form(kind) for kind in (*plain, *sorted(ENDS))]
    for channels in ("small", "dead", "one"):
        found += [Form("depthwise 3x3", "silu", "int8", channels)]
        found += [Form("depthwise 3x3", "none", "float", channels)]
        found += [Form("dense 1x1", "silu", "int8", channels)]
        found += [Form("dense 1x1", "none", "float", channels)]
    return [*found, *(Form("product", "none", "int8", each) for each in ("small", "dead"))]


def network(branches: dict[str, Form]) -> onnx.ModelProto:
    """Return the float network of some forms, each with an output of its own."""
    net, made = Net(), []
    for branch, form in branches.items():
        net.begin(branch, form)
        x = net.op("Relu", net.conv("image", 3, CHANNELS, 3, "stem"), name="stem.relu")
        x = KINDS[form.kind](net, x)
        if form.kind not in ENDS:
            x = ACTIVATIONS[form.activation](net, x)
            x = net.conv(x, CHANNELS, 16, 1, "tail")
        made.append(helper.make_tensor_value_info(x, TensorProto.FLOAT, None))
    given = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
    graph = helper.make_graph(net.nodes, "forms", [given], made, net.weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True)


def image() -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 1, (1, 3, SIDE, SIDE)).astype(np.float32)


def run(model: onnx.ModelProto, names: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """Return outputs in ONNX Runtime, in FP32 and without optimisations."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = names or [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"image": image()}), strict=True))


def quantized(branches: dict[str, Form], column: Column) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """Return the Q/DQ graph of some forms in FP32, and as it is built."""
    from unittest.mock import patch

    from trtforge.graph.model import graph_of, model_of
    from trtforge.graph.precision.half import to_half
    from trtforge.graph.quantize import qdq
    from trtforge.graph.quantize.tensorrt import suit_tensorrt

    model = network(branches)
    every = onnx.ModelProto()
    every.CopyFrom(model)
    known = {value.name for value in every.graph.output}
    every.graph.output.extend(v for v in model.graph.value_info if v.name not in known)
    values = {"image": image(), **run(every)}
    tails = [name for name, form in branches.items() if form.reader == "float"]
    keep = tuple(f"/{name}/tail" for name in tails if branches[name].kind not in ENDS)
    # Forms that trtforge keeps in float are measured, too: that is how it came to keep them.
    with patch.object(qdq, "is_unserved", lambda node: False):
        placement = qdq.place(graph_of(model), keep)
    ranges = {name: float(np.abs(values[name]).max()) for name in placement.tensors}
    full = qdq.quantize(graph_of(model), placement, ranges, qdq.FORMATS[column.form])
    reference = model_of(full)
    if column.rest == "fp32":
        return reference, reference
    half = to_half(graph_of(reference))
    return reference, model_of(half if column.stored else suit_tensorrt(half))


def decibels(right: np.ndarray, seen: np.ndarray) -> float | None:
    """Return the signal to noise ratio; None where a number is not finite."""
    if not np.isfinite(seen).all():
        return None
    noise = ((right.astype(np.float64) - seen.astype(np.float64)) ** 2).sum()
    return round(10 * float(np.log10((right.astype(np.float64) ** 2).sum() / max(noise, 1e-30))), 1)


def measure(branches: dict[str, Form], column: Column, folder: Path, timing: Path) -> list[Row]:
    """Build the forms of a column in one engine, and compare each output.

    A branch that the builder names in its refusal is taken out, and the others are built again.
    Where it names none, its message is the answer for all of them.
    """
    from trtforge.backends import tensorrt
    from trtforge.backends.options import BuildOptions
    from trtforge.errors import BuildError

    rows, left = [], dict(branches)
    options = BuildOptions(opt_level=0, timing_cache=str(timing), tf32=False)
    while left:
        reference, built = quantized(left, column)
        onnx.save(built, folder / "forms.onnx")
        try:
            engine, record = tensorrt.build(
                folder / "forms.onnx", batch=(1, 1, 1), size=(SIDE, SIDE), options=options,
                progress=lambda share: None,
            )  # fmt: skip
        except BuildError as error:
            named = [name for name in left if f"/{name}/" in error.problem] or list(left)
            rows += [Row(left.pop(name), column, f"refused: {error.problem}") for name in named]
            continue
        (folder / "forms.engine").write_bytes(engine)
        seen = tensorrt.load(folder / "forms.engine").infer(image())
        right = run(reference)
        for (name, form), output in zip(left.items(), right, strict=True):
            figure = decibels(right[output], seen[output])
            kernels = tuple(kernels_of(f"/{name}/form", record.layers))
            rows.append(Row(form, column, "NaN" if figure is None else f"{figure} dB", kernels))
        break
    return rows


def kernels_of(node: str, layers: str) -> Iterator[str]:
    """Yield the kernels of the layers that hold a node, by TensorRT's inspector."""
    for layer in json.loads(layers)["Layers"]:
        if isinstance(layer, dict) and node in layer["Name"] + layer.get("Metadata", ""):
            yield layer.get("TacticName") or layer["LayerType"]


def table(rows: Sequence[Row]) -> str:
    """Return the rows as Markdown: a line for each form, a column for each way to write it."""
    columns = list(dict.fromkeys(row.column for row in rows))
    lines = ["| form | " + " | ".join(column.title for column in columns) + " |"]
    lines.append("| --- |" + " ---: |" * len(columns))
    for form in dict.fromkeys(row.form for row in rows):
        found = {row.column: row.result for row in rows if row.form == form}
        cells = [found.get(column, "").partition(":")[0] for column in columns]
        lines.append(f"| {form.title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--seconds", type=float, default=240, help="begin no engine after this time"
    )
    parser.add_argument("--out", type=Path, help="file for one JSON document a form")
    parser.add_argument("--timing-cache", type=Path)
    options = parser.parse_args()
    end, rows = time.monotonic() + options.seconds, list[Row]()
    branches = {f"b{number:02}": form for number, form in enumerate(forms())}
    with tempfile.TemporaryDirectory() as name:
        timing = options.timing_cache or Path(name) / "timing.cache"
        for column in COLUMNS:
            if time.monotonic() > end:
                print(f"{column.title}: left out, the time is over", file=sys.stderr)
                continue
            rows += measure(branches, column, Path(name), timing)
    if options.out:
        documents = [json.dumps(asdict(row)) for row in rows]
        options.out.write_text("\n".join(documents) + "\n", encoding="utf-8")
    print(table(rows))
    ours = [row for row in rows if row.column == COLUMNS[0]]
    return 0 if ours and all(row.right for row in ours) else 1


if __name__ == "__main__":
    sys.exit(main())
