"""On the target: engines by TensorRT itself, compared with ONNX Runtime. One command: ``make gpu-test``."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from trtforge.devices import this_machine

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "recipes" / "demo" / "demo.onnx"
PHOTOS = ROOT / "calibration" / "demo"

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.tensorrt,
    pytest.mark.skipif(this_machine() is None, reason="needs an NVIDIA GPU"),
    pytest.mark.skipif(find_spec("tensorrt") is None, reason="needs TensorRT 10 or 11 with its libraries"),
]


@pytest.mark.parametrize("nms_impl", ["plugin", "onnx"])
@pytest.mark.parametrize(("precision", "least"), [("fp32", 0.999), ("fp16", 0.999), ("int8", 0.97)])
def test_engine_finds_what_onnxruntime_finds(tmp_path, precision, least, nms_impl):
    """Scores of the detections, best first, correlate; both forms of NMS are built."""
    from trtforge.backends import onnxruntime, tensorrt
    from trtforge.backends.select import target
    from trtforge.calibrate.images import list_images, prepare
    from trtforge.job import Job
    from trtforge.pipeline import deliver
    from trtforge.recipe import Preprocess, Recipe
    from trtforge.store import Store

    out = tmp_path / "out"
    chosen, _ = target("tensorrt", None)
    job = Job(DEMO, Recipe(), precision, PHOTOS if precision == "int8" else None, nms_impl=nms_impl)
    deliver(job, [chosen], [out], Store(tmp_path / "store"), deepstream=None, force=False)
    images = prepare(list_images(PHOTOS)[0], Preprocess(), (640, 640))
    engine = next(out.glob("*.engine"))
    infer, _, _ = tensorrt.load(engine)
    found = infer(images)["detection_scores"]
    deliver(Job(DEMO, Recipe(), "fp32"), [target("onnxruntime", None)[0]], [tmp_path / "cpu"],
            Store(tmp_path / "store"), deepstream=None, force=False)  # fmt: skip
    expected = onnxruntime.run(onnxruntime.session(tmp_path / "cpu" / "demo.ort.onnx"), images)["detection_scores"]
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] >= least
