"""What TensorRT-RTX makes of our Q/DQ graphs, beside what it makes of nvidia-modelopt's of the same
model.

    python benchmarks/placement.py MODEL.onnx ... --images photos/ [--peers PYTHON] [--sm 89]

Both are INT8 with FP16 elsewhere. Counted from the builder's own dump of layers: learned
convolutions with Int8 input and weights, and the bytes that layers hand to each other, by datatype.
It has no reformat layers and no kernels of TensorRT's own: those show on a GPU with TensorRT.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from trtforge.reporting.model import Layer

ROOT = Path(__file__).resolve().parents[1]
EIGHT_BITS = ("Int8", "FP8")


def built(graph: Path, sm: int, size: tuple[int, int]) -> tuple[list[Layer], dict[str, int]]:
    """Layers of the engine, and bytes between them by datatype."""
    from trtforge.backends import tensorrt_rtx
    from trtforge.reporting import cost, rtx_log

    _, record = tensorrt_rtx.build(
        graph, sm=sm, batch=(1, 1, 1), size=size, progress=lambda done: None
    )
    layers = rtx_log.parse(record.layers)
    return layers, cost.bytes_crossing(layers, 1)


def shown(crossing: dict[str, int]) -> str:
    wide = crossing.get("Float", 0) + crossing.get("Half", 0)
    parts = ", ".join(
        f"{name} {count / 1e6:.1f}" for name, count in sorted(crossing.items()) if count > 1e5
    )
    return f"{wide / 1e6:7.1f} MB in Float or Half ({parts})"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "models", type=Path, nargs="*", default=[ROOT / "recipes" / "demo" / "demo.onnx"]
    )
    parser.add_argument("--images", type=Path, default=ROOT / "calibration" / "demo")
    parser.add_argument("--peers", help="a Python with nvidia-modelopt[onnx]")
    parser.add_argument("--sm", type=int, default=89)
    asked = parser.parse_args()
    worse = 0
    for model in asked.models:
        with tempfile.TemporaryDirectory() as name:
            worse += compare(model, asked.images, asked.peers, asked.sm, Path(name))
    return worse


def compare(model: Path, images: Path, peers: str | None, sm: int, folder: Path) -> int:
    from trtforge.calibration.images import list_images, prepare
    from trtforge.graph.edit.nodes import input_size
    from trtforge.graph.heads import learned
    from trtforge.graph.model import graph_of, load
    from trtforge.recipe import Preprocess

    def run(*words: object) -> None:
        command = [sys.executable, "-m", "trtforge", *map(str, words)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    names = ("clean.onnx", "t.json", "int8.onnx", "half.onnx", "ready.onnx")
    clean, table, typed, half, ready = (folder / file for file in names)
    run("fold", model, "-o", clean)
    run("calibrate", clean, "--calib", images, "-o", table)
    run("quantize", clean, "--calibration", table, "-o", typed)
    run("cast", typed, "-o", half)
    run("patch", half, "--nms", "none", "-o", ready)
    graph = graph_of(load(clean))
    size = input_size(graph)
    assert size
    convolutions = {node.name for node in learned(graph) if node.op == "Conv"}
    layers, crossing = built(ready, sm, size)
    eight = [
        layer
        for layer in layers
        if any(tensor.dtype in EIGHT_BITS for tensor in layer.inputs)
        and any(tensor.dtype in EIGHT_BITS for tensor in layer.constants)
    ]
    found = convolutions & {node for layer in eight for node in layer.nodes}
    print(f"\n{model.name}, SM{sm}")
    print(
        f"  {len(found)} of {len(convolutions)} learned convolutions with Int8 input and weights "
        f"({len(found) / len(convolutions):.1%})"
    )
    print(f"  trtforge  {shown(crossing)}")
    if peers is None:
        return 0
    batches = [prepare(file, Preprocess(), size) for file in list_images(images)[:16]]
    np.save(folder / "few.npy", np.concatenate(batches))
    theirs = folder / "modelopt.onnx"
    command = [
        peers,
        "-m",
        "modelopt.onnx.quantization",
        f"--onnx_path={clean}",
        "--quantize_mode=int8",
        f"--calibration_data={folder / 'few.npy'}",
        "--calibration_method=max",
        "--calibration_eps",
        "cpu",
        "--high_precision_dtype=fp16",
        f"--output_path={theirs}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not theirs.is_file():
        print(f"  modelopt failed: {done.stderr.strip().splitlines()[-1:]}")
        return 1
    _, other = built(theirs, sm, size)
    print(f"  modelopt  {shown(other)}")
    ratio = sum(crossing.get(name, 0) for name in ("Float", "Half")) / sum(
        other.get(n, 0) for n in ("Float", "Half")
    )
    print(f"  {ratio:.2f} times modelopt's")
    return int(ratio > 1)


if __name__ == "__main__":
    sys.exit(main())
