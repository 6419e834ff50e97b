"""Insert Q/DQ nodes for INT8 and FP8, and decide which tensors carry them.

The rules, numbered as the tests name them:

1. The input of every learned convolution and matrix product is INT8, and so are its weights:
   symmetric, per output channel, stored as INT8 (NVIDIA TensorRT documentation, "Working with
   Quantized Types": symmetric only, zero points 0, per-channel weights).
2. Before a convolution, one scale runs through operators that only move values (concat, max-pool,
   resize, slice, transpose ...): a concat of INT8 inputs then costs a copy, and a second rounding
   changes nothing. Before a matrix product, Q/DQ stands directly at its input: TensorRT 10.6 takes
   0 for a sum's input that was quantized, moved and dequantized where the rest is FP16.
3. In a residual add that takes the output of a convolution directly, the other input carries Q/DQ,
   so that convolution, add and quantize fuse into one kernel; a pair on the convolution's output
   would force them apart. Where both inputs come from convolutions, the one that runs later fuses
   and the earlier one carries Q/DQ. An input of any add that convolutions also read is taken in
   its quantized form. What matrix products read stays float in adds: products and adds do not fuse.
4. The operators that read the network's input stay float. A photograph has 256 levels, and
   symmetric INT8 has 127 for them; with three input channels these operators cost next to nothing
   (1 % of YOLOv8n's MACs).
5. Biases, activations and the decode stay float; so does the *output* of the last learned operator
   of each branch, because nothing learned reads it.
6. Operators without a right INT8 kernel stay float: see ``unserved``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import ml_dtypes
import numpy as np
import onnx
import onnx_graphsurgeon as gs

from trtforge.errors import ForgeError
from trtforge.graph.edit.names import Names, names_of
from trtforge.graph.heads import last_learned, learned
from trtforge.graph.moves import Group, groups, moved_inputs
from trtforge.graph.patterns import matching
from trtforge.graph.quantize.rounding import Rounded
from trtforge.graph.quantize.unserved import is_unserved
from trtforge.graph.tensors import values_of

LEAST_OPSET = 13  # QuantizeLinear and DequantizeLinear take an axis
SMALLEST_SCALE = 2.0**-24  # FP16's smallest number: scales must be positive in either float type


@dataclass(frozen=True)
class Format:
    """The type and the range of quantized numbers.

    Attributes:
        dtype: stored type; FP8 is E4M3 without infinities (arXiv 2209.05433), for SM89 and newer.
        largest: magnitude that a range is mapped to.
    """

    dtype: np.dtype
    largest: float

    def stored(self, values: np.ndarray) -> np.ndarray:
        """Return values in units of their scale, rounded to nearest even and clipped."""
        clipped = np.clip(values, -self.largest, self.largest)
        stored: np.ndarray = (np.rint(clipped) if self.dtype == np.int8 else clipped).astype(
            self.dtype
        )
        return stored


INT8 = Format(np.dtype(np.int8), 127)  # symmetric: -128 is not used
FP8 = Format(np.dtype(ml_dtypes.float8_e4m3fn), 448)
FORMATS = {"int8": INT8, "fp8": FP8}


@dataclass(frozen=True)
class Placement:
    """The tensors of a float graph that carry Q/DQ.

    Attributes:
        operators: names of the learned operators that become INT8.
        groups: tensors that share a scale -> the tensors to observe for it. The latter are enough:
            every value of the group passes through one of them, once.
        readers: tensor -> (node name, input index) pairs that read it in its quantized form.
    """

    operators: tuple[str, ...]
    groups: tuple[Group, ...]
    readers: Mapping[str, tuple[tuple[str, int], ...]]

    @property
    def tensors(self) -> tuple[str, ...]:
        return tuple(name for members, _ in self.groups for name in members)

    @property
    def observed(self) -> tuple[str, ...]:
        return tuple(name for _, sources in self.groups for name in sources)


def place(
    graph: gs.Graph,
    keep: tuple[str, ...] = (),
    float_heads: bool = False,
    only: tuple[str, ...] = (),
) -> Placement:
    """Decide which tensors carry Q/DQ, by the rules above.

    Args:
        graph: a folded float graph whose nodes have names of their own.
        keep: patterns of the nodes that stay float (see ``trtforge.graph.patterns``).
        float_heads: whether the last learned operator of each branch stays float.
        only: patterns of all that may be quantized; none is no limit.

    Raises:
        ForgeError: a pattern matches no learned operator, nothing is left to quantize, or the graph
            is not a folded float32 one.
    """
    _check_float(graph)
    operators = learned(graph)
    noun = "convolution or matrix product"
    kept = matching(graph, keep, operators, noun)
    if only:
        kept |= {node.name for node in operators} - matching(graph, only, operators, noun)
    kept |= {node.name for node in operators if _reads_input(node.inputs[0])}
    kept |= {node.name for node in last_learned(graph)} if float_heads else set()
    kept |= {node.name for node in operators if is_unserved(node)}
    operators = [node for node in operators if node.name not in kept]
    if not operators:
        raise ForgeError(
            "the model has no convolution or matrix product to quantize", "build it with --fp16"
        )

    convolutions = [node for node in operators if node.op == "Conv"]
    readers = _readers(convolutions)
    names = {node.name for node in convolutions}
    for node, index in _residual_inputs(graph, names, set(readers)):
        readers.setdefault(node.inputs[index].name, {})[node.name, index] = None
    for node in operators:
        if node.op != "Conv":
            readers.setdefault(node.inputs[0].name, {})[node.name, 0] = None
    return Placement(
        operators=tuple(node.name for node in operators),
        groups=groups(graph, readers),
        readers={name: tuple(found) for name, found in readers.items()},
    )


def _readers(convolutions: list[gs.Node]) -> dict[str, dict[tuple[str, int], None]]:
    """Return the convolutions' inputs and the tensors whose values they hold, with their readers."""
    readers: dict[str, dict[tuple[str, int], None]] = {}
    stack = [(node.inputs[0], node, 0) for node in convolutions]
    while stack:
        tensor, reader, index = stack.pop()
        if tensor.name not in readers:
            stack += moved_inputs(tensor)
        readers.setdefault(tensor.name, {})[reader.name, index] = None
    return readers


