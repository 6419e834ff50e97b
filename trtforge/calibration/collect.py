"""Histograms of a model's activations over a folder of images, in bounded memory."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import onnx_graphsurgeon as gs

from trtforge.backends import onnxruntime
from trtforge.calibration.cut import cut
from trtforge.calibration.histogram import Histogram, empty
from trtforge.calibration.images import CorruptImage
from trtforge.calibration.observed import check_corrupt, merge_histograms
from trtforge.errors import ForgeError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

MOST_WORKERS = 4  # on the CPU each holds a network and the activations of one image
MOST_WEIGHTS = 2**31  # bytes of their networks together
MOST_DECODERS = 16
Histograms = dict[str, Histogram]


class Taps(Protocol):
    """A network whose activations are counted as they are produced.

    Attributes:
        parts: histograms of the early images, and of the late ones.
    """

    parts: tuple[Histograms, Histograms]

    def observe(self, batch: np.ndarray, late: bool) -> str | None:
        """Run float32 ``(N, C, H, W)``, count every tensor, name one that is NaN or infinite."""

    def flush(self) -> None:
        """Count what is not in the histograms yet."""


def collect(
    graph: gs.Graph,
    tensors: Sequence[str],
    images: Sequence[Path],
    prepare: Callable[[Path], np.ndarray],
    progress: Callable[[float], None],
    early: int | None = None,
    provider: str = "cpu",
    total: int | None = None,
) -> tuple[Histograms, Histograms, list[Path]]:
    """Observe ``tensors`` while the model runs over ``images``.

    On the CPU every worker takes one image through decoding, the network and the histograms on one
    core, so no core waits for another. On a GPU the workers decode, and the activations never leave
    the device. Histograms merge exactly, so neither the number of workers nor their timing shows in
    the result. A network over 512 MiB runs on several cores, whose number may show in a last bit.

    Args:
        graph: float model with one image input; cut down to what makes ``tensors``, without weights
            (``cut``).
        tensors: names of activations; the input may be one of them.
        images: files.
        prepare: makes a batch (1, C, H, W) of a file, or raises CorruptImage.
        progress: is told how many images are done.
        early: so many of the images, from the first on, count into the first set of histograms;
            None is all.
        provider: ``cpu`` or ``cuda``.
        total: images in the whole folder, if these are a shard's.

    Returns:
        A histogram for each tensor over the early images, and one over the others; the images that
        could not be read.

    Raises:
        ForgeError: more images can't be read than 5 % of the whole folder, the network fails on
            one, or an activation is NaN or infinite.
    """
    stream = _Stream(
        images, len(images) if early is None else early, total or len(images), progress
    )
    batch_dim = graph.inputs[0].shape[0]
    copies = (
        batch_dim if isinstance(batch_dim, int) and batch_dim > 0 else 1
    )  # a fixed batch is filled with one image

    def work(taps: Taps) -> None:
        try:
            while (taken := stream.next()) is not None:
                path, is_late = taken
                try:
                    image = prepare(path)
                    bad = taps.observe(
                        image if copies == 1 else np.repeat(image, copies, axis=0), is_late
                    )
                except CorruptImage:
                    stream.skip(path)
                    continue
                if bad:
                    raise ForgeError(
                        f"activation {bad!r} is NaN or infinite on {path}",
                        "check the preprocessing (recipe: scale, offsets) and the model",
                    )
                stream.done()
            taps.flush()
        finally:
            stream.stop()  # the end, or an error: the other workers end with the image they hold

    workers: list[tuple[Taps, Future[None]]] = []
    with ThreadPoolExecutor(MOST_DECODERS) as pool:
        try:
            for taps in _open(graph, tensors, provider, len(images)):
                workers.append((taps, pool.submit(work, taps)))
                if stream.ended:  # by an error, or so few images that no other worker is needed
                    break
            for _, future in workers:
                future.result()
        finally:
            stream.stop()  # after Ctrl-C, too
    each = {id(taps): taps for taps, _ in workers}.values()  # workers may share a device's
    first, rest = (
        {name: merge_histograms([taps.parts[part][name] for taps in each]) for name in tensors}
        for part in range(2)
    )
    return first, rest, sorted(stream.skipped)


def _open(graph: gs.Graph, tensors: Sequence[str], provider: str, images: int) -> Iterator[Taps]:
    """The taps of each worker, made one by one: the first can work while the next one's network is
    loaded.
    """
    cores = os.cpu_count() or 1
    input_name = graph.inputs[0].name
    tapped = [name for name in tensors if name != input_name]
    model, weights = cut(graph, tapped) if tapped else (b"", {})  # no empty graph
    if provider == "cuda" and tapped:
        from trtforge.calibration.cuda import DeviceTaps

        taps = DeviceTaps(onnxruntime.cuda_session(model, weights), tensors, input_name)
        yield from [taps] * max(1, min(MOST_DECODERS, cores, images))
        return
    cores = min(MOST_WORKERS, cores)
    networks = max(
        1, min(cores, MOST_WEIGHTS // max(1, sum(array.nbytes for array in weights.values())))
    )
    for _ in range(max(1, min(networks, images))):
        # A core each, but for networks over 512 MiB: how many add up may show in the last bit, so
        # it must not depend on the number of images.
        engine = onnxruntime.session(model, cores // networks, weights=weights) if tapped else None
        yield HostTaps(engine, tensors, input_name)


class HostTaps:
    """One worker's network on the CPU.

    No other worker runs it: ONNX Runtime's memory for activations belongs to the network, and where
    several run it at
    once its peak is a matter of how their operators happen to meet, higher after 500 images than
    after 30.

    Args:
        engine: of a model whose outputs are ``tensors``, but for the input; None if there is none
            but the input.
    """

    def __init__(
        self, engine: InferenceSession | None, tensors: Sequence[str], input_name: str
    ) -> None:
        self.parts = empty(tensors), empty(tensors)
        self._engine, self._input = engine, input_name

    def observe(self, batch: np.ndarray, late: bool) -> str | None:
        # A function of its own, so that an image's activations are gone before the next ones are
        # made.
        arrays = onnxruntime.run(self._engine, batch) if self._engine else {}
        arrays[self._input] = batch
        for name, histogram in self.parts[late].items():
            histogram.observe(arrays[name])
            if histogram.bad:
                return name
        return None

    def flush(self) -> None:
        """Nothing waits."""


class _Stream:
    """Hands out the images, one at a time, to several workers."""

    def __init__(
        self, images: Sequence[Path], early: int, total: int, progress: Callable[[float], None]
    ) -> None:
        self._images = iter([(path, index >= early) for index, path in enumerate(images)])
        self._total = total
        self._progress = progress
        self._lock = threading.Lock()
        self._finished = 0
        self.skipped: list[Path] = []
        self.ended = False

    def next(self) -> tuple[Path, bool] | None:
        with self._lock:
            return next(self._images, None)

    def done(self) -> None:
        with self._lock:
            self._finished += 1
            self._progress(self._finished)

    def skip(self, path: Path) -> None:
        with self._lock:
            self.skipped.append(path)
            check_corrupt(path, len(self.skipped), self._total)
        self.done()

    def stop(self) -> None:
        with self._lock:
            self.ended = True
            self._images = iter(())
