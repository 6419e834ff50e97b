"""Find where two graphs differ: compare every activation that both compute, in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from trtforge.errors import ForgeError
from trtforge.evaluate.metrics import Difference
from trtforge.evaluate.models import reference_session
from trtforge.graph.model import graph_of, load, model_of
from trtforge.graph.nms.exchange import exchange_plugin

FLOATS = (np.dtype(np.float32), np.dtype(np.float16))


@dataclass(frozen=True)
class LayerDifference:
    """The difference of one activation.

    Attributes:
        tensor: its name in both graphs.
        node: name of the node that computes it in the reference.
        difference: over all images.
        added: noise power as a share of the signal's power, minus the share at the noisiest input
            of the node.
    """

    tensor: str
    node: str
    difference: Difference
    added: float


def compare(
    reference: Path, other: Path, batches: Sequence[NDArray[np.float32]]
) -> list[LayerDifference]:
    """Compare the float activations that have the same name and shape in both graphs.

    Returns:
        The differences, in the order in which the reference computes the activations.

    Raises:
        ForgeError: the graphs have no activation in common.
    """
    # A file does not always contain the types of its activations: they are inferred first.
    graphs = [
        graph_of(onnx.shape_inference.infer_shapes(load(path))).toposort()
        for path in (reference, other)
    ]
    for graph in graphs:
        exchange_plugin(graph)
    names = _shared_activations(*graphs)
    if not names:
        raise ForgeError(
            f"{other}: shares no activation's name with {reference}",
            "compare graphs made from one model",
        )
    sessions = [reference_session(_with_outputs(graph, names)) for graph in graphs]
    differences = {name: Difference() for name in names}
    for batch in batches:
        one, two = (
            session.run(names, {session.get_inputs()[0].name: batch}) for session in sessions
        )
        for name, values, other_values in zip(names, one, two, strict=True):
            if values.shape == other_values.shape:
                differences[name].observe(values, other_values)
    return _with_noise(graphs[0], differences)


def _shared_activations(one: gs.Graph, other: gs.Graph) -> list[str]:
    """Return the names of the float tensors that a node computes in both graphs."""
    tensors = other.tensors()

    def is_shared(tensor: gs.Tensor) -> bool:
        counterpart = tensors.get(tensor.name)
        return bool(
            tensor.dtype in FLOATS
            and isinstance(counterpart, gs.Variable)
            and counterpart.dtype in FLOATS
            and counterpart.inputs
        )

    outputs = [tensor for node in one.nodes for tensor in node.outputs]
    return [tensor.name for tensor in outputs if is_shared(tensor)]


def _with_outputs(graph: gs.Graph, names: Sequence[str]) -> onnx.ModelProto:
    """Return a model that has the named activations as its outputs."""
    types = graph.tensors()
    tapped = graph.copy()
    tensors = tapped.tensors()
    tapped.outputs = [tensors[name] for name in names]
    for name in names:
        tensors[name].dtype = types[name].dtype
    return model_of(tapped)


def _with_noise(graph: gs.Graph, differences: Mapping[str, Difference]) -> list[LayerDifference]:
    """Return the differences with the noise that each node adds to that of its inputs.

    Noise grows from layer to layer in any case, so only the growth shows where it comes from.
    """
    noise: dict[str, float] = {}
    rows: list[LayerDifference] = []
    for node in graph.nodes:
        before = max(
            (noise[tensor.name] for tensor in node.inputs if tensor.name in noise), default=0.0
        )
        for tensor in node.outputs:
            difference = differences.get(tensor.name)
            noise[tensor.name] = before if difference is None else difference.noise
            if difference is not None:
                added = difference.noise - before
                rows.append(LayerDifference(tensor.name, node.name, difference, added))
    return rows
