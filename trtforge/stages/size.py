"""The size of a model's input, for stages that need a fixed one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from trtforge.errors import ForgeError

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs


def fixed_size(graph: gs.Graph, model: Path) -> tuple[int, int]:
    """Return height and width of a graph's input, in pixels.

    Args:
        model: file that the graph comes from, for the message.

    Raises:
        ForgeError: they are not fixed.
    """
    from trtforge.graph.edit.nodes import input_size

    size = input_size(graph)
    if size is None:
        raise ForgeError(
            f"{model}: its input has no fixed height and width",
            "run `trtforge fold --size HxW` first",
        )
    return size
