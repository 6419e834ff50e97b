"""Check that two graphs compute the same: ONNX Runtime runs both on the same random input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from trtforge.errors import ForgeError

# Of an output's largest magnitude: rewrites reorder float arithmetic, and must do nothing else.
TOLERANCE = {"float": 1e-4, "half": 2e-2}
_LAST_BITS = 2.0**-22  # of a number in 0..1: two steps of a float next to 1
_MOVES = 16  # a rewrite rounds in other places than the original, and in several
# Operators that compare or round: where two values are nearly equal, the last bit of a float
# decides what they give.
CHOOSING = {
    "TopK",
    "NonMaxSuppression",
    "ArgMax",
    "ArgMin",
    "NonZero",
    "Unique",
    "QuantizeLinear",
    "Round",
    "Floor",
    "Ceil",
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
}
PLUGIN = "_TRT"
Array = NDArray[Any]  # of any element type
Arrays = dict[str, Array]


def random_inputs(model: onnx.ModelProto) -> Arrays:
    """Return random inputs: 1 for dynamic dimensions, floats in 0..1, zeros for integers.

    Raises:
        ForgeError: an input is no tensor.
    """
    from trtforge.graph.inputs import dims, inputs

    rng = np.random.default_rng(0)
    found = {}
    for value in inputs(model):
        kind = value.type.tensor_type.elem_type
        if not kind:
            raise ForgeError(
                f"input {value.name!r} is not a tensor", "export the model with tensors as inputs"
            )
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind)
        shape = [dim if isinstance(dim, int) else 1 for dim in dims(value)]
        found[value.name] = (
            rng.random(shape, np.float32).astype(dtype)
            if dtype.kind == "f"
            else np.zeros(shape, dtype)
        )
    return found


def different(original: onnx.ModelProto, rewritten: onnx.ModelProto) -> str | None:
    """Return the name of a tensor that differs by more than float rounding; None if none does.

    Raises:
        ForgeError: ONNX Runtime can't run one of them.
    """
    original, rewritten = _without_plugins(_nameless(original)), _without_plugins(rewritten)
    tolerance = TOLERANCE["half" if _half(original) else "float"]
    feed = random_inputs(rewritten)
    before, after = _run(original, feed), _run(rewritten, feed)
    found = _first_difference(before, after, tolerance)
    if not found:
        return None
    pairs = _shared_choices(original, rewritten)
    if pairs:
        chosen = [name for node, _ in pairs for name in node.output if name]
        choices = _run(_with_tensors(original, {}, chosen), feed)
        choices = {name: choices[name] for name in chosen}
        looked_at = _looked_at(original, rewritten, pairs)
        original = _with_tensors(original, choices, list(looked_at))
        rewritten = _with_tensors(rewritten, choices, list(looked_at.values()))
        feed |= choices
        before, after = _run(original, feed), _run(rewritten, feed)
        after |= {name: after[twin] for name, twin in looked_at.items()}
    moves = _moves(original, feed, before)
    return _first_difference(before, after, tolerance, moves)


def _moves(original: onnx.ModelProto, feed: Arrays, results: Arrays) -> dict[str, float]:
    """Return by how much rounding alone moves each output of the original.

    A text detector's map is 0 but for 1e-5 on noise, where an exponential has made rounding in the
    layers before it larger than any share of the map. Rounding is what the runtime's own
    optimisation changes, and inputs that differ in the last bits.
    """
    rng = np.random.default_rng(1)
    nudged = {
        name: (values * (1 + _LAST_BITS * rng.uniform(-1, 1, values.shape))).astype(values.dtype)
        if values.dtype.kind == "f"
        else values
        for name, values in feed.items()
    }
    others = [_run(original, nudged), _run(original, feed, fuse=False)]
    return {
        name: max(_distance(result, other[name]) for other in others)
        for name, result in results.items()
    }


def _distance(one: Array, other: Array) -> float:
    """Return the largest difference of two outputs; 0 where they are no numbers of one shape."""
    if not isinstance(one, np.ndarray) or one.dtype.kind != "f" or one.shape != other.shape:
        return 0.0
    apart = np.abs(one.astype(np.float64) - other.astype(np.float64))
    return float(apart[np.isfinite(apart)].max(initial=0.0))


def _nameless(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model without node names: ONNX Runtime refuses equal ones, ONNX allows them."""
    names = [node.name for node in model.graph.node if node.name]
    if len(set(names)) == len(names):
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for node in copy.graph.node:
        node.name = ""
    return copy


def _half(model: onnx.ModelProto) -> bool:
    kinds = {tensor.data_type for tensor in model.graph.initializer}
    kinds |= {
        value.type.tensor_type.elem_type for value in [*model.graph.input, *model.graph.output]
    }
    return bool(kinds & {onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16})


Pairs = Sequence[tuple[onnx.NodeProto, onnx.NodeProto]]


