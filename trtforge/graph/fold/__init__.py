"""Reduce a graph to fewer nodes with the same results, all in one opset."""

from __future__ import annotations

import onnx
import onnx_graphsurgeon as gs

from trtforge.errors import ForgeError
from trtforge.graph.edit.rewire import scope, sweep
from trtforge.graph.fold.constants import fold_constants, lift, quiet
from trtforge.graph.fold.duplicates import share_constants, share_nodes
from trtforge.graph.fold.flow import inline_branches
from trtforge.graph.fold.fuse import fuse
from trtforge.graph.fold.narrow import doubles_to_floats, indices_to_int32
from trtforge.graph.fold.prune import prune
from trtforge.graph.fold.sizes import shorten
from trtforge.graph.inputs import dims, fix_inputs, image_input
from trtforge.graph.model import exported, graph_of, model_of
from trtforge.graph.quantize.adopt import adopt
from trtforge.graph.shapes import Shapes

__all__ = ["OPSET", "dims", "fold", "image_input", "quiet"]

# FP16 scales of QuantizeLinear exist since opset 19; TensorRT 10 and 11 read 9 to 20 and more.
OPSET = 19
PLUGINS = "plugins"  # a domain for while the opset is raised
LARGE = 1024  # bytes: constants beyond it are weights, which no conversion of operators reads
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
        A model with the same inputs and outputs, in which every dynamic dimension has a name, and
        every node one of its own. Nodes and tensors that survive keep theirs. Equal models give
        equal results.

    Raises:
        ForgeError: ``size`` or ``batch`` contradicts the model, or the opset conversion fails.
    """
    original, model = model, onnx.ModelProto()
    model.CopyFrom(original)
    fix_inputs(model, size, default_size, batch)
    if opset and _opset(model) < opset:
        model = _raise_opset(model, opset)
    # Exporters write names such as 'Concatoutput_dim_1' for dimensions that are numbers.
    del model.graph.value_info[:]
    graph = graph_of(model)
    with quiet():
        shapes = _simplify(graph)
    shapes.apply(graph)
    _name_nodes(graph)
    # The inferred shapes do not cover the bodies of If, Loop and Scan.
    return model_of(graph) if any(graph.subgraphs()) else exported(graph)


def _simplify(graph: gs.Graph) -> Shapes:
    """Rewrite in place until nothing changes, and return the known facts of the result."""
    lift(graph)
    doubles_to_floats(graph)
    for _ in range(ROUNDS):
        shapes = Shapes(graph)
        share_constants(graph)
        changed = fold_constants(graph, shapes) | inline_branches(graph)
        sweep(graph)
        changed |= adopt(graph, shapes)
        changed |= prune(graph, shapes)
        changed |= fuse(graph, shapes)
        changed |= share_nodes(graph, shapes)
        changed |= shorten(graph, shapes)
        if not changed:
            break
    indices_to_int32(graph, scope(graph, shapes))
    share_constants(graph)
    return shapes


def _opset(model: onnx.ModelProto) -> int:
    return next(
        (entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0
    )


def _raise_opset(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """Return the model in a newer opset; weights stay aside, because the converter copies them twice."""
    weights = {
        tensor.name: tensor.raw_data
        for tensor in model.graph.initializer
        if len(tensor.raw_data) > LARGE
    }
    for tensor in model.graph.initializer:
        if tensor.name in weights:
            tensor.ClearField("raw_data")
    foreign = [
        node for node in model.graph.node if not node.domain and not onnx.defs.has(node.op_type)
    ]
    # TensorRT's plugins are in ONNX's own domain, and the converter refuses an operator there
    # that it does not know.
    for node in foreign:
        node.domain = PLUGINS
    if foreign:
        model.opset_import.add(domain=PLUGINS, version=1)
    try:
        raised = onnx.version_converter.convert_version(model, opset)
    except Exception as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise ForgeError(
            f"the model's opset {_opset(model)} can't be raised to {opset}: {reason}",
            f"export it with opset {opset}",
        ) from error
    for tensor in raised.graph.initializer:
        if tensor.name in weights:
            tensor.raw_data = weights[tensor.name]
    for node in raised.graph.node:
        if node.domain == PLUGINS:
            node.domain = ""
    for entry in [entry for entry in raised.opset_import if entry.domain == PLUGINS]:
        raised.opset_import.remove(entry)
    return raised


def _name_nodes(graph: gs.Graph) -> None:
    """Give every node without a name a unique one: reports and errors refer to nodes by name."""
    taken = {node.name for node in graph.nodes}
    seen = {""}
    for node in graph.nodes:
        if node.name in seen:
            name = node.name or f"{node.op}:{node.outputs[0].name}"
            while name in taken:
                name += "'"
            node.name = name
        taken.add(node.name)
        seen.add(node.name)
