"""How close FP16 and INT8 graphs are to FP32, on photographs that calibration has not seen.

    python benchmarks/parity.py MODEL.onnx --images photos/ [--held-out 8]

Boxes and scores are compared apart, by Pearson correlation: whole outputs correlate at 0.97 and
more even between
different photographs, because box coordinates are mostly the grid. The control, FP32 of another
photograph, has to fail the gate that FP16 and INT8 pass, or the gate proves nothing. Everything
runs in ONNX Runtime on the CPU.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

from trtforge import present
from trtforge.backends.onnxruntime import run
from trtforge.bundle.prepared import Target
from trtforge.calibration.images import list_images, prepare
from trtforge.evaluate.models import reference_session
from trtforge.graph.detection import decode, recognise
from trtforge.graph.model import graph_of, load, model_of
from trtforge.pipeline import deliver
from trtforge.pipeline.job import Job
from trtforge.recipe import Preprocess
from trtforge.store import Store

LEAST = {"fp16": 0.9999, "int8": 0.93}  # of scores; and of boxes for FP16


def pearson(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def boxes_scores(model: Path, images: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (images, N, 4) and scores (images, N, classes)."""
    graph = graph_of(load(model))
    detection = recognise(graph)
    if detection is None:
        sys.exit(f"{model}: not a decoded detector")
    decoded = decode(graph, detection)
    graph.outputs = [decoded.boxes, decoded.scores]
    engine = reference_session(model_of(graph))
    names = [output.name for output in engine.get_outputs()]
    found = [run(engine, image) for image in images]
    return tuple(np.concatenate([each[name] for each in found]) for name in names)  # type: ignore[return-value]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--held-out", type=int, default=8)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = list_images(asked.images)
        (folder / "calib").mkdir()
        for file in files[: -asked.held_out]:
            shutil.copy(file, folder / "calib")
        outs = {}
        for precision in ("fp32", "fp16", "int8"):
            job = Job(
                asked.model, recipe(), precision, folder / "calib" if precision == "int8" else None
            )
            outs[precision] = folder / precision
            deliver(
                job,
                [Target(None, None)],
                [outs[precision]],
                Store(folder / "store"),
                deepstream=None,
                force=False,
            )
        graphs = {
            precision: out / f"{asked.model.stem}.rtx.onnx" for precision, out in outs.items()
        }
        size = tuple(
            load(graphs["fp32"]).graph.input[0].type.tensor_type.shape.dim[axis].dim_value
            for axis in (2, 3)
        )
        batches = [prepare(file, Preprocess(), size) for file in files[-asked.held_out :]]
        reference = boxes_scores(graphs["fp32"], batches)
        compared = {
            precision: boxes_scores(graphs[precision], batches) for precision in ("fp16", "int8")
        }
    compared["control"] = tuple(np.roll(values, 1, axis=0) for values in reference)  # type: ignore[assignment]
    rows, passed = [], True
    for label, values in compared.items():
        boxes, scores = (pearson(one, other) for one, other in zip(reference, values, strict=True))
        constant = any(float(np.ptp(part)) == 0 for part in values)
        least = LEAST.get(label, LEAST["int8"])
        good = scores >= least and (label == "int8" or boxes >= least) and not constant
        passed &= good is (label != "control")
        rows.append(
            [
                label,
                f"{boxes:.6f}",
                f"{scores:.6f}",
                f"scores >= {least}",
                "passes" if good else "rejected",
            ]
        )
    print(present.table(rows, ["against FP32", "boxes", "scores", "gate", ""]))
    return 0 if passed else 4


def recipe():  # type: ignore[no-untyped-def]
    from trtforge.recipe import Recipe

    return Recipe()


if __name__ == "__main__":
    sys.exit(main())