def _check_float(graph: gs.Graph) -> None:
    """Refuse a graph that the rules don't cover."""
    quantized = next(
        (node for node in graph.nodes if node.op in ("QuantizeLinear", "DequantizeLinear")), None
    )
    if quantized:
        raise ForgeError(
            f"the model is quantized already (node {quantized.name!r})", "build it without --int8"
        )
    names = [node.name for node in graph.nodes]
    if "" in names or len(set(names)) < len(names) or graph.opset < LEAST_OPSET:
        raise ForgeError(
            f"the model has nodes without a name of their own, or an opset under {LEAST_OPSET}",
            "run `trtforge fold` first",
        )
    half = next(
        (node for node in learned(graph) if np.dtype(node.inputs[1].dtype) != np.float32), None
    )
    if half:
        raise ForgeError(
            f"the weights of {half.name!r} are {np.dtype(half.inputs[1].dtype)}",
            "quantize an FP32 export of the model",
        )


def quantize(
    graph: gs.Graph,
    placement: Placement,
    amax: Mapping[str, float],
    form: Format = INT8,
    rounded: Mapping[str, Rounded] | None = None,
) -> gs.Graph:
    """Insert Q/DQ, in place.

    Args:
        graph: the graph that ``placement`` was made from, of opset 13 or newer.
        amax: largest magnitude that is represented, for each tensor of the placement.
        form: of the quantized numbers; FP8 needs opset 19.
        rounded: INT8 weights and bias of some of its operators; the others' weights are rounded to
            nearest.

    Raises:
        ForgeError: a tensor has no range, or one that is not a positive number.
    """
    tensors = graph.tensors()
    nodes = {node.name: node for node in graph.nodes}
    names = names_of(graph)
    missing = [name for name in placement.tensors if name not in amax]
    if missing:
        raise ForgeError(
            f"the calibration has no range for {len(missing)} tensors, the first is {missing[0]!r}",
            "calibrate this very model (after `trtforge fold`)",
        )
    for name, found in placement.readers.items():
        if not (math.isfinite(amax[name]) and amax[name] >= 0):
            raise ForgeError(
                f"the calibration's range for {name!r} is {amax[name]}", "calibrate again"
            )
        scale = fp16_scale(amax[name] / form.largest)
        quantized = _pair(graph, tensors[name], scale, form, names)
        for reader, index in found:
            nodes[reader].inputs[index] = quantized
    for name in placement.operators:
        _quantize_weights(graph, nodes[name], form, (rounded or {}).get(name), names)
    return graph.toposort()


