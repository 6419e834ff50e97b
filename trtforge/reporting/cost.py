"""What a layer does and costs: role, precision, bytes, and the least time that a device's roofline
allows it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import prod

from trtforge.devices import Device
from trtforge.reporting.model import Layer, Role, Tensor

BITS = {
    "Float": 32,
    "Half": 16,
    "BFloat16": 16,
    "Int8": 8,
    "UInt8": 8,
    "FP8": 8,
    "Bool": 8,
    "Int4": 4,
    "FP4": 4,
    "E8M0": 8,
    "Int32": 32,
    "Int64": 64,
}
_SYNC = {"signal", "wait"}
_IDLE = {"NoOp", "shape_call"}
_MOVING_TYPES = {"Reformat", "Shuffle", "ReorderInput", "ReorderOutput"}
_MOVING_KINDS = {
    "Reshape",
    "Squeeze",
    "Unsqueeze",
    "Flatten",
    "Identity",
    "Dropout",
    "Concat",
    "Split",
    "Slice",
    "Transpose",
    "Cast",
    "QuantizeLinear",
    "DequantizeLinear",
    "Expand",
    "Tile",
    "DepthToSpace",
    "SpaceToDepth",
}
# Myelin names a kernel after its steps, in four letters each: __myl_MoveConc_myl0_7.
_MYELIN = re.compile(r"__myl_((?:[A-Z][a-z]+)+)_myl\d+_\d+")
_MOVING_STEPS = {"Move", "Resh", "Tran", "Cast", "Conc", "Slic", "Copy", "Repl", "Expa"}


def costed(layer: Layer, kinds: Mapping[str, str], batch: int) -> Layer:
    """The layer with its role, precision and bytes.

    Args:
        kinds: operator of each ONNX node by name; empty if the graph is unknown.
        batch: that a dynamic first dimension stands for.
    """
    return layer.model_copy(
        update={
            "precision": _precision(layer),
            "role": _role(layer, {kinds[name] for name in layer.members if name in kinds}),
            "weight_bytes": _bytes(layer.constants, 1),
            "input_bytes": _bytes(layer.inputs, batch),
            "output_bytes": _bytes(layer.outputs, batch),
        }
    )


def floored(layer: Layer, device: Device | None) -> Layer:
    """The layer with its floor: the larger of operations over peak and bytes over bandwidth (the
    roofline model, Williams, Waterman, Patterson 2009).

    Every tensor counts as read from and written to the device's memory: a cache that holds one
    makes a layer faster than its floor. Where the catalogue has no peak for the precision, the
    bytes alone decide.
    """
    peaks: dict[str, float | None] = {}
    if device:
        peaks = {
            "Int8": device.int8_tops,
            "Half": device.fp16_tflops,
            "BFloat16": device.fp16_tflops,
        }
    peak, bandwidth = peaks.get(layer.precision), device.bandwidth_gb_s if device else None
    if bandwidth is None or layer.role == "sync":
        return layer.model_copy(update={"floor_ms": None, "bound": ""})
    memory = layer.bytes / (bandwidth * 1e6)
    compute = 2 * layer.macs / (peak * 1e9) if peak else 0.0
    bound = "" if not layer.bytes else "compute" if compute > memory else "memory"
    return layer.model_copy(update={"floor_ms": max(memory, compute), "bound": bound})


def weight_of(layer: Layer) -> tuple[float, float]:
    """What layers are ranked by: measured time, else the floor; then bytes."""
    known = layer.time_ms if layer.time_ms is not None else layer.floor_ms
    return known or 0.0, float(layer.bytes)


def bytes_crossing(layers: Sequence[Layer], batch: int) -> dict[str, int]:
    """Bytes that layers hand to each other, by datatype."""
    total: dict[str, int] = {}
    for layer in layers:
        for tensor in layer.outputs:
            total[tensor.dtype] = total.get(tensor.dtype, 0) + _bytes([tensor], batch)
    return total


def edges(layers: Sequence[Layer]) -> list[tuple[int, int]]:
    """(from, to) indices of layers that hand a tensor on, in order.

    Where several layers write parts of one tensor, and a layer reads a part, it is the last part of
    that size.
    """
    written: dict[str, list[tuple[int, Tensor]]] = {}
    found: dict[tuple[int, int], None] = {}
    for number, layer in enumerate(layers):
        for tensor in layer.inputs:
            parts = written.get(tensor.name, [])
            same = [source for source, part in parts if part.dims == tensor.dims]
            for source in same[-1:] if same else [source for source, _ in parts]:
                found[source, number] = None
        for tensor in layer.outputs:
            written.setdefault(tensor.name, []).append((number, tensor))
    return list(found)


def _precision(layer: Layer) -> str:
    read = max(layer.inputs or layer.outputs, key=_bits, default=None)
    if read is None:
        return ""
    weights = max(layer.constants, key=_bits, default=None)
    # A residual in FP16 may be the largest input of an INT8 convolution.
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
    return sum(
        -(-_bits(tensor, batch) // 8)
        for tensor in {each.model_dump_json(): each for each in tensors}.values()
    )


def _bits(tensor: Tensor, batch: int = 1) -> int:
    dims = [batch if dim < 0 and axis == 0 else max(1, dim) for axis, dim in enumerate(tensor.dims)]
    return prod(dims) * BITS.get(tensor.dtype, 32)
