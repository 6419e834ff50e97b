"""Writes the trained detector as FP32 ONNX and compares it with PyTorch in onnxruntime.

    python recipes/demo/export.py runs/demo/ema.pt -o recipes/demo/demo.onnx

Input `images` [batch, 3, 640, 640], RGB in 0..1; output `output0` [batch, 4 + C, 8400]. Only the
batch is dynamic.
"""

from __future__ import annotations

import argparse
import io
import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from model import SIZE, Decoded, Detector, fold_batchnorm
from onnx import helper
from scenes import NAMES

OPSET = 17
LARGEST_DIFFERENCE = 2e-3  # pixels or score


def tidy(name: str) -> str:
    """`/detector/stem/stem.0/conv/Conv` -> `stem.0.conv.Conv`; what lies outside the detector
    belongs to `decode`.
    """
    name = name.strip("/").replace("/", ".")
    if name.startswith("onnx::"):
        name = "constant_" + name.rsplit("_", 1)[-1]
    name = re.sub(r"\b(\w+)\.\1\.(\d)", r"\1.\2", name)
    return name.removeprefix("detector.") if name.startswith("detector.") else f"decode.{name}"


def rename_values(model: onnx.ModelProto) -> None:
    """Calls every intermediate value after the node that makes it, which reads better than exporter
    numbers.
    """
    fixed = {v.name for v in (*model.graph.input, *model.graph.output)}
    names = {}
    for node in model.graph.node:
        node.name = tidy(node.name)
        for i, output in enumerate(node.output):
            if output not in fixed:
                names[output] = node.name if i == 0 else f"{node.name}.{i}"
    for tensor in model.graph.initializer:
        names[tensor.name] = tidy(tensor.name)
    for node in model.graph.node:
        node.input[:] = [names.get(v, v) for v in node.input]
        node.output[:] = [names.get(v, v) for v in node.output]
    for tensor in model.graph.initializer:
        tensor.name = names[tensor.name]
    del model.graph.value_info[:]


def constants_to_initializers(model: onnx.ModelProto) -> None:
    """Constant nodes become initializers; the graph then holds operators only."""
    for node in [n for n in model.graph.node if n.op_type == "Constant"]:
        tensor = helper.get_attribute_value(node.attribute[0])
        tensor.name = node.output[0]
        model.graph.initializer.append(tensor)
        model.graph.node.remove(node)


def export(checkpoint: Path, target: Path) -> float:
    """Exports and returns the largest difference from PyTorch on random images and batch sizes 1
    and 3.
    """
    detector = Detector(len(NAMES))
    detector.load_state_dict(torch.load(checkpoint, weights_only=True, map_location="cpu"))
    fold_batchnorm(detector)
    network = Decoded(detector).eval()
    buffer = io.BytesIO()
    torch.onnx.export(
        network,
        (torch.zeros(2, 3, SIZE, SIZE),),
        buffer,
        opset_version=OPSET,
        dynamo=False,
        input_names=["images"],
        output_names=["output0"],
        dynamic_axes={"images": {0: "batch"}, "output0": {0: "batch"}},
    )
    model = onnx.load_from_string(buffer.getvalue())
    constants_to_initializers(model)
    rename_values(model)
    for value, shape in (
        (model.graph.input[0], ["batch", 3, SIZE, SIZE]),
        (model.graph.output[0], ["batch", 4 + len(NAMES), 8400]),
    ):
        value.CopyFrom(helper.make_tensor_value_info(value.name, onnx.TensorProto.FLOAT, shape))
    model.graph.name, model.producer_name, model.producer_version = "demo", "trtforge-demo", "1"
    for i, name in enumerate(NAMES):
        model.metadata_props.add(key=f"class.{i}", value=name)
    model = onnx.shape_inference.infer_shapes(model)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, target)

    session = ort.InferenceSession(str(target), providers=["CPUExecutionProvider"])
    worst = 0.0
    for batch in (1, 3):
        images = np.random.default_rng(batch).random((batch, 3, SIZE, SIZE), dtype=np.float32)
        with torch.no_grad():
            expected = network(torch.from_numpy(images)).numpy()
        worst = max(
            worst, float(np.abs(session.run(["output0"], {"images": images})[0] - expected).max())
        )
    return worst


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument(
        "-o", "--output", type=Path, default=Path(__file__).resolve().parent / "demo.onnx"
    )
    args = parser.parse_args()
    worst = export(args.checkpoint, args.output)
    (args.output.parent / "labels.txt").write_text("\n".join(NAMES) + "\n")
    print(
        f"{args.output}: {args.output.stat().st_size / 1e6:.2f} MB, largest difference from PyTorch {worst:.1e}"
    )
    return int(worst > LARGEST_DIFFERENCE)


if __name__ == "__main__":
    raise SystemExit(main())
