"""A graph with numbers for shapes, and what its decode makes of given head outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from trtforge.graph.detection.records import Size
from trtforge.graph.detection.sources import known
from trtforge.graph.edit.nodes import first_image, input_size
from trtforge.graph.edit.rewire import sweep
from trtforge.graph.fold.constants import fold_constants, lift, quiet
from trtforge.graph.fold.flow import inline_branches
from trtforge.graph.heads import decode
from trtforge.graph.model import exported
from trtforge.graph.shapes import Shapes
from trtforge.graph.tensors import fixed_shape

_PROBE_SIDE = 640  # stands in for a dynamic height or width; every stride divides it


@dataclass(frozen=True)
class ConcreteGraph:
    """The graph that recognisers look at.

    Attributes:
        graph: the model, untouched.
        fixed: a copy with shapes as numbers, batch 1.
        size: height and width of its image input.
    """

    graph: gs.Graph
    fixed: gs.Graph
    size: Size

    def outputs(self, rank: int) -> list[gs.Tensor]:
        """Return the outputs of that rank whose shapes are known."""
        return [
            tensor
            for tensor in self.fixed.outputs
            if known(tensor) and len(tensor.shape or ()) == rank
        ]


def concrete(graph: gs.Graph) -> ConcreteGraph | None:
    """Return a copy of the graph with fixed shapes; None where it has no image input."""
    if first_image(graph) is None:
        return None
    fixed = _fixed_copy(graph)
    size = input_size(fixed)
    return ConcreteGraph(graph, fixed, size) if size else None


def _fixed_copy(graph: gs.Graph) -> gs.Graph:
    """Return a copy with batch 1 and fixed sides, in which every shape computation is a constant."""
    # A walk in order finds the shapes, and a pass may have appended its nodes at the end.
    copy = graph.copy().toposort()
    for tensor in copy.inputs:
        tensor.shape = _fixed(tensor.shape)
    lift(copy)
    while True:
        shapes = Shapes(copy)
        with quiet():
            changed = fold_constants(copy, shapes) | inline_branches(copy)
        sweep(copy)
        if not changed:
            break
    shapes.apply(copy)
    return copy


def _fixed(shape: Any) -> list[int | str | None] | None:
    if shape is None:
        return None
    stand_in = (1, 3, _PROBE_SIDE, _PROBE_SIDE) if len(shape) == 4 else (1,) * len(shape)
    return [
        dim if isinstance(dim, int) and dim > 0 else other
        for dim, other in zip(shape, stand_in, strict=True)
    ]


def trial(shaped: ConcreteGraph, tensor: gs.Tensor, spread: float = 0.0) -> np.ndarray | None:
    """Return what an output becomes when every learned operator gives noise or zeros.

    Only what comes after the last learned operators is run, so this costs milliseconds whatever the
    model. With zeros, a decoded box lies where its cell or anchor is: that shows the grid itself.

    Returns:
        None where nothing comes after them, or ONNX Runtime can't run it.
    """
    import onnxruntime

    cut = _tail(shaped, tensor.name)
    if cut is None:
        return None
    rng = np.random.default_rng(0)
    feed = {
        tensor_in.name: (spread * rng.standard_normal(fixed_shape(tensor_in))).astype(
            tensor_in.dtype
        )
        for tensor_in in cut.inputs
    }
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        model = exported(cut)
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        value = session.run(None, feed)[0]
    except Exception:  # of any kind: what can't be run proves nothing
        return None
    return np.asarray(value, np.float64) if np.isfinite(value).all() else None


def _tail(shaped: ConcreteGraph, name: str) -> gs.Graph | None:
    """Return the graph behind the last learned operators, with their results as inputs."""
    copy = shaped.fixed.copy()
    tensor = copy.tensors().get(name)
    after = {id(node) for node in decode(copy)}
    if tensor is None or not tensor.inputs or id(tensor.inputs[0]) not in after:
        return None
    inputs: dict[str, gs.Tensor] = {}
    visited: set[int] = set()
    pending = [tensor.inputs[0]]
    while pending:
        node = pending.pop()
        if id(node) in visited:
            continue
        visited.add(id(node))
        for source in node.inputs:
            if isinstance(source, gs.Constant) or source.is_empty():
                continue
            if source.inputs and id(source.inputs[0]) in after:
                pending.append(source.inputs[0])
            else:
                inputs[source.name] = source
    if not all(known(source) and source.dtype is not None for source in inputs.values()):
        return None
    for source in inputs.values():
        source.inputs.clear()
    copy.inputs, copy.outputs = list(inputs.values()), [tensor]
    tensor.dtype = tensor.dtype or np.float32
    return copy.cleanup().toposort()