def widen(graph: gs.Graph) -> gs.Graph:
    """Turn FP16 scales of Q/DQ into FP32, in place, because runtimes disagree about FP16 scales.

    TensorRT converts the scales itself. ONNX Runtime 1.23 rounds far off with them (1.31 does not).
    """
    names = names_of(graph)
    for node in list(graph.nodes):
        if node.op in ("QuantizeLinear", "DequantizeLinear") and node.inputs[1].dtype == np.float16:
            scale = values_of(node.inputs[1]).astype(np.float32)
            node.inputs[1] = gs.Constant(names.free(f"{node.name}.scale.fp32"), scale)
            wide = gs.Variable(names.free(f"{node.name}.fp32"), np.float32)
            if node.op == "QuantizeLinear":
                graph.nodes.append(_cast(node.inputs[0], wide, names))
                node.inputs[0] = wide
            else:
                narrow, node.outputs[0] = node.outputs[0], wide
                graph.nodes.append(_cast(wide, narrow, names))
    return graph.toposort()


def _cast(tensor: gs.Tensor, result: gs.Tensor, names: Names) -> gs.Node:
    to = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(result.dtype))
    return gs.Node("Cast", names.free(f"{result.name}:cast"), {"to": int(to)}, [tensor], [result])


def fp16_scale(scale: float) -> float:
    """Return the smallest FP16 number not below a scale, which serves FP32 and FP16 graphs alike.

    A scale beyond FP16 stays as it is, and the cast pass then leaves its operators in FP32.
    """
    # Without float(), NumPy would round the scale to FP16 before it compares.
    if scale > float(np.finfo(np.float16).max):
        return scale
    rounded = np.float16(max(scale, SMALLEST_SCALE))
    if float(rounded) < scale:
        rounded = np.nextafter(rounded, np.float16(np.inf))
    return float(rounded)


def _reads_input(tensor: gs.Tensor) -> bool:
    """Tell whether a tensor is the network's input, or holds only values of it."""
    moved = [source for source, _, _ in moved_inputs(tensor)]
    return all(_reads_input(source) for source in moved) if moved else not tensor.inputs


def _residual_inputs(
    graph: gs.Graph, convolutions: set[str], quantized: set[str]
) -> list[tuple[gs.Node, int]]:
    """Return the inputs of adds that rule 3 quantizes.

    Args:
        convolutions: names of the quantized convolutions.
        quantized: names of the tensors that they read in quantized form.
    """
    order = {node.name: position for position, node in enumerate(graph.nodes)}
    found = []
    for node in graph.nodes:
        if node.op != "Add" or not all(tensor.inputs for tensor in node.inputs):
            continue
        direct = [
            order[tensor.inputs[0].name]
            for tensor in node.inputs
            if tensor.inputs[0].name in convolutions and len(tensor.outputs) == 1
        ]
        feeds_int8 = any(
            tensor.name in quantized for tensor in _through_activation(node.outputs[0])
        )
        for index, tensor in enumerate(node.inputs):
            fuses = bool(direct) and order[tensor.inputs[0].name] == max(direct)
            if not fuses and (tensor.name in quantized or (feeds_int8 and direct)):
                found.append((node, index))
    return found