def _shared_choices(original: onnx.ModelProto, rewritten: onnx.ModelProto) -> Pairs:
    """Return the choices of the original, each with that of the rewritten graph.

    A choice is known by the tensors that it makes. The rewritten graph is given the original's.
    """
    there = _choices(rewritten)
    return [(node, there[name]) for name, node in _choices(original).items() if name in there]


def _looked_at(
    original: onnx.ModelProto, rewritten: onnx.ModelProto, pairs: Pairs
) -> dict[str, str]:
    """Return what the choices of both graphs look at, but for weights, inputs and other choices."""
    chosen = {name for node, _ in pairs for name in node.output}
    computed, there = (
        {name for node in model.graph.node for name in node.output} - chosen
        for model in (original, rewritten)
    )
    return {
        name: twin_name
        for node, twin in pairs
        for name, twin_name in zip(node.input, twin.input, strict=False)
        if name in computed and twin_name in there
    }


def _without_plugins(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model without TensorRT's plugins; what they read becomes an output."""
    plugins = [node for node in model.graph.node if node.op_type.endswith(PLUGIN)]
    if not plugins:
        return model
    cut = onnx.ModelProto()
    cut.CopyFrom(model)
    read = [
        onnx.helper.make_node("Identity", [name], [f"{node.op_type} {number} <- {index}"])
        for number, node in enumerate(plugins)
        for index, name in enumerate(node.input)
    ]
    made: set[str] = set()
    left = []
    for node in model.graph.node:  # each behind those that it reads
        if node in plugins or made & set(node.input):
            made |= set(node.output)
        else:
            left.append(node)
    outputs = [value for value in cut.graph.output if value.name not in made]
    del cut.graph.node[:], cut.graph.output[:]
    cut.graph.node.extend([*left, *read])
    cut.graph.output.extend(
        [*outputs, *(onnx.ValueInfoProto(name=node.output[0]) for node in read)]
    )
    return cut


def _choices(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    return {node.output[0]: node for node in model.graph.node if node.op_type in CHOOSING}


def _with_tensors(model: onnx.ModelProto, given: Arrays, wanted: list[str]) -> onnx.ModelProto:
    """Return the model with some inner tensors as inputs, and others as outputs."""
    cut = onnx.ModelProto()
    cut.CopyFrom(model)
    left = [node for node in cut.graph.node if not set(node.output) & set(given)]
    del cut.graph.node[:]
    cut.graph.node.extend(left)
    cut.graph.input.extend(
        onnx.helper.make_tensor_value_info(
            name, onnx.helper.np_dtype_to_tensor_dtype(values.dtype), values.shape
        )
        for name, values in given.items()
    )
    outputs = [value for value in cut.graph.output if value.name not in given]
    names = dict.fromkeys(name for name in wanted if name not in {value.name for value in outputs})
    del cut.graph.output[:]
    cut.graph.output.extend([*outputs, *(onnx.ValueInfoProto(name=name) for name in names)])
    return cut


def _run(model: onnx.ModelProto, feed: Arrays, fuse: bool = True) -> Arrays:
    from trtforge.backends.onnxruntime import reason, session

    quantized = any(node.op_type == "QuantizeLinear" for node in model.graph.node)
    # Fused INT8 kernels would add differences that do not come from folding.
    engine = session(model.SerializeToString(), fuse=fuse and not quantized)
    try:
        results = engine.run(None, {value.name: feed[value.name] for value in engine.get_inputs()})
    except Exception as error:  # ONNX Runtime raises classes of its own for every kind of refusal
        shapes = ", ".join(
            f"{name} of {'x'.join(map(str, values.shape)) or 'rank 0'}"
            for name, values in feed.items()
        )
        raise ForgeError(
            f"the model fails on {shapes}: {reason(error)}",
            "check --size and --batch: strides must divide the size",
        ) from error
    return dict(zip((value.name for value in engine.get_outputs()), results, strict=True))


def _first_difference(
    before: Arrays, after: Arrays, tolerance: float, moves: Mapping[str, float] | None = None
) -> str | None:
    moves = moves or {}
    return next(
        (
            name
            for name in before
            if not _close(before[name], after[name], tolerance, _MOVES * moves.get(name, 0.0))
        ),
        None,
    )


def _close(before: Array, after: Array, tolerance: float, least: float = 0.0) -> bool:
    """Tell whether outputs differ by no more than a share of the largest, or by ``least``."""
    # Sequences and strings have no distance: they must be equal.
    if not isinstance(before, np.ndarray) or before.dtype.kind not in "fiub":
        return repr(before) == repr(after)
    if before.shape != after.shape or before.dtype != after.dtype:
        return False
    one, other = before.astype(np.float64), after.astype(np.float64)
    scale = float(np.abs(one[np.isfinite(one)]).max(initial=0.0)) or 1.0
    return bool(np.allclose(other, one, rtol=0, atol=max(tolerance * scale, least), equal_nan=True))
