"""Where two graphs part: every activation that they share, compared in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from trtforge.errors import ForgeError
from trtforge.evaluate.metrics import Difference
from trtforge.evaluate.models import reference_session
from trtforge.graph.model import graph_of, load, model_of
from trtforge.graph.nms.exchange import exchange_plugin

FLOATS = (np.dtype(np.float32), np.dtype(np.float16))


@dataclass(frozen=True)
class LayerDifference:
    """One shared activation.

    Attributes:
        tensor: its name in both graphs.
        node: that makes it in the reference.
        difference: over all images.
        added: noise power as a share of the signal's, less that of the noisiest input of the node.
    """

    tensor: str
    node: str
    difference: Difference
    added: float


def compare(reference: Path, other: Path, batches: Sequence[np.ndarray]) -> list[LayerDifference]:
    """Every float activation with one name and shape in both graphs, in the order in which the
    reference makes them.

    Raises:
        ForgeError: they share none.
    """
    # Types of activations are not always written down in a file.
    graphs = [
        graph_of(onnx.shape_inference.infer_shapes(load(path))).toposort()
        for path in (reference, other)
    ]
    for graph in graphs:
        exchange_plugin(graph)
    names = _shared(*graphs)
    if not names:
        raise ForgeError(
            f"{other}: shares no activation's name with {reference}",
            "compare graphs made from one model",
        )
    engines = [reference_session(_with_outputs(graph, names)) for graph in graphs]
    found = {name: Difference() for name in names}
    for batch in batches:
        runs = [engine.run(names, {engine.get_inputs()[0].name: batch}) for engine in engines]
        for name, one, two in zip(names, *runs, strict=True):
            if one.shape == two.shape:
                found[name].observe(one, two)
    return _with_noise(graphs[0], found)


def _shared(one: gs.Graph, other: gs.Graph) -> list[str]:
    there = other.tensors()
    outputs = [tensor for node in one.nodes for tensor in node.outputs]
    return [
        tensor.name
        for tensor in outputs
        if tensor.dtype in FLOATS
        and isinstance(there.get(tensor.name), gs.Variable)
        and there[tensor.name].dtype in FLOATS
        and there[tensor.name].inputs
    ]


def _with_outputs(graph: gs.Graph, names: Sequence[str]) -> onnx.ModelProto:
    found = graph.tensors()
    tapped = graph.copy()
    known = tapped.tensors()
    tapped.outputs = [known[name] for name in names]
    for name in names:
        known[name].dtype = found[name].dtype
    return model_of(tapped)


def _with_noise(graph: gs.Graph, found: dict[str, Difference]) -> list[LayerDifference]:
    """Noise grows from layer to layer anyway: what counts is by how much, node by node."""
    noise: dict[str, float] = {}
    rows = []
    for node in graph.nodes:
        before = max(
            (noise[tensor.name] for tensor in node.inputs if tensor.name in noise), default=0.0
        )
        for tensor in node.outputs:
            noise[tensor.name] = found[tensor.name].noise if tensor.name in found else before
            if tensor.name in found:
                added = noise[tensor.name] - before
                rows.append(LayerDifference(tensor.name, node.name, found[tensor.name], added))
    return rows
