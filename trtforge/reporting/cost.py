"""Compute what a layer does and costs: role, precision, bytes, and its least time on a device."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import prod

from trtforge.devices import Device
from trtforge.reporting.model import Layer, Role, Tensor

BITS = {
    **dict.fromkeys(("Float", "Int32"), 32),
    **dict.fromkeys(("Half", "BFloat16"), 16),
    **dict.fromkeys(("Int8", "UInt8", "FP8", "Bool", "E8M0"), 8),
    **dict.fromkeys(("Int4", "FP4"), 4),
    "Int64": 64,
}
# Types of layers in TensorRT's lists, and operators of ONNX, that compute nothing.
_SYNC = {"signal", "wait"}
_IDLE = {"NoOp", "shape_call"}
_MOVING_TYPES = {"Reformat", "Shuffle", "ReorderInput", "ReorderOutput"}
_MOVING_KINDS = {
    *("Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Dropout"),
    *("Concat", "Split", "Slice", "Transpose", "Expand", "Tile", "DepthToSpace", "SpaceToDepth"),
    *("Cast", "QuantizeLinear", "DequantizeLinear"),
}
# Myelin, TensorRT's compiler, names a kernel after its steps, in four letters each:
# __myl_MoveConc_myl0_7.
_MYELIN = re.compile(r"__myl_((?:[A-Z][a-z]+)+)_myl\d+_\d+")
_MOVING_STEPS = {"Move", "Resh", "Tran", "Cast", "Conc", "Slic", "Copy", "Repl", "Expa"}


def costed(layer: Layer, kinds: Mapping[str, str], batch: int) -> Layer:
    """Return the layer with its role, precision and bytes.

    Args:
        kinds: operator of each ONNX node by name; empty if the graph is unknown.
        batch: size of a dynamic first dimension.
    """
    ops = {kinds[name] for name in layer.members if name in kinds}
    return layer.model_copy(
        update={
            "precision": _precision(layer),
            "role": _role(layer, ops),
            "weight_bytes": _bytes(layer.constants, 1),
            "input_bytes": _bytes(layer.inputs, batch),
            "output_bytes": _bytes(layer.outputs, batch),
        }
    )


def floored(layer: Layer, device: Device | None) -> Layer:
    """Return the layer with its floor: operations over peak, or bytes over bandwidth if larger.

    This is the roofline model (Williams, Waterman, Patterson 2009). Every tensor counts as read
    from and written to the device's memory; a tensor that stays in a cache makes a layer faster
    than its floor. Where the catalogue has no peak for the precision, only the bytes count.
    """
    if device is None or device.bandwidth_gb_s is None or layer.role == "sync":
        return layer.model_copy(update={"floor_ms": None, "bound": ""})
    peaks = {
        "Int8": device.int8_tops,
        "Half": device.fp16_tflops,
        "BFloat16": device.fp16_tflops,
    }
    peak = peaks.get(layer.precision)
    memory = layer.bytes / (device.bandwidth_gb_s * 1e6)
    compute = 2 * layer.macs / (peak * 1e9) if peak else 0.0
    bound = "compute" if compute > memory else "memory"
    return layer.model_copy(
        update={"floor_ms": max(memory, compute), "bound": bound if layer.bytes else ""}
    )


def weight_of(layer: Layer) -> tuple[float, float]:
    """Return by what layers are ranked: measured time, or else the floor; then bytes."""
    time = layer.time_ms if layer.time_ms is not None else layer.floor_ms
    return time or 0.0, float(layer.bytes)


def bytes_crossing(layers: Sequence[Layer], batch: int) -> dict[str, int]:
    """Return the bytes that layers pass to each other, by datatype."""
    total: dict[str, int] = {}
    for layer in layers:
        for tensor in layer.outputs:
            total[tensor.dtype] = total.get(tensor.dtype, 0) + _bytes([tensor], batch)
    return total


def edges(layers: Sequence[Layer]) -> list[tuple[int, int]]:
    """Return pairs of layers, as (from, to) indices, that pass on a tensor, in order.

    If several layers write parts of one tensor, a layer that reads a part gets it from the last
    layer that writes a part of the same size; a layer that reads the whole gets it from all.
    """
    writers: dict[str, list[tuple[int, Tensor]]] = {}
    pairs: dict[tuple[int, int], None] = {}  # a set that keeps the order
    for number, layer in enumerate(layers):
        for tensor in layer.inputs:
            parts = writers.get(tensor.name, [])
            same_size = [source for source, part in parts if part.dims == tensor.dims]
            for source in same_size[-1:] or [source for source, _ in parts]:
                pairs[source, number] = None
        for tensor in layer.outputs:
            writers.setdefault(tensor.name, []).append((number, tensor))
    return list(pairs)


def _precision(layer: Layer) -> str:
    read = max(layer.inputs or layer.outputs, key=_bits, default=None)
    if read is None:
        return ""
    weights = max(layer.constants, key=_bits, default=None)
    # The residual input of an INT8 convolution may be FP16 and larger than its INT8 input.
    if layer.macs and weights and weights.dtype in {tensor.dtype for tensor in layer.inputs}:
        return weights.dtype
    return read.dtype


def _role(layer: Layer, kinds: set[str]) -> Role:
    if layer.type in _SYNC:
        return "sync"
    if layer.type in _IDLE:
        return "no-op"
    if layer.macs:
        return "compute"
    steps = _MYELIN.fullmatch(layer.name)
    moves = layer.type in _MOVING_TYPES or (kinds and kinds <= _MOVING_KINDS)
    if steps and set(re.findall("[A-Z][a-z]+", steps[1])) <= _MOVING_STEPS:
        moves = True
    if not moves:
        return "compute"
    return "copy" if _dtypes(layer.inputs) == _dtypes(layer.outputs) else "convert"


def _dtypes(tensors: Sequence[Tensor]) -> set[str]:
    return {tensor.dtype for tensor in tensors}


def _bytes(tensors: Sequence[Tensor], batch: int) -> int:
    distinct = {tensor.model_dump_json(): tensor for tensor in tensors}
    return sum(-(-_bits(tensor, batch) // 8) for tensor in distinct.values())


def _bits(tensor: Tensor, batch: int = 1) -> int:
    dims = [batch if dim < 0 and axis == 0 else max(1, dim) for axis, dim in enumerate(tensor.dims)]
    return prod(dims) * BITS.get(tensor.dtype, 32)
