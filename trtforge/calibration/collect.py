"""Collect histograms of a model's activations over a folder of images, in bounded memory."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from trtforge.backends import onnxruntime
from trtforge.calibration.cut import cut
from trtforge.calibration.histogram import Histogram, empty
from trtforge.calibration.images import CorruptImage
from trtforge.calibration.observed import check_corrupt, merge_histograms
from trtforge.errors import ForgeError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

MAX_WORKERS = 4  # on the CPU; each worker holds a network and the activations of one image
MAX_WEIGHT_BYTES = 2**31  # in the networks of all workers together
MAX_DECODERS = 16  # threads that decode images for a GPU
Histograms = dict[str, Histogram]


class Taps(Protocol):
    """A network whose activations are counted as soon as they are computed.

    Attributes:
        parts: histograms of the early images, and histograms of the late images.
    """

    parts: tuple[Histograms, Histograms]

    def observe(self, batch: NDArray[np.float32], late: bool) -> str | None:
        """Run images (N, C, H, W), and count the values of every tensor.

        Returns:
            The name of a tensor with NaN or infinite values, or None.
        """

    def flush(self) -> None:
        """Move all counts into the histograms."""


def collect(
    graph: gs.Graph,
    tensors: Sequence[str],
    images: Sequence[Path],
    prepare: Callable[[Path], NDArray[np.float32]],
    progress: Callable[[float], None],
    early: int | None = None,
    provider: str = "cpu",
    total: int | None = None,
) -> tuple[Histograms, Histograms, list[Path]]:
    """Run the model over ``images``, and count the values of ``tensors``.

    On the CPU, every worker takes one image through decoding, the network and the histograms on one
    core, so no core waits for another. On a GPU, the workers decode, and the activations never
    leave the device. Histograms merge exactly, so the result depends neither on the number of
    workers nor on their timing. Only a network over 512 MiB runs on several cores, whose number may
    change the last bit of an activation.

    Args:
        graph: float model with one image input. It loses all nodes that ``tensors`` do not need,
            and its weights (see ``cut``).
        tensors: names of activations; the input may be one of them.
        images: image files.
        prepare: makes a batch (1, C, H, W) from a file, or raises CorruptImage.
        progress: is called with the number of images that are done.
        early: the first ``early`` images are counted in the first set of histograms, the others in
            the second set; None puts all in the first.
        provider: ``cpu`` or ``cuda``.
        total: number of images in the whole folder, if ``images`` is a shard of it.

    Returns:
        A histogram of each tensor over the early images; one over the late images; and the images
        that could not be read.

    Raises:
        ForgeError: over 5 % of the whole folder's images can't be read, the network fails on an
            image, or an activation is NaN or infinite.
    """
    early_count = len(images) if early is None else early
    stream = _Stream(images, early_count, total or len(images), progress)
    batch = (graph.inputs[0].shape or [None])[0]
    # A model with a fixed batch gets the same image several times.
    copies: int = batch if isinstance(batch, int) and batch > 0 else 1

    def work(taps: Taps) -> None:
        try:
            while (item := stream.next()) is not None:
                path, is_late = item
                try:
                    image = prepare(path)
                    if copies > 1:
                        image = np.repeat(image, copies, axis=0)
                    bad_tensor = taps.observe(image, is_late)
                except CorruptImage:
                    stream.skip(path)
                    continue
                if bad_tensor:
                    raise ForgeError(
                        f"activation {bad_tensor!r} is NaN or infinite on {path}",
                        "check the preprocessing (recipe: scale, offsets) and the model",
                    )
                stream.done()
            taps.flush()
        finally:
            stream.stop()  # at the end, or after an error: the other workers finish their image

    workers: list[tuple[Taps, Future[None]]] = []
    with ThreadPoolExecutor(MAX_DECODERS) as pool:
        try:
            for taps in _open_taps(graph, tensors, provider, len(images)):
                workers.append((taps, pool.submit(work, taps)))
                if stream.ended:  # after an error, or when no images are left for another worker
                    break
            for _, future in workers:
                future.result()
        finally:
            stream.stop()  # also after Ctrl-C
    networks = list({id(taps): taps for taps, _ in workers}.values())  # on a GPU, workers share one
    early_histograms, late_histograms = (
        {name: merge_histograms([taps.parts[part][name] for taps in networks]) for name in tensors}
        for part in range(2)
    )
    return early_histograms, late_histograms, sorted(stream.skipped)


def _open_taps(
    graph: gs.Graph, tensors: Sequence[str], provider: str, image_count: int
) -> Iterator[Taps]:
    """Yield each worker's taps: the first worker runs while the next network is loaded."""
    cores = os.cpu_count() or 1
    input_name = graph.inputs[0].name
    tapped = [name for name in tensors if name != input_name]
    # If only the input is observed, no node is left, and ONNX Runtime refuses an empty graph.
    model, weights = cut(graph, tapped) if tapped else (b"", {})
    if provider == "cuda" and tapped:
        from trtforge.calibration.cuda import DeviceTaps

        taps = DeviceTaps(onnxruntime.cuda_session(model, weights), tensors, input_name)
        yield from [taps] * max(1, min(MAX_DECODERS, cores, image_count))
        return
    cores = min(MAX_WORKERS, cores)
    weight_bytes = max(1, sum(array.nbytes for array in weights.values()))
    networks = max(1, min(cores, MAX_WEIGHT_BYTES // weight_bytes))
    for _ in range(max(1, min(networks, image_count))):
        # Each network gets one core, or several if it is over 512 MiB. The number of cores can
        # change the last bit of a sum, so it must not depend on the number of images.
        engine = onnxruntime.session(model, cores // networks, weights=weights) if tapped else None
        yield HostTaps(engine, tensors, input_name)


class HostTaps:
    """One worker's network on the CPU.

    Workers do not share a network. If they did, its peak of memory would depend on which operators
    run at the same time, and would be higher after 500 images than after 30.

    Args:
        engine: session of a model whose outputs are ``tensors`` without the input; None if only the
            input is observed.
    """

    def __init__(
        self, engine: InferenceSession | None, tensors: Sequence[str], input_name: str
    ) -> None:
        self.parts = empty(tensors), empty(tensors)
        self._engine, self._input = engine, input_name

    def observe(self, batch: NDArray[np.float32], late: bool) -> str | None:
        """Run images (N, C, H, W) and count every tensor; see ``Taps.observe``."""
        # ``arrays`` is local, so the activations are freed before the next image's are computed.
        arrays = onnxruntime.run(self._engine, batch) if self._engine else {}
        arrays[self._input] = batch
        for name, histogram in self.parts[late].items():
            histogram.observe(arrays[name])
            if histogram.bad:
                return name
        return None

    def flush(self) -> None:
        """Do nothing: ``observe`` has already counted every value."""


class _Stream:
    """A list of images that several workers take one at a time."""

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
        """Return the next image and whether it is a late one; None at the end."""
        with self._lock:
            return next(self._images, None)

    def done(self) -> None:
        """Count an image as done."""
        with self._lock:
            self._finished += 1
            self._progress(self._finished)

    def skip(self, path: Path) -> None:
        """Note an image that can't be read.

        Raises:
            ForgeError: too many images can't be read (see ``check_corrupt``).
        """
        with self._lock:
            self.skipped.append(path)
            check_corrupt(path, len(self.skipped), self._total)
        self.done()

    def stop(self) -> None:
        """End the list: ``next`` returns None from now on."""
        with self._lock:
            self.ended = True
            self._images = iter(())
