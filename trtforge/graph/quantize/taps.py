"""Choose the activations that calibration observes."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, get_args

import numpy as np
import onnx_graphsurgeon as gs

from trtforge.errors import ForgeError
from trtforge.graph.heads import decode, last_learned, learned
from trtforge.graph.moves import Group, groups
from trtforge.graph.quantize.qdq import place

Taps = Literal["explicit", "implicit"]
TAPS = get_args(Taps)


def tapped(graph: gs.Graph, taps: Taps) -> tuple[Group, ...]:
    """Return the activations that need a range, those of one scale together.

    Args:
        graph: a folded float graph.
        taps: ``explicit``: what carries Q/DQ, whichever operators a recipe keeps float.
            ``implicit``: every float activation before the decode, for TensorRT's own INT8, which
            computes in float around every tensor without a range. The outputs of the heads and all
            behind them have none on purpose: they stay float.

    Raises:
        ForgeError: see ``trtforge.graph.quantize.qdq.place``; the graph does not say the type of an
            activation.
    """
    return groups(graph, _explicit(graph) if taps == "explicit" else _implicit(graph))


def require_implicit(graph: gs.Graph, ranges: Collection[str], origin: str) -> None:
    """Refuse ranges that leave holes in an implicit INT8 network.

    Raises:
        ForgeError: activations without a range; it names some of them.
    """
    missing = [name for name in _implicit(graph) if name not in ranges]
    if missing:
        shown = ", ".join(missing[:3]) + (" ..." if len(missing) > 3 else "")
        raise ForgeError(
            f"{origin}: no range for {len(missing)} activations ({shown}): TensorRT's implicit INT8 would "
            "compute in float around each",
            "calibrate with --taps implicit",
        )


def _explicit(graph: gs.Graph) -> list[str]:
    names = dict.fromkeys(place(graph).tensors)
    # Which input of a residual add carries Q/DQ depends on which operators stay float: both can be
    # needed.
    ends = {id(tensor) for node in learned(graph) for tensor in node.outputs}
    for node in graph.nodes:
        adds = node.op == "Add" and all(tensor.inputs for tensor in node.inputs)
        if adds and any(id(tensor) in ends for tensor in node.inputs):
            names |= dict.fromkeys(tensor.name for tensor in node.inputs)
    tensors = graph.tensors()
    return [name for name in names if _is_float(tensors[name])]


def _implicit(graph: gs.Graph) -> list[str]:
    behind = {id(node) for node in [*decode(graph), *last_learned(graph)]}
    found = [tensor for node in graph.nodes if id(node) not in behind for tensor in node.outputs]
    return [tensor.name for tensor in [*graph.inputs, *found] if tensor.name and _is_float(tensor)]


def _is_float(tensor: gs.Tensor) -> bool:
    if tensor.dtype is None:
        raise ForgeError(
            f"the model does not say the type of {tensor.name!r}", "run `trtforge fold` first"
        )
    return bool(tensor.dtype == np.float32)
