"""ONNX Runtime against PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trtforge.backends.onnxruntime import run, session
from trtforge.errors import GateError
from trtforge.exporting.inputs import random_images

INPUTS = 3  # random ones, for each shape

Infer = Callable[[np.ndarray], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Deviation:
    """How far ONNX Runtime is from PyTorch, over all inputs.

    Attributes:
        shapes: of the images; several random ones of each.
        largest: largest difference of any value.
        relative: largest difference over the magnitude of PyTorch's value, where that is over 1.
    """

    shapes: list[tuple[int, ...]]
    largest: float
    relative: float

    @property
    def facts(self) -> dict[str, Any]:
        return {
            "shapes": [list(shape) for shape in self.shapes],
            "inputs": INPUTS * len(self.shapes),
            "largest": self.largest,
            "relative": self.relative,
        }


def compare(
    model: Path, reference: Infer, shapes: Sequence[tuple[int, ...]], atol: float, rtol: float
) -> Deviation:
    """Run both on random images of each shape.

    Args:
        reference: PyTorch's outputs by name, for float32 images (N, C, H, W).
        shapes: of the images.
        atol: largest difference allowed, plus
        rtol: this share of PyTorch's magnitude.

    Raises:
        GateError: an output differs by more, or has another shape or type.
        ForgeError: ONNX Runtime can't load the model, or it fails.
    """
    engine = session(model)
    largest = relative = 0.0
    for shape in shapes:
        for seed in range(INPUTS):
            images = random_images(shape, seed)
            found = run(engine, images)
            for name, expected in reference(images).items():
                one, two = _gate(name, expected, found[name], shape, atol, rtol)
                largest, relative = max(largest, one), max(relative, two)
    return Deviation(list(shapes), largest, relative)


def _gate(
    name: str,
    expected: np.ndarray,
    found: np.ndarray,
    shape: tuple[int, ...],
    atol: float,
    rtol: float,
) -> tuple[float, float]:
    at = f"on images of {'x'.join(map(str, shape))}"
    if expected.shape != found.shape or expected.dtype != found.dtype:
        raise GateError(
            f"{name} is {found.dtype} {found.shape} in ONNX Runtime {at}, and {expected.dtype} {expected.shape} in "
            "PyTorch",
            "a size was taken for constant: see --dynamic",
        )
    if not expected.size:
        return 0.0, 0.0
    one, two = expected.astype(np.float64), found.astype(np.float64)
    # Equal infinities differ by NaN, and so do two NaN: both are agreement.
    same = (one == two) | (np.isnan(one) & np.isnan(two))
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0.0, np.abs(one - two))
    magnitude = np.where(np.isfinite(one), np.abs(one), 0.0)
    worst = np.nanmax(apart) if np.isfinite(apart).all() else float("inf")
    if not (apart <= atol + rtol * magnitude).all():  # NaN against a number is never within
        raise GateError(
            f"{name} differs from PyTorch by up to {worst:.2g} {at}, over --atol {atol:g} and --rtol {rtol:g}",
            "a branch or a size was taken for constant, or the model draws random numbers",
        )
    return float(worst), float((apart / np.maximum(magnitude, 1.0)).max())
