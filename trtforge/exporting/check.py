"""Compare an exported model in ONNX Runtime with the PyTorch model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trtforge.backends.onnxruntime import run, session
from trtforge.errors import GateError
from trtforge.exporting.inputs import random_images

INPUTS = 3  # random images for each shape

Infer = Callable[[NDArray[np.float32]], dict[str, NDArray[np.generic]]]


@dataclass(frozen=True)
class Deviation:
    """Differences of ONNX Runtime's outputs from PyTorch's, over all inputs.

    Attributes:
        shapes: shapes of the images.
        inputs: number of random images, several of each shape.
        largest: largest difference of any value.
        relative: largest difference relative to PyTorch's value; values below 1 count as 1.
    """

    shapes: tuple[tuple[int, ...], ...]
    inputs: int
    largest: float
    relative: float


def compare(
    model: Path, reference: Infer, shapes: Sequence[tuple[int, ...]], atol: float, rtol: float
) -> Deviation:
    """Run both models on random images of each shape.

    Args:
        reference: returns PyTorch's outputs by name, for float32 images (N, C, H, W).
        shapes: shapes of the images.
        atol, rtol: a difference of ``atol + rtol * |PyTorch's value|`` is allowed.

    Raises:
        GateError: an output differs by more, or has another shape or type.
        ForgeError: ONNX Runtime can't load the model, or it fails.
    """
    engine = session(model)
    largest = relative = 0.0
    for shape in shapes:
        for seed in range(INPUTS):
            images = random_images(shape, seed)
            outputs = run(engine, images)
            for name, expected in reference(images).items():
                where = f"on images of {'x'.join(map(str, shape))}"
                apart, share = _compare_output(name, expected, outputs[name], where, atol, rtol)
                largest, relative = max(largest, apart), max(relative, share)
    return Deviation(tuple(shapes), INPUTS * len(shapes), largest, relative)


def _compare_output(
    name: str,
    expected: NDArray[np.generic],
    actual: NDArray[np.generic],
    where: str,
    atol: float,
    rtol: float,
) -> tuple[float, float]:
    """Return the largest difference and the largest relative difference of one output."""
    if expected.shape != actual.shape or expected.dtype != actual.dtype:
        raise GateError(
            f"{name} is {actual.dtype} {actual.shape} in ONNX Runtime {where}, and "
            f"{expected.dtype} {expected.shape} in PyTorch",
            "the export made a size constant: see --dynamic",
        )
    if not expected.size:
        return 0.0, 0.0
    one, two = expected.astype(np.float64), actual.astype(np.float64)
    # Equal infinities have the difference NaN, and so have two NaN: both count as equal.
    same = (one == two) | (np.isnan(one) & np.isnan(two))
    with np.errstate(invalid="ignore"):
        apart: NDArray[np.float64] = np.where(same, 0.0, np.abs(one - two))
    magnitude: NDArray[np.float64] = np.where(np.isfinite(one), np.abs(one), 0.0)
    worst = float(np.nanmax(apart)) if np.isfinite(apart).all() else float("inf")
    # NaN is never within the limit: it means that one value is NaN and the other is a number.
    if not (apart <= atol + rtol * magnitude).all():
        raise GateError(
            f"{name} differs from PyTorch by up to {worst:.2g} {where}, over --atol {atol:g} and "
            f"--rtol {rtol:g}",
            "the export made a branch or a size constant, or the model draws random numbers",
        )
    return worst, float((apart / np.maximum(magnitude, 1.0)).max())
