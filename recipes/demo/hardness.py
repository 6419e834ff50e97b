"""How much mAP the demo detector loses under onnxruntime's INT8 recipes: evidence that it is a fair test of a calibrator.

    python recipes/demo/hardness.py recipes/demo/demo.onnx calibration/demo VALIDATION_DIR -o recipes/demo/hardness.md

- `all operators, MinMax`: everything symmetric INT8, also the last Concat, whose boxes and scores share one scale.
- `convolutions, MinMax`: Conv only, symmetric, per-channel weights, also the DFL convolution.
- `convolutions but decode, ...`: backbone, neck and heads; what a careful recipe should come close to FP32 with.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from evaluate import evaluate, letterbox, network_input, onnx_predictor
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from PIL import Image


class Images(CalibrationDataReader):
    def __init__(self, folder: Path):
        self.paths = iter(sorted(folder.glob("*.jpg")))

    def get_next(self) -> dict[str, np.ndarray] | None:
        path = next(self.paths, None)
        return None if path is None else {"images": network_input(letterbox(Image.open(path))[0])}


def quantize(
    source: Path, target: Path, images: Path, method: CalibrationMethod, ops: list[str] | None, decode: bool
) -> None:
    """Writes an INT8 QDQ model. `ops` None means every operator; `decode` False leaves the decode part in FP32."""
    skip = [] if decode else [n.name for n in onnx.load(source).graph.node if n.name.startswith("decode.")]
    quantize_static(
        source,
        target,
        Images(images),
        QuantFormat.QDQ,
        ops,
        per_channel=ops is not None,
        nodes_to_exclude=skip,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=method,
        extra_options={"ActivationSymmetric": True, "WeightSymmetric": True},
    )


RECIPES = {
    "all operators, MinMax": (CalibrationMethod.MinMax, None, True),
    "convolutions, MinMax": (CalibrationMethod.MinMax, ["Conv"], True),
    "convolutions but decode, MinMax": (CalibrationMethod.MinMax, ["Conv"], False),
    "convolutions but decode, percentile 99.999": (CalibrationMethod.Percentile, ["Conv"], False),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("onnx", type=Path)
    parser.add_argument("calibration", type=Path)
    parser.add_argument("validation", type=Path)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="*", help="recipes whose name contains one of these")
    args = parser.parse_args()
    base = evaluate(onnx_predictor(args.onnx, args.threads), args.validation, args.limit)
    lines = [
        f"onnxruntime {ort.__version__}, {args.limit or 'all'} images of the validation folder",
        "",
        "| recipe | mAP50-95 | mAP50 | points of mAP50-95 lost |",
        "| --- | --- | --- | --- |",
        f"| FP32 | {base[0]:.4f} | {base[1]:.4f} | |",
    ]
    print(lines[-1], flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        ready, model = Path(scratch) / "ready.onnx", Path(scratch) / "int8.onnx"
        quant_pre_process(args.onnx, ready, skip_symbolic_shape=True)
        for name, (method, ops, decode) in RECIPES.items():
            if args.only and not any(part in name for part in args.only):
                continue
            quantize(ready, model, args.calibration, method, ops, decode)
            strict, loose = evaluate(onnx_predictor(model, args.threads), args.validation, args.limit)
            lines.append(f"| {name} | {strict:.4f} | {loose:.4f} | {100 * (base[0] - strict):.2f} |")
            print(lines[-1], flush=True)
    if args.output:
        args.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
