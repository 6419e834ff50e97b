"""Values of every tensor in FP32: what a part is fed, and what its outputs are compared with."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx

from trtforge.backends.onnxruntime import reason, session
from trtforge.errors import ForgeError
from trtforge.graph.inputs import dims, inputs
from trtforge.graph.order import reads
from trtforge.graph.precision.single import to_single
from trtforge.reducing.checks import Array, Values
from trtforge.reducing.parts import Whole, analyse, cut

FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)


@dataclass(frozen=True)
class Part:
    """A graph that can be checked.

    Attributes:
        fed: value of each input; empty if engines are not run.
        right: value of each output in FP32, where it is known.
    """

    model: onnx.ModelProto
    fed: Values = field(default_factory=dict)
    right: Values = field(default_factory=dict)


@dataclass(frozen=True)
class Start:
    """A whole model before it is taken apart.

    Attributes:
        part: what is checked first: all of the model, or all that ONNX Runtime knows.
        units: numbers of the units in it.
        values: value of each tensor in FP32; None if engines are not run.
    """

    whole: Whole
    part: Part
    units: Sequence[int]
    values: Values | None


def begin(model: onnx.ModelProto, fed: Values | None) -> Start:
    """Return a model that is ready to be taken apart.

    Args:
        fed: value of each input; None if engines are not run.

    Raises:
        ForgeError: ONNX Runtime can't compute the model from these values.
    """
    whole = analyse(model)
    if fed is None:
        return Start(whole, Part(model), range(len(whole.units)), None)
    known = _known(whole)
    values = _record(whole, known, fed)
    units = [number for number, unit in enumerate(whole.units) if known.issuperset(unit)]
    part = part_of(model if len(units) == len(whole.units) else cut(whole, units), values)
    if part is None:
        raise ForgeError(
            "ONNX Runtime computes no float output of this model", "reduce it with --refused"
        )
    return Start(whole, part, units, values)


def part_of(model: onnx.ModelProto | None, values: Values | None) -> Part | None:
    """Return a part with its values; None where an input's are unknown, or those of all outputs.

    Args:
        values: of each tensor in FP32; None if engines are not run.
    """
    if model is None:
        return None
    if values is None:
        return Part(model)
    fed: dict[str, Array] = {}
    for value in inputs(model):
        array = _typed(value, values[value.name]) if value.name in values else None
        if array is None:
            return None
        fed[value.name] = array
    names = [value.name for value in model.graph.output if value.name in values]
    right = {name: values[name] for name in names if _is_comparable(values[name])}
    return Part(model, fed, right) if right else None


def _typed(tensor: onnx.ValueInfoProto, values: Array) -> Array | None:
    """Return values in the type of a tensor; None where it can't hold them: FP16 ends at 65504."""
    kind = tensor.type.tensor_type.elem_type
    with np.errstate(over="ignore"):
        cast = values.astype(onnx.helper.tensor_dtype_to_np_dtype(kind))
    held = kind not in FLOATS or bool(np.isfinite(cast.astype(np.float32)).all())
    return cast if held else None


def _is_comparable(values: Array) -> bool:
    return values.dtype.kind == "f" and bool(np.isfinite(values).all())


def noise(model: onnx.ModelProto) -> dict[str, Array]:
    """Return drawn values for the inputs: 0..1 for floats, zeros for other types."""
    rng = np.random.default_rng(0)
    drawn: dict[str, Array] = {}
    for value in inputs(model):
        shape = [side if isinstance(side, int) else 1 for side in dims(value)]
        kind = value.type.tensor_type.elem_type
        numbers = rng.random(shape) if kind in FLOATS else np.zeros(shape)
        drawn[value.name] = numbers.astype(onnx.helper.tensor_dtype_to_np_dtype(kind))
    return drawn


def _known(whole: Whole) -> set[int]:
    """Return the numbers of the nodes that ONNX Runtime can compute: no plugins, nor what reads them."""
    known = set()
    unknown: set[str] = set()
    for number, node in enumerate(whole.model.graph.node):
        standard = node.domain in ("", "ai.onnx")
        has = onnx.defs.has(node.op_type) if standard else node.domain == "com.microsoft"
        if has and unknown.isdisjoint(reads(node)):
            known.add(number)
        else:
            unknown.update(node.output)
    return known


def _record(whole: Whole, known: Collection[int], fed: Values) -> dict[str, Array]:
    """Return the value of each tensor, computed by ONNX Runtime in FP32, Q/DQ included.

    Raises:
        ForgeError: ``fed`` does not fit the inputs, or ONNX Runtime can't run the graph.
    """
    model = to_single(_tapped(whole, known))
    feed: dict[str, Array] = {}
    for value in inputs(model):
        array = _typed(value, fed[value.name]) if value.name in fed else None
        if array is None:
            raise ForgeError(
                f"--load-inputs: has no finite values for input {value.name!r}",
                f"it has {', '.join(fed)}; `trtforge verify --save-inputs` writes the right ones",
            )
        feed[value.name] = array
    engine = session(model.SerializeToString(), fuse=False)
    names = [output.name for output in engine.get_outputs()]
    try:
        values = engine.run(names, feed)
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        raise ForgeError(
            f"ONNX Runtime can't run the model in FP32: {reason(error)}",
            "check --size, --batch and --load-inputs",
        ) from error
    return {**feed, **dict(zip(names, values, strict=True))}


def _tapped(whole: Whole, known: Collection[int]) -> onnx.ModelProto:
    """Return the model of the known nodes, with every tensor between two units as an output."""
    tapped = onnx.ModelProto()
    tapped.CopyFrom(whole.model)
    del tapped.graph.node[:], tapped.graph.output[:]
    for number in sorted(known):
        node = whole.model.graph.node[number]
        tapped.graph.node.append(node)
        # What QuantizeLinear makes stays inside its unit.
        if number not in whole.constant and node.op_type != "QuantizeLinear":
            typed = [name for name in node.output if name in whole.types]
            tapped.graph.output.extend(whole.types[name] for name in typed)
    return tapped
