"""Histograms of a model's activations over a folder of images, in bounded memory."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx_graphsurgeon as gs

from trtforge.backends.onnxruntime import session
from trtforge.calibrate.histogram import Histogram
from trtforge.calibrate.images import CorruptImage
from trtforge.errors import ForgeError

MOST_WORKERS = 4  # each holds the activations of one image
MOST_CORRUPT = 0.05  # share of the images


def collect(
    graph: gs.Graph,
    tensors: Sequence[str],
    images: Sequence[Path],
    prepare: Callable[[Path], np.ndarray],
    progress: Callable[[float], None],
) -> tuple[dict[str, Histogram], list[Path]]:
    """Observe ``tensors`` while the model runs over ``images``.

    Every worker takes one image through decoding, the network and the histograms on one core, so no core waits for
    another; histograms merge exactly, so neither the number of workers nor their timing shows in the result.

    Args:
        graph: float model with one image input; cut down to what makes ``tensors``.
        tensors: names of activations; the input may be one of them.
        images: files.
        prepare: makes a batch (1, 3, H, W) of a file, or raises CorruptImage.
        progress: is told how many images are done.

    Returns:
        A histogram for each tensor, and the images that could not be read.

    Raises:
        ForgeError: more than 5 % of the images can't be read, or an activation is NaN or infinite.
    """
    stream = _Stream(images, progress)
    input_name = graph.inputs[0].name
    batch_dim = graph.inputs[0].shape[0]
    copies = batch_dim if isinstance(batch_dim, int) and batch_dim > 0 else 1  # a fixed batch is filled with one image
    tapped = [name for name in tensors if name != input_name]
    engine = session(_tapped(graph, tapped), threads=1) if tapped else None  # ONNX Runtime takes no empty graph

    def observe(path: Path, histograms: dict[str, Histogram]) -> None:
        # A function of its own, so that an image's activations are gone before the next ones are made.
        batch = np.repeat(prepare(path), copies, axis=0)
        arrays = dict(zip(tapped, engine.run(tapped, {input_name: batch}), strict=True)) if engine else {}
        arrays[input_name] = batch
        for name, histogram in histograms.items():
            histogram.observe(arrays[name])
            if histogram.bad:
                raise ForgeError(f"activation {name!r} is NaN or infinite on {path}",
                                 "check the preprocessing (recipe: scale, offsets) and the model")  # fmt: skip

    def work() -> dict[str, Histogram]:
        histograms = {name: Histogram() for name in tensors}
        try:
            while (path := stream.next()) is not None:
                try:
                    observe(path, histograms)
                    stream.done()
                except CorruptImage:
                    stream.skip(path)
        finally:
            stream.stop()  # the end, or an error: the other workers end with the image they hold
        return histograms

    workers = max(1, min(MOST_WORKERS, os.cpu_count() or 1, len(images)))
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(work) for _ in range(workers)]
        try:
            parts = [future.result() for future in futures]
        finally:
            stream.stop()  # after Ctrl-C, too
    merged = parts[0]
    for part in parts[1:]:
        for name, histogram in part.items():
            merged[name].merge(histogram)
    return merged, sorted(stream.skipped)


class _Stream:
    """Hands out the images, one at a time, to several workers."""

    def __init__(self, images: Sequence[Path], progress: Callable[[float], None]) -> None:
        self._images = iter(images)
        self._total = len(images)
        self._progress = progress
        self._lock = threading.Lock()
        self._finished = 0
        self.skipped: list[Path] = []

    def next(self) -> Path | None:
        with self._lock:
            return next(self._images, None)

    def done(self) -> None:
        with self._lock:
            self._finished += 1
            self._progress(self._finished)

    def skip(self, path: Path) -> None:
        with self._lock:
            self.skipped.append(path)
            if len(self.skipped) > MOST_CORRUPT * self._total:
                raise ForgeError(f"{path}: not a readable image, the {_ordinal(len(self.skipped))} of {self._total}",
                                 "over 5 % unreadable is refused: remove them from the folder")  # fmt: skip
        self.done()

    def stop(self) -> None:
        with self._lock:
            self._images = iter(())


def _ordinal(number: int) -> str:
    return {1: "first", 2: "second", 3: "third"}.get(number, f"{number}th")


def _tapped(graph: gs.Graph, tensors: Sequence[str]) -> bytes:
    """A model of what makes ``tensors``: nothing behind them is run."""
    found = graph.tensors()
    graph.outputs = [found[name] for name in tensors]
    return bytes(gs.export_onnx(graph.cleanup()).SerializeToString())
