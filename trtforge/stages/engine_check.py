"""engine + graph -> how far the engine is from FP32, run on this GPU on a few images.

A builder may compute something else than the graph says, and does not tell.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trtforge.bundle.facts import EngineCheck, OutputFacts
from trtforge.errors import ForgeError
from trtforge.recipe import Nms, Preprocess, Recipe
from trtforge.store import File, Stage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from trtforge.evaluate.metrics import Difference

IMAGES = 4  # the differences that matter here show on each of them
LEAST_PEARSON = 0.9  # right engines of INT8 reach 0.97, those with one wrong operator 0.6
SCORE = 0.25  # objects with a lower score are not shown to anybody
SCORES = "detection_scores"
ADVICE = {
    "int8": "try `precision: {rest: fp32}` in a recipe, --int8-mode implicit, or --fp16",
    "fp8": "try --int8, or --fp16",
    "fp16": "try --fp32",
}


@dataclass(frozen=True)
class CheckInputs:
    """The files that are compared.

    Attributes:
        engine: a TensorRT engine for this GPU, or a graph.
        reference: graph with the same outputs.
        images: folder of images; None draws some.
    """

    engine: File
    reference: File
    images: File | None = None


@dataclass(frozen=True)
class CheckOptions:
    """What is compared, and where.

    Attributes:
        recipe: what is left of the recipe for the graphs.
        precision: that of the engine.
        reference: what the reference is, in words.
        gpu: name of the GPU; another one runs the engine again.
    """

    recipe: Recipe
    precision: str
    reference: str
    gpu: str


def run(draft: Path, inputs: CheckInputs, options: CheckOptions) -> EngineCheck:
    """Run engine and reference on the same images, and compare their outputs.

    Raises:
        ForgeError: the engine can't run on images, or its outputs are others.
        MachineError: what running it needs is missing, or it fails.
    """
    from trtforge.evaluate.comparison import compare, first_nan
    from trtforge.evaluate.detections import Objects, agreement, finder
    from trtforge.evaluate.models import open_model
    from trtforge.graph.nms import OUTPUTS

    one = open_model(inputs.reference.path, options.recipe)
    other = open_model(inputs.engine.path, options.recipe)
    if one.outputs.keys() != other.outputs.keys() or one.size != other.size:
        raise ForgeError("its inputs or outputs are not those of the graph", "please report it")
    suppressed = set(OUTPUTS) <= set(one.outputs)
    finders = [finder(engine, Nms()) for engine in (one, other)] if suppressed else []
    differences: dict[str, Difference] = {}
    both = either = 0
    not_finite: str | None = None
    folder = inputs.images.path if inputs.images else None
    images = list(_images(folder, options.recipe.preprocess, one.size))
    for image in images:
        outputs = [engine.infer(image) for engine in (one, other)]
        not_finite = not_finite or first_nan(outputs[1])
        if not suppressed:
            compare(one, outputs[0], outputs[1], differences)
            continue
        # By rank: which box comes first may differ between two right engines.
        compare(one, {SCORES: outputs[0][SCORES]}, {SCORES: outputs[1][SCORES]}, differences)
        found = [
            Objects(*find(arrays)).above(SCORE)
            for find, arrays in zip(finders, outputs, strict=True)
        ]
        pair = agreement(found[0], found[1])
        both, either = both + pair[0], either + pair[1]
    return EngineCheck(
        options.precision,
        options.reference,
        len(images),
        folder is None,
        {name: _facts(difference) for name, difference in differences.items()},
        both if suppressed else None,
        either if suppressed else None,
        not_finite,
    )


def _images(
    folder: Path | None, spec: Preprocess, size: tuple[int, int]
) -> Iterator[NDArray[np.float32]]:
    """Yield images as the network takes them, float32 (1, 3, H, W), from all over the folder."""
    from trtforge.calibration import images as pictures

    if folder is None:
        for pixels in _drawn(size):
            yield pictures.normalise(pixels, spec)[None]
        return
    files = pictures.list_images(folder)
    left = IMAGES
    for file in [*files[:: max(1, len(files) // IMAGES)], *files]:
        try:
            yield pictures.prepare(file, spec, size)
        except pictures.CorruptImage:
            continue
        left -= 1
        if not left:
            return


def _drawn(size: tuple[int, int]) -> Iterator[NDArray[np.uint8]]:
    """Yield smooth images with noise, uint8 (H, W, 3): networks answer to edges of all sizes."""
    import numpy as np
    from PIL import Image

    height, width = size
    rng = np.random.default_rng(0)
    for number in range(IMAGES):
        coarse = rng.integers(0, 256, (4 << number, 4 << number, 3), np.uint8)
        grown = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        noise = rng.integers(-8, 9, (height, width, 3))
        yield np.clip(np.asarray(grown) + noise, 0, 255).astype(np.uint8)


def _facts(difference: Difference) -> OutputFacts:
    figures = (difference.pearson, difference.cosine, difference.sqnr)
    return OutputFacts(*(figure if math.isfinite(figure) else None for figure in figures))


def summarize(facts: EngineCheck) -> str:
    """Return the figures in a line for people."""
    figures = [f"{_label(name)} {_decibels(output)}" for name, output in facts.outputs.items()]
    if facts.either is not None:
        figures.append(f"{facts.both} of {facts.either} objects found by both")
    images = f"{facts.images} {'drawn ' if facts.drawn else ''}images"
    return f"{facts.precision.upper()} engine: {', '.join(figures)} against {facts.reference} on {images}"


def _label(name: str) -> str:
    return "scores" if name == SCORES else name.rpartition(": ")[2]


def _decibels(output: OutputFacts) -> str:
    if output.pearson is None:
        return "not finite"
    return "equal" if output.sqnr_db is None else f"{output.sqnr_db:.0f} dB"


def remark(facts: EngineCheck) -> str:
    """Return what the user should know of an engine that is wrong, or not checked; else empty."""
    wrong = _wrong(facts)
    if wrong:
        advice = ADVICE.get(facts.precision, "please report it")
        return f"warning: this {facts.precision.upper()} engine is wrong: {wrong}; {advice}"
    if facts.either == 0:
        return (
            f"the engine runs, but nothing is found on {facts.images} images that could be compared: "
            "`trtforge verify` compares it on yours"
        )
    return ""


def _wrong(facts: EngineCheck) -> str:
    if facts.not_finite is not None:
        return f"output {facts.not_finite!r} holds NaN"
    low = {name: output.pearson for name, output in facts.outputs.items()}
    if None in low.values():
        return f"{_label(next(name for name in low if low[name] is None))} are not finite"
    worst = min(low, key=lambda name: low[name] or 0.0)
    figure = low[worst] or 0.0
    if figure >= LEAST_PEARSON:
        return ""
    return f"{_label(worst)} correlate with {facts.reference} at {figure:.2f} only"


TOOLS = ("numpy", "onnxruntime", "pillow", "pycuda", "tensorrt", "tensorrt-rtx")
STAGE = Stage("check-engine", 1, TOOLS, run, EngineCheck, summarize)
