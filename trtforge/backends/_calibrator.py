"""Calibrate TensorRT 10's implicit INT8 with our ranges, or by TensorRT's own algorithm on images.

Polygraphy's Calibrator does not take the place of this one: where a batch is wrong it says to
TensorRT that there are no more, and the engine is calibrated on those before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from trtforge.backends._config import need_implicit

if TYPE_CHECKING:
    import numpy as np

Upload = Callable[["np.ndarray"], int]


def calibrator(
    trt: Any,
    algorithm: str,
    cache: bytes | None,
    batches: Iterator[np.ndarray],
    upload: Upload,
    batch: int,
) -> Any:
    """Return an ``IInt8EntropyCalibrator2`` or ``IInt8MinMaxCalibrator``.

    TensorRT asks for the cache first, and for images only if there is no cache. An exception in a
    callback would end the process, so the first one is kept in ``failure``, and no image follows.

    Args:
        algorithm: ``entropy`` or ``minmax``.
        cache: calibration cache with the header of this version, or None.
        batches: float32 images (batch, 3, H, W).
        upload: copies a batch into device memory, and returns its address, which is valid until the
            next call.
        batch: number of images in a batch.

    Returns:
        The calibrator; its ``written`` is the cache that TensorRT made.
    """
    need_implicit(trt)
    if algorithm == "minmax":
        return _made(trt, trt.IInt8MinMaxCalibrator, cache, batches, upload, batch)
    return _made(trt, trt.IInt8EntropyCalibrator2, cache, batches, upload, batch)


def _made(
    trt: Any,
    base: type[trt.IInt8EntropyCalibrator2],  # type: ignore[name-defined] # noqa: F821
    cache: bytes | None,
    batches: Iterator[np.ndarray],
    upload: Upload,
    batch: int,
) -> Any:
    need_implicit(trt)

    class Calibrator(base):  # type: ignore[misc]
        def __init__(self) -> None:
            base.__init__(self)
            self.written: bytes | None = None
            self.failure: Exception | None = None

        def get_batch_size(self) -> int:
            return batch

        def get_batch(self, names: list[str]) -> list[int] | None:
            try:
                images = next(batches, None)
                return None if images is None else [upload(images)]
            except Exception as error:  # an exception here would end the process
                self.failure = error
                return None

        def read_calibration_cache(self) -> bytes | None:
            return cache

        def write_calibration_cache(self, cache: Any) -> None:
            self.written = bytes(cache)

    return Calibrator()
