"""Fewer nodes, the same results: constants folded, shape arithmetic resolved, runs joined, one opset."""

from __future__ import annotations

import onnx
import onnx_graphsurgeon as gs

from trtforge.errors import ForgeError
from trtforge.graph.constants import fold_constants, lift, quiet
from trtforge.graph.duplicates import share_constants, share_nodes
from trtforge.graph.flow import inline_branches
from trtforge.graph.fuse import fuse
from trtforge.graph.model import exported, graph_of
from trtforge.graph.narrow import doubles_to_floats, indices_to_int32
from trtforge.graph.prune import prune
from trtforge.graph.rewire import scope, sweep
from trtforge.graph.shapes import Shapes

__all__ = ["OPSET", "dims", "fold", "image_input", "inputs", "quiet"]

# FP16 scales of QuantizeLinear exist since opset 19; TensorRT 10 and 11 read 9 to 20 and more.
OPSET = 19
LARGE = 1024  # elements, or bytes: constants beyond it are weights, which say nothing about shapes
ROUNDS = 20  # each makes the graph smaller; real exports need two or three


def fold(
    model: onnx.ModelProto,
    size: tuple[int, int] | None = None,
    opset: int | None = OPSET,
    default_size: tuple[int, int] | None = None,
    batch: int | None = None,
) -> onnx.ModelProto:
    """Fold everything that does not depend on the input's values.

    Args:
        model: any ONNX model; an image input has shape (N, C, H, W).
        size: height and width in pixels that replace dynamic ones; fixed ones must be equal.
        opset: raise the model to this opset if it is older; None leaves it.
        default_size: height and width for dynamic ones, whatever the fixed ones are.
        batch: replaces a dynamic batch size; a fixed one must be equal.

    Returns:
        A model with the same inputs and outputs, in which every dynamic dimension has a name, and every node one of
        its own. Nodes and tensors that survive keep theirs. Equal models give equal results.

    Raises:
        ForgeError: ``size`` or ``batch`` contradicts the model, or the opset conversion fails.
    """
    original, model = model, onnx.ModelProto()
    model.CopyFrom(original)
    _fix_inputs(model, size, default_size, batch)
    if opset and _opset(model) < opset:
        model = _raise_opset(model, opset)
    del model.graph.value_info[:]  # exporters write names such as 'Concatoutput_dim_1' where there is a number
    graph = graph_of(model)
    with quiet():
        shapes = _simplify(graph)
    shapes.apply(graph)
    _name_nodes(graph)
    return exported(graph)


def _simplify(graph: gs.Graph) -> Shapes:
    """Rewrite until nothing is left to do, in place; what is known of the result."""
    lift(graph)
    doubles_to_floats(graph)
    for _ in range(ROUNDS):
        shapes = Shapes(graph)
        share_constants(graph, LARGE)
        changed = fold_constants(graph, shapes) | inline_branches(graph)
        sweep(graph)
        changed |= prune(graph, shapes)
        changed |= fuse(graph, shapes)
        changed |= share_nodes(graph, shapes)
        if not changed:
            break
    indices_to_int32(graph, scope(graph, shapes))
    share_constants(graph)
    return shapes


def image_input(model: onnx.ModelProto) -> onnx.ValueInfoProto:
    """The one input that is not an initializer: float32 of shape (N, 3, H, W).

    Raises:
        ForgeError: the model has several inputs, or the one it has is not a batch of colour images.
    """
    values = inputs(model)
    if len(values) != 1:
        names = ", ".join(value.name for value in values) or "none"
        raise ForgeError(f"the model has {len(values)} inputs ({names}); one image input is served",
                         "export it with a single image input")  # fmt: skip
    image = values[0]
    if len(image.type.tensor_type.shape.dim) != 4:
        raise ForgeError(f"input {image.name!r} is not a batch of images (N, C, H, W)",
                         "export the model with an NCHW image input")  # fmt: skip
    if image.type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
        found = onnx.TensorProto.DataType.Name(image.type.tensor_type.elem_type)
        raise ForgeError(f"input {image.name!r} is {found}, not FLOAT", "export the model in FP32")
    if dims(image)[1] != 3:
        raise ForgeError(f"input {image.name!r} has shape {dims(image)}, not (N, 3, H, W)",
                         "export the model with a colour image input in NCHW order")  # fmt: skip
    return image


def inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """Inputs that are not initializers."""
    initializers = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in initializers]


def dims(value: onnx.ValueInfoProto) -> list[int | str]:
    """Numbers for fixed dimensions, names for dynamic ones ('?' where there is none)."""
    return [dim.dim_value if dim.dim_value > 0 else dim.dim_param or "?"
            for dim in value.type.tensor_type.shape.dim]  # fmt: skip


def _opset(model: onnx.ModelProto) -> int:
    return next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)


def _raise_opset(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """The model with its operators rewritten; the weights stay aside meanwhile, for they would be copied twice."""
    weights = {tensor.name: tensor.raw_data for tensor in model.graph.initializer if len(tensor.raw_data) > LARGE}
    for tensor in model.graph.initializer:
        if tensor.name in weights:
            tensor.ClearField("raw_data")
    try:
        raised = onnx.version_converter.convert_version(model, opset)
    except Exception as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise ForgeError(f"the model's opset {_opset(model)} can't be raised to {opset}: {reason}",
                         f"export it with opset {opset}") from error  # fmt: skip
    for tensor in raised.graph.initializer:
        if tensor.name in weights:
            tensor.raw_data = weights[tensor.name]
    return raised


def _fix_inputs(
    model: onnx.ModelProto, size: tuple[int, int] | None, default: tuple[int, int] | None, batch: int | None
) -> None:
    images = _images(model)
    if len(images) != 1 and not (size or batch):
        return
    image = images[0] if len(images) == 1 else image_input(model)
    _fix_size(image, size, default)
    first = image.type.tensor_type.shape.dim[0]
    if first.dim_value <= 0 and not first.dim_param:
        first.dim_param = "batch"
    if batch:
        _fix_batch(model, image, batch)


def _fix_size(image: onnx.ValueInfoProto, size: tuple[int, int] | None, default: tuple[int, int] | None) -> None:
    have = dims(image)[2:]
    wanted = size or default
    if size and any(isinstance(found, int) and found != want for found, want in zip(have, size, strict=True)):
        raise ForgeError(f"input {image.name!r} is {'x'.join(map(str, have))}, not {size[0]}x{size[1]}",
                         "drop --size, or export the model at that size")  # fmt: skip
    if wanted:
        for dim, found, want in zip(image.type.tensor_type.shape.dim[2:], have, wanted, strict=True):
            if not isinstance(found, int):
                dim.dim_value = want


def _fix_batch(model: onnx.ModelProto, image: onnx.ValueInfoProto, batch: int) -> None:
    """Wherever an input has the image's batch dimension."""
    found = dims(image)[0]
    if isinstance(found, int) and found != batch:
        raise ForgeError(f"the batch of input {image.name!r} is {found}, not {batch}",
                         "drop --batch, or export the model with a dynamic batch")  # fmt: skip
    for value in inputs(model):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param and dim.dim_param == found:
                dim.dim_value = batch


def _images(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """Inputs that are batches of colour images."""
    return [value for value in inputs(model) if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
            and len(dims(value)) == 4 and dims(value)[1] == 3]  # fmt: skip


def _name_nodes(graph: gs.Graph) -> None:
    """Every node gets a name of its own: layer reports and errors refer to nodes by name."""
    seen: set[str] = set()
    for node in graph.nodes:
        name = node.name or f"{node.op}:{node.outputs[0].name}"
        while name in seen:
            name += "'"
        seen.add(name)
        node.name = name
