"""Read the inputs of convolutions at random output positions of some images."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from trtforge.backends.onnxruntime import session
from trtforge.calibration.cut import cut
from trtforge.graph.tensors import fixed_shape

MAX_WORKERS = 4  # each worker holds the activations of one image
Rows = dict[str, NDArray[np.float32]]


def sample(
    graph: gs.Graph,
    operators: Sequence[gs.Node],
    images: Sequence[Path],
    prepare: Callable[[Path], NDArray[np.float32]],
    count: int,
) -> Iterator[Rows]:
    """Yield, for each image in order, the inputs of each operator at ``count`` output positions.

    Args:
        graph: float model with one image input. It loses all nodes that the operators' inputs do
            not need, and its weights (see ``cut``).
        operators: convolutions that pass ``can_sample``, from ``graph`` or from the graph that it
            was copied from.
        images: readable image files.
        prepare: makes a batch (1, C, H, W) from a file.
        count: number of random positions, drawn with replacement.

    Yields:
        By operator name: float32 of shape (count, I, kH * kW) for I input channels; 0 where the
            window covers padding.
    """
    input_name = graph.inputs[0].name
    batch = (graph.inputs[0].shape or [None])[0]
    # A model with a fixed batch gets the same image several times.
    copies = batch if isinstance(batch, int) and batch > 0 else 1
    tapped = list(dict.fromkeys(node.inputs[0].name for node in operators))
    windows = {node.name: _Window(node) for node in operators}
    input_of = {node.name: node.inputs[0].name for node in operators}
    model, weights = cut(graph, tapped)
    engine = session(model, threads=1, weights=weights)
    del model, weights  # the session has copied them

    def read_rows(number: int, path: Path) -> Rows:
        image = np.repeat(prepare(path), copies, axis=0)
        outputs: list[NDArray[np.float32]] = engine.run(tapped, {input_name: image})
        values = dict(zip(tapped, outputs, strict=True))
        # The image's number is the seed, so the result does not depend on the workers.
        random = np.random.default_rng(number)
        return {
            name: window.rows(values[input_of[name]][0], count, random)
            for name, window in windows.items()
        }

    workers = max(1, min(MAX_WORKERS, os.cpu_count() or 1, len(images)))
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[Rows]] = deque()
        try:
            # Results wait in the order of the images, and few at a time: rows take much memory.
            for number, path in enumerate(images):
                waiting.append(pool.submit(read_rows, number, path))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def can_sample(node: gs.Node) -> bool:
    """Return whether the node is a two-dimensional convolution with explicit padding."""
    return bool(
        node.op == "Conv"
        and len(fixed_shape(node.inputs[1])) == 4
        and node.attrs.get("auto_pad", "NOTSET") == "NOTSET"
    )


class _Window:
    """The window that a convolution slides over its input."""

    def __init__(self, node: gs.Node) -> None:
        self.kernel = tuple(fixed_shape(node.inputs[1])[2:])
        self.strides: Sequence[int] = node.attrs.get("strides", (1, 1))
        self.dilations: Sequence[int] = node.attrs.get("dilations", (1, 1))
        self.pads: Sequence[int] = node.attrs.get("pads", (0, 0, 0, 0))

    def rows(
        self, values: NDArray[np.float32], count: int, random: np.random.Generator
    ) -> NDArray[np.float32]:
        """Return windows (count, I, kH * kW) of an input (I, H, W) at random positions."""
        height, width = (self._output_size(axis, values.shape[1 + axis]) for axis in (0, 1))
        positions: NDArray[np.int64] = random.integers(height * width, size=count)
        y_out, x_out = np.unravel_index(positions, (height, width))
        top: NDArray[np.int64] = y_out * self.strides[0] - self.pads[0]
        left: NDArray[np.int64] = x_out * self.strides[1] - self.pads[1]
        columns: list[NDArray[np.float32]] = []
        for row in range(self.kernel[0]):
            for column in range(self.kernel[1]):
                y, x = top + row * self.dilations[0], left + column * self.dilations[1]
                inside = (y >= 0) & (y < values.shape[1]) & (x >= 0) & (x < values.shape[2])
                columns.append(values[:, np.where(inside, y, 0), np.where(inside, x, 0)] * inside)
        windows: NDArray[np.float32] = np.stack(columns, axis=-1).transpose(1, 0, 2)
        return windows

    def _output_size(self, axis: int, side: int) -> int:
        """Return the output's height (axis 0) or width (axis 1), by the formula of ONNX's Conv."""
        padded = side + self.pads[axis] + self.pads[axis + 2]
        extent = self.dilations[axis] * (self.kernel[axis] - 1) + 1
        return (padded - extent) // self.strides[axis] + 1
