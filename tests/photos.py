"""Small images, labels for them, and the recipe of a classifier that was trained with deviations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from PIL import Image

from tests import models
from trtforge.calibration.images import list_images, prepare
from trtforge.recipe import Recipe

SIDE = 32
RECIPE = Recipe.model_validate(
    {
        "head": "none",
        "preprocess": {"std": [0.229, 0.224, 0.225], "offsets": [123.675, 116.28, 103.53]},
    }
)


def classifier(batch: int | str = "batch") -> onnx.ModelProto:
    """Colours to ten classes, by one convolution that saturates: a wrong deviation shows in the
    classes.
    """
    rng = np.random.default_rng(3)
    s = models.sketch()
    kernel, bias = s.const(3 * rng.normal(size=(16, 3, 3, 3))), s.const(30 * rng.normal(size=16))
    pooled = s.op(
        "GlobalAveragePool", s.op("Relu", s.op("Conv", "image", kernel, bias, pads=[1, 1, 1, 1]))
    )
    logits = s.op("MatMul", s.op("Flatten", pooled), s.const(rng.normal(size=(16, 10))))
    return onnx.shape_inference.infer_shapes(s.model(logits, batch=batch, side=SIDE))


def write(folder: Path, count: int) -> Path:
    """So many images of one colour each, with noise."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for number in range(count):
        noise = rng.integers(-40, 40, (40, 40, 3))
        pixels = np.clip(rng.integers(0, 255, 3) + noise, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02d}.png")
    return folder


def label(folder: Path, path: Path) -> Path:
    """Rows of name,class, as the classifier itself says with its recipe."""
    said = [
        (
            file.name,
            models.outputs(classifier(), prepare(file, RECIPE.preprocess, (SIDE, SIDE)))[
                0
            ].argmax(),
        )
        for file in list_images(folder)
    ]
    path.write_text("".join(f"{name},{found}\n" for name, found in said))
    return path