def _through_activation(tensor: gs.Tensor) -> list[gs.Tensor]:
    """Return the tensor and what activations right behind it make of it."""
    activations = ("Relu", "LeakyRelu", "Clip", "PRelu")
    return [tensor] + [reader.outputs[0] for reader in tensor.outputs if reader.op in activations]


def _pair(
    graph: gs.Graph, tensor: gs.Tensor, scale: float, form: Format, names: Names
) -> gs.Variable:
    scale_constant = gs.Constant(names.free(f"{tensor.name}.scale"), np.array(scale, np.float32))
    zero_point = gs.Constant(names.free(f"{tensor.name}.zero_point"), np.array(0, form.dtype))
    stored = gs.Variable(names.free(f"{tensor.name}.{_short(form)}"), form.dtype, tensor.shape)
    restored = gs.Variable(names.free(f"{tensor.name}.dequantized"), np.float32, tensor.shape)
    graph.nodes.append(
        gs.Node(
            "QuantizeLinear",
            names.free(f"{tensor.name}.quantize"),
            inputs=[tensor, scale_constant, zero_point],
            outputs=[stored],
        )
    )
    graph.nodes.append(
        gs.Node(
            "DequantizeLinear",
            names.free(f"{tensor.name}.dequantize"),
            inputs=[stored, scale_constant, zero_point],
            outputs=[restored],
        )
    )
    return restored


def weight_scales(rows: np.ndarray, largest: float = INT8.largest) -> np.ndarray:
    """Return the scale of each row of weights (O, columns): float32 (O,)."""
    return np.array(
        [fp16_scale(float(amax) / largest) for amax in np.abs(rows).max(axis=1)], np.float32
    )


def _quantize_weights(
    graph: gs.Graph, node: gs.Node, form: Format, given: Rounded | None, names: Names
) -> None:
    values = np.asarray(values_of(node.inputs[1]), np.float32)
    axis = _channel_axis(node, values.ndim)
    if given is None:
        stored, scales = _nearest(values, axis, form)
    else:
        stored, scales = given.integers, given.scales
        bias = gs.Constant(names.free(f"{node.name}.bias.corrected"), given.bias)
        node.inputs = [*node.inputs[:2], bias]
    restored = gs.Variable(names.free(f"{node.name}.weights.dequantized"), np.float32, values.shape)
    graph.nodes.append(
        gs.Node(
            "DequantizeLinear",
            names.free(f"{node.name}.weights.dequantize"),
            attrs={} if axis is None else {"axis": axis},
            inputs=[
                gs.Constant(names.free(f"{node.name}.weights.{_short(form)}"), stored),
                gs.Constant(names.free(f"{node.name}.weights.scale"), scales),
                gs.Constant(
                    names.free(f"{node.name}.weights.zero_point"),
                    np.zeros(scales.shape, form.dtype),
                ),
            ],
            outputs=[restored],
        )
    )
    node.inputs[1] = restored


def _nearest(values: np.ndarray, axis: int | None, form: Format) -> tuple[np.ndarray, np.ndarray]:
    """Return the nearest numbers of the format, and the scales: (channels,), or () without an axis."""
    if axis is None:
        scales = weight_scales(values.reshape(1, -1), form.largest).reshape(())
        spread = scales
    else:
        scales = weight_scales(
            np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1), form.largest
        )
        spread = scales.reshape([-1 if index == axis else 1 for index in range(values.ndim)])
    return form.stored(values / spread), scales


def _short(form: Format) -> str:
    return next(name for name, each in FORMATS.items() if each is form)


def _channel_axis(node: gs.Node, rank: int) -> int | None:
    """Return the axis of the output channels: (O, I, kH, kW), (I, O, kH, kW), Gemm (I, O) or (O, I).

    None, so one scale for all, where a matrix product's weights are no matrix.
    """
    if node.op == "Conv":
        return 0
    if node.op == "ConvTranspose":
        return 1
    if node.op == "Gemm":
        return 0 if node.attrs.get("transB") else 1
    return rank - 1 if rank == 2 else None
