"""INT8 of ``trtforge build`` against FP32 and against its peers at every setting: mAP on the same
images, in one run.

    python benchmarks/accuracy.py --images val/ [--labels val/labels.json] [--peers PYTHON]
    [MODEL.onnx]

All quantizers see the same calibration images, prepared alike, and the same folded graph; ONNX
Runtime runs what they make. Differences come with the 95 % interval of a paired bootstrap over the
images: a peer is better only if its whole interval says so. The exit status is then 1. ``--peers``
names a Python with nvidia-modelopt[onnx] and onnxruntime.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "recipes" / "demo"
ORT_METHODS, MODELOPT_METHODS = ("MinMax", "Entropy", "Percentile"), ("max", "entropy")
# These methods keep every activation, which takes more than 19 GB at 64 images.
ORT_IMAGES = {"Entropy": 16, "Percentile": 16}

ORT = """
import sys, numpy as np
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType, quantize_static
class Reader(CalibrationDataReader):
    def __init__(self):
        self.rows = iter(np.load(sys.argv[2], mmap_mode="r")[: int(sys.argv[6])])
    def get_next(self):
        row = next(self.rows, None)
        return None if row is None else {sys.argv[4]: row[None]}
quantize_static(sys.argv[1], sys.argv[3], Reader(), calibrate_method=CalibrationMethod[sys.argv[5]], per_channel=True,
                weight_type=QuantType.QInt8, activation_type=QuantType.QInt8, op_types_to_quantize=["Conv"],
                extra_options={"ActivationSymmetric": True})
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, nargs="?", default=DEMO / "demo.onnx")
    parser.add_argument("--calib", type=Path, default=ROOT / "calibration" / "demo")
    parser.add_argument("--images", type=Path, default=DEMO / "validation")
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--peers", help="a Python with nvidia-modelopt[onnx] and onnxruntime")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        return compare(asked, Path(name))


def compare(asked: argparse.Namespace, folder: Path) -> int:
    clean = folder / "clean.onnx"
    trtforge("fold", asked.model, "-o", clean)
    trtforge(
        "prepare",
        asked.model,
        "--int8",
        "--calib",
        asked.calib,
        "--nms",
        "none",
        "-o",
        folder / "ours",
    )
    engines = {"trtforge": folder / "ours" / f"{asked.model.stem}.rtx.onnx", "FP32": clean}
    if asked.peers:
        engines |= quantized(clean, asked.calib, asked.peers, folder)

    from trtforge.stages.verify import verify

    labels = asked.labels or asked.images / "labels.json"
    report = verify(
        list(engines.values()), asked.images, labels=labels, recipe=None, nms=None, per_layer=False
    )
    accuracy = dict(zip(engines, report.accuracy, strict=True))
    print(
        f"\n{asked.model.name}, {report.images} images, {report.metric}; lost against FP32, and less than trtforge's"
    )
    print(
        f"  {'trtforge':24} {accuracy['trtforge']:.4f}  {(accuracy['FP32'] - accuracy['trtforge']) * 100:6.2f}"
    )
    better = 0
    for name, (low, high) in zip(list(engines)[1:], report.intervals, strict=True):
        lost, less = ((accuracy[other] - accuracy[name]) * 100 for other in ("FP32", "trtforge"))
        print(
            f"  {name:24} {accuracy[name]:.4f}  {lost:6.2f}  {less:6.2f} ({low:.2f} to {high:.2f})"
        )
        better += name != "FP32" and high < 0
    return int(better > 0)


def quantized(clean: Path, calib: Path, python: str, folder: Path) -> dict[str, Path]:
    """What the peers make of the folded graph, at each of their settings that ends well."""
    from trtforge.calibration.images import list_images, prepare
    from trtforge.graph.edit.nodes import input_size
    from trtforge.graph.model import graph_of, load
    from trtforge.recipe import Preprocess

    graph = graph_of(load(clean))
    size = input_size(graph)
    assert size
    batches = np.concatenate([prepare(file, Preprocess(), size) for file in list_images(calib)])
    np.save(folder / "images.npy", batches)
    (folder / "ort.py").write_text(ORT)
    commands: dict[str, list[object]] = {}
    for method in ORT_METHODS:
        count = min(len(batches), ORT_IMAGES.get(method, len(batches)))
        out = folder / f"onnxruntime-{method}.onnx"
        commands[f"onnxruntime {method}, {count}"] = [
            folder / "ort.py",
            clean,
            folder / "images.npy",
            out,
            graph.inputs[0].name,
            method,
            count,
        ]
    for method in MODELOPT_METHODS:
        commands[f"modelopt {method}, {len(batches)}"] = [
            "-m",
            "modelopt.onnx.quantization",
            f"--onnx_path={clean}",
            "--quantize_mode=int8",
            f"--calibration_data={folder / 'images.npy'}",
            f"--calibration_method={method}",
            "--calibration_eps",
            "cpu",
            "--high_precision_dtype=fp32",
            f"--output_path={folder / f'modelopt-{method}.onnx'}",
        ]
    found = {}
    for name, command in commands.items():
        out = folder / f"{name.split(',')[0].replace(' ', '-')}.onnx"
        done = subprocess.run(
            [python, *map(str, command)], capture_output=True, text=True, check=False
        )
        if out.is_file():
            found[name] = out
        else:
            print(f"  {name} failed: {done.stderr.strip().splitlines()[-1:]}")
    return found


def trtforge(*words: object) -> None:
    subprocess.run(
        [sys.executable, "-m", "trtforge", *map(str, words)], check=True, stdout=subprocess.DEVNULL
    )


if __name__ == "__main__":
    sys.exit(main())
