"""Fewer nodes, the same results: constants folded, shape arithmetic resolved, one opset."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from trtforge.errors import ForgeError
from trtforge.graph.model import graph_of, model_of

# FP16 scales of QuantizeLinear exist since opset 19; TensorRT 10 and 11 read 9 to 20 and more.
OPSET = 19


def fold(
    model: onnx.ModelProto,
    size: tuple[int, int] | None = None,
    opset: int | None = OPSET,
    default_size: tuple[int, int] | None = None,
) -> onnx.ModelProto:
    """Fold everything that does not depend on the input's values.

    Args:
        model: any ONNX model; an image input has shape (N, C, H, W).
        size: height and width in pixels that replace dynamic ones; fixed ones must be equal.
        opset: raise the model to this opset if it is older; None leaves it.
        default_size: height and width for dynamic ones, whatever the fixed ones are.

    Returns:
        A model with the same inputs and outputs, of which only dimensions that stay dynamic have names.

    Raises:
        ForgeError: ``size`` contradicts the model, or the opset conversion fails.
    """
    model = onnx.ModelProto.FromString(model.SerializeToString())
    if size or default_size:
        _fix_size(model, size, default_size)
    if opset and _opset(model) < opset:
        model = _raise_opset(model, opset)
    # Exporters write names such as 'Concatoutput_dim_1' where inference finds the number: infer afresh.
    model = _infer_afresh(model)
    graph = graph_of(model)
    with quiet():
        graph.fold_constants()
    graph.cleanup()
    _resolve_reshapes(graph)
    _name_nodes(graph)
    folded = model_of(graph)
    _name_output_dims(folded)
    return folded


def _infer_afresh(model: onnx.ModelProto) -> onnx.ModelProto:
    """Shapes from the inputs alone; an output behind an operator that ONNX does not know keeps what it had."""
    del model.graph.value_info[:]
    declared = [onnx.TypeProto.FromString(output.type.SerializeToString()) for output in model.graph.output]
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    for output, type_proto in zip(model.graph.output, declared, strict=True):
        if not output.type.tensor_type.HasField("shape"):
            output.type.CopyFrom(type_proto)
    return model


def image_input(model: onnx.ModelProto) -> onnx.ValueInfoProto:
    """The one input that is not an initializer: float32 of shape (N, 3, H, W).

    Raises:
        ForgeError: the model has several inputs, or the one it has is not a batch of colour images.
    """
    initializers = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in initializers]
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise ForgeError(f"the model has {len(inputs)} inputs ({names}); one image input is served",
                         "export it with a single image input")  # fmt: skip
    if len(inputs[0].type.tensor_type.shape.dim) != 4:
        raise ForgeError(f"input {inputs[0].name!r} is not a batch of images (N, C, H, W)",
                         "export the model with an NCHW image input")  # fmt: skip
    if inputs[0].type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
        found = onnx.TensorProto.DataType.Name(inputs[0].type.tensor_type.elem_type)
        raise ForgeError(f"input {inputs[0].name!r} is {found}, not FLOAT", "export the model in FP32")
    if dims(inputs[0])[1] != 3:
        raise ForgeError(f"input {inputs[0].name!r} has shape {dims(inputs[0])}, not (N, 3, H, W)",
                         "export the model with a colour image input in NCHW order")  # fmt: skip
    return inputs[0]


def dims(value: onnx.ValueInfoProto) -> list[int | str]:
    """Numbers for fixed dimensions, names for dynamic ones ('?' where there is none)."""
    return [dim.dim_value if dim.dim_value > 0 else dim.dim_param or "?"
            for dim in value.type.tensor_type.shape.dim]  # fmt: skip


def _opset(model: onnx.ModelProto) -> int:
    return next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)


def _raise_opset(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    try:
        return onnx.version_converter.convert_version(model, opset)
    except Exception as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise ForgeError(f"the model's opset {_opset(model)} can't be raised to {opset}: {reason}",
                         f"export it with opset {opset}") from error  # fmt: skip


def _fix_size(model: onnx.ModelProto, size: tuple[int, int] | None, default: tuple[int, int] | None) -> None:
    value = image_input(model)
    have = dims(value)[2:]
    wanted = size or default or (0, 0)
    if size and any(isinstance(found, int) and found != want for found, want in zip(have, size, strict=True)):
        raise ForgeError(f"input {value.name!r} is {'x'.join(map(str, have))}, not {size[0]}x{size[1]}",
                         "drop --size, or export the model at that size")  # fmt: skip
    for dim, found, want in zip(value.type.tensor_type.shape.dim[2:], have, wanted, strict=True):
        if not isinstance(found, int):
            dim.dim_value = want


def _resolve_reshapes(graph: gs.Graph) -> None:
    """A Reshape to known numbers but for one takes -1 there: no Shape, Gather, Unsqueeze or Concat is needed.

    Exporters read the batch size back out of the tensor, five nodes a Reshape. The element count decides the one
    unknown exactly, whatever it stands for.
    """
    for node in graph.nodes:
        if node.op != "Reshape" or isinstance(node.inputs[1], gs.Constant) or node.outputs[0].shape is None:
            continue
        numbers = [dim if isinstance(dim, int) else -1 for dim in node.outputs[0].shape]
        if numbers.count(-1) == 1 and 0 not in numbers:
            node.inputs[1] = gs.Constant(f"{node.outputs[0].name}.shape", np.array(numbers, np.int64))
    graph.cleanup()


def _name_nodes(graph: gs.Graph) -> None:
    """Every node gets a name of its own: layer reports and errors refer to nodes by name."""
    seen: set[str] = set()
    for node in graph.nodes:
        name = node.name or f"{node.op}:{node.outputs[0].name}"
        while name in seen:
            name += "'"
        seen.add(name)
        node.name = name


def _name_output_dims(model: onnx.ModelProto) -> None:
    """Inference invents names ('unk__5') for dimensions that are the batch or a number: find out by inferring twice."""
    if not any(isinstance(dim, str) for output in model.graph.output for dim in dims(output)):
        return
    batch_name = next((d for v in model.graph.input for d in dims(v)[:1] if isinstance(d, str)), "?")
    if batch_name == "?":
        return
    seen = {batch: _output_dims_at(model, batch_name, batch) for batch in (2, 3)}
    for output, two, three in zip(model.graph.output, seen[2], seen[3], strict=True):
        for dim, at_two, at_three in zip(output.type.tensor_type.shape.dim, two, three, strict=False):
            if dim.HasField("dim_value"):
                continue
            if at_two == at_three and isinstance(at_two, int):
                dim.dim_value = at_two
            elif (at_two, at_three) == (2, 3):
                dim.dim_param = batch_name


def _output_dims_at(model: onnx.ModelProto, batch_name: str, batch: int) -> list[list[int | str]]:
    fixed = onnx.ModelProto.FromString(model.SerializeToString())
    for value in fixed.graph.input:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param == batch_name:
                dim.dim_value = batch
    return [dims(output) for output in _infer_afresh(fixed).graph.output]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """ONNX Runtime, which evaluates the constants, reports optimisations that it leaves out as warnings."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)
    try:
        yield
    finally:
        onnxruntime.set_default_logger_severity(int(os.environ.get("ORT_LOG_SEVERITY", "2")))
