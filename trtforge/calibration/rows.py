"""What convolutions read, output position by output position, at random positions of some images."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx_graphsurgeon as gs

from trtforge.backends.onnxruntime import session
from trtforge.calibration.cut import cut

MOST_WORKERS = 4  # each holds the activations of one image


def sample(
    graph: gs.Graph,
    operators: Sequence[gs.Node],
    images: Sequence[Path],
    prepare: Callable[[Path], np.ndarray],
    count: int,
) -> Iterator[dict[str, np.ndarray]]:
    """For each image, in order, the inputs of every operator at ``count`` positions of its output.

    Args:
        graph: float model with one image input; cut down to what the operators read, without
            weights (``cut``).
        operators: two-dimensional convolutions for which ``readable`` holds, of that graph or of
            one that it copies.
        images: files that can be read.
        prepare: makes a batch (1, C, H, W) of a file.
        count: positions; the same ones come up again where the output has fewer.

    Returns:
        By operator name: float32 (count, I, kH * kW), where padding is 0.
    """
    input_name, batch = graph.inputs[0].name, graph.inputs[0].shape[0]
    copies = (
        batch if isinstance(batch, int) and batch > 0 else 1
    )  # a fixed batch is filled with one image
    tapped = list(dict.fromkeys(node.inputs[0].name for node in operators))
    windows = {node.name: _Window(node) for node in operators}
    read = {node.name: node.inputs[0].name for node in operators}
    model, weights = cut(graph, tapped)
    engine = session(model, threads=1, weights=weights)
    del model, weights  # the session has copied them

    def rows(number: int, path: Path) -> dict[str, np.ndarray]:
        image = np.repeat(prepare(path), copies, axis=0)
        values: Mapping[str, np.ndarray] = dict(
            zip(tapped, engine.run(tapped, {input_name: image}), strict=True)
        )
        random = np.random.default_rng(number)
        return {
            name: window.rows(values[read[name]][0], count, random)
            for name, window in windows.items()
        }

    workers = max(1, min(MOST_WORKERS, os.cpu_count() or 1, len(images)))
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[dict[str, np.ndarray]]] = deque()
        try:
            for number, path in enumerate(images):
                waiting.append(pool.submit(rows, number, path))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def can_sample(node: gs.Node) -> bool:
    """Whether the node is a two-dimensional convolution with explicit padding."""
    return bool(
        node.op == "Conv"
        and len(node.inputs[1].shape) == 4
        and node.attrs.get("auto_pad", "NOTSET") == "NOTSET"
    )


class _Window:
    """The geometry of a convolution."""

    def __init__(self, node: gs.Node) -> None:
        self.kernel = tuple(node.inputs[1].shape[2:])
        self.strides = node.attrs.get("strides", (1, 1))
        self.dilations = node.attrs.get("dilations", (1, 1))
        self.pads = node.attrs.get("pads", (0, 0, 0, 0))

    def rows(self, values: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
        """Windows (count, I, kH * kW) of an input (I, H, W)."""
        size = [
            (side + self.pads[axis] + self.pads[axis + 2] - self.dilations[axis] * (kernel - 1) - 1)
            // self.strides[axis]
            + 1
            for axis, (side, kernel) in enumerate(zip(values.shape[1:], self.kernel, strict=True))
        ]
        at = np.unravel_index(random.integers(size[0] * size[1], size=count), size)
        top, left = (at[axis] * self.strides[axis] - self.pads[axis] for axis in (0, 1))
        taken = []
        for row in range(self.kernel[0]):
            for column in range(self.kernel[1]):
                y, x = top + row * self.dilations[0], left + column * self.dilations[1]
                inside = (y >= 0) & (y < values.shape[1]) & (x >= 0) & (x < values.shape[2])
                taken.append(values[:, np.where(inside, y, 0), np.where(inside, x, 0)] * inside)
        rows: np.ndarray = np.stack(taken, axis=-1).transpose(1, 0, 2)
        return rows
