"""How much mAP the demo detector loses under onnxruntime's INT8 recipes: is it a fair test of a
calibrator?

    python recipes/demo/hardness.py recipes/demo/demo.onnx calibration/demo VALIDATION_DIR -o
    recipes/demo/hardness.md

All are symmetric INT8. A careful recipe (the last two) leaves the decode part in floating point and
quantizes what enters a convolution; a careless one loses points to the convolutions' outputs and to
the decode part, or everything to the last Concat, in which boxes (0..640) and scores (0..1) share
one scale.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime as ort
from evaluate import evaluate, letterbox, network_input, onnx_predictor
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process
from PIL import Image

PERCENTILE = CalibrationMethod.Percentile


class Recipe(NamedTuple):
    method: CalibrationMethod = CalibrationMethod.MinMax
    all_operators: bool = False
    decode: bool = True  # quantize the decode part too
    outputs: bool = True  # quantize what leaves a convolution, not only what enters it
    images: int = 64  # histogram methods hold every activation of every image in memory


RECIPES = {
    "all operators, MinMax": Recipe(all_operators=True),
    "convolutions, MinMax": Recipe(),
    "convolutions but decode, MinMax": Recipe(decode=False),
    "inputs of convolutions but decode, MinMax": Recipe(decode=False, outputs=False),
    "inputs of convolutions but decode, percentile 99.999": Recipe(
        CalibrationMethod.Percentile, False, False, False, 16
    ),
}


class Images(CalibrationDataReader):
    """The first `count` images of a folder as network inputs."""

    def __init__(self, folder: Path, count: int):
        self.paths = iter(sorted(folder.glob("*.jpg"))[:count])

    def get_next(self) -> dict[str, np.ndarray] | None:
        path = next(self.paths, None)
        return None if path is None else {"images": network_input(letterbox(Image.open(path))[0])}


def quantize(source: Path, target: Path, images: Path, recipe: Recipe) -> None:
    """Writes an INT8 QDQ model."""
    decode_nodes = [n.name for n in onnx.load(source).graph.node if n.name.startswith("decode.")]
    quantize_static(
        source,
        target,
        Images(images, recipe.images),
        QuantFormat.QDQ,
        op_types_to_quantize=None if recipe.all_operators else ["Conv"],
        nodes_to_exclude=[] if recipe.decode else decode_nodes,
        per_channel=not recipe.all_operators,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=recipe.method,
        extra_options={
            "ActivationSymmetric": True,
            "WeightSymmetric": True,
            "OpTypesToExcludeOutputQuantization": [] if recipe.outputs else ["Conv"],
        },
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("onnx", type=Path)
    parser.add_argument("calibration", type=Path, help="folder of calibration images")
    parser.add_argument("validation", type=Path, help="folder of images and labels.json")
    parser.add_argument("-o", "--output", type=Path, help="Markdown table to write")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    base, loose = evaluate(onnx_predictor(args.onnx, args.threads), args.validation)
    lines = [
        f"onnxruntime {ort.__version__}, {len(list(args.validation.glob('*.jpg')))} validation images",
        "",
        "| recipe | calibration images | mAP50-95 | mAP50 | points of mAP50-95 lost |",
        "| --- | --- | --- | --- | --- |",
        f"| FP32 | | {base:.4f} | {loose:.4f} | |",
    ]
    print(lines[-1], flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        ready, model = Path(scratch) / "ready.onnx", Path(scratch) / "int8.onnx"
        quant_pre_process(args.onnx, ready, skip_symbolic_shape=True)
        for name, recipe in RECIPES.items():
            quantize(ready, model, args.calibration, recipe)
            strict, loose = evaluate(onnx_predictor(model, args.threads), args.validation)
            lines.append(
                f"| {name} | {recipe.images} | {strict:.4f} | {loose:.4f} | {100 * (base - strict):.2f} |"
            )
            print(lines[-1], flush=True)
    if args.output:
        args.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
