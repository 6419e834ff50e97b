"""On the target: engines by TensorRT itself, compared with ONNX Runtime. One command: ``make
gpu-test``.
"""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from trtforge.backends._bindings import has
from trtforge.backends.options import BuildOptions
from trtforge.calibration.cache import version_number
from trtforge.devices import this_machine
from trtforge.errors import ForgeError, MachineError
from trtforge.pipeline.job import Job
from trtforge.recipe import Preprocess, Recipe
from trtforge.store import Store

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "recipes" / "demo" / "demo.onnx"
PHOTOS = ROOT / "calibration" / "demo"

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.tensorrt,
    pytest.mark.skipif(this_machine() is None, reason="needs an NVIDIA GPU"),
    pytest.mark.skipif(
        find_spec("tensorrt") is None, reason="needs TensorRT 10 or 11 with its libraries"
    ),
]
PRECISIONS = {
    "fp32": (0.999, {}),
    "fp16": (0.999, {}),
    "int8": (0.97, {}),
    "int8 implicit": (0.97, {"implicit": True}),
    "int8 implicit, TensorRT's entropy": (0.95, {"implicit": True, "calibrator": "entropy"}),
    "int8 implicit, TensorRT's minmax": (0.9, {"implicit": True, "calibrator": "minmax"}),
}


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    from trtforge.calibration.images import list_images, prepare

    return prepare(list_images(PHOTOS)[0], Preprocess(), (640, 640))


@pytest.fixture(scope="module")
def expected(store, image, tmp_path_factory) -> np.ndarray:
    """Scores that ONNX Runtime finds in FP32, best first."""
    from trtforge.backends import onnxruntime

    folder = build(
        store, tmp_path_factory.mktemp("cpu") / "out", Job(DEMO, Recipe(), "fp32"), "onnxruntime"
    )
    return onnxruntime.run(onnxruntime.session(folder / "demo.ort.onnx"), image)["detection_scores"]


def build(store: Store, out: Path, job: Job, backend: str = "tensorrt", **options) -> Path:
    from trtforge.pipeline import deliver
    from trtforge.pipeline.targets import target

    chosen, _ = target(backend, None)
    builder = BuildOptions(**{"opt_level": 0, **options})
    deliver(job, [chosen], [out], store, options=builder, deepstream=None, force=False)
    return out


def engine_of(folder: Path) -> Path:
    return next(folder.glob("*.engine"))


@pytest.mark.parametrize("nms_impl", ["plugin", "onnx"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_engine_finds_what_onnxruntime_finds(store, tmp_path, image, expected, precision, nms_impl):
    """Scores of the detections, best first, correlate; both forms of NMS are built."""
    import tensorrt as trt

    from trtforge.backends import tensorrt

    least, how = PRECISIONS[precision]
    if how and not has(trt, "BuilderFlag.INT8"):
        pytest.skip(f"needs TensorRT 10; {trt.__version__} has no implicit INT8")
    kind = precision.split()[0]
    job = Job(DEMO, Recipe(), kind, PHOTOS if kind == "int8" else None, nms_impl=nms_impl, **how)
    out = build(store, tmp_path / "out", job, calibrator=how.get("calibrator", "own"))
    infer, size, _ = tensorrt.load(engine_of(out))
    found = infer(image)["detection_scores"]
    assert size == (640, 640)
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] >= least
    assert (out / "calibration.cache").is_file() == (kind == "int8")
    if kind == "int8":  # for the TensorRT that has built the engine, not for the newest DeepStream
        number = version_number(trt.__version__)
        assert (out / "calibration.cache").read_text().startswith(f"TRT-{number}-")


def test_manifest_says_what_made_the_engine(store, tmp_path):
    import tensorrt as trt

    built = json.loads(
        (build(store, tmp_path / "out", Job(DEMO, Recipe(), "fp32")) / "manifest.json").read_text()
    )
    facts = built["engine"]["built"]
    assert facts["version"] == trt.__version__
    assert facts["sm"] == this_machine().sm
    assert facts["gpu"] and facts["cuda"]


def test_second_build_takes_kernels_from_the_timing_cache(store, tmp_path):
    file = tmp_path / "timing.cache"
    build(store, tmp_path / "one", Job(DEMO, Recipe(), "fp32"), timing_cache=str(file))
    first = file.read_bytes()
    build(
        store, tmp_path / "two", Job(DEMO, Recipe(), "fp32"), timing_cache=str(file), aux_streams=0
    )
    assert first
    assert len(file.read_bytes()) >= len(first)


def test_damaged_engine_is_refused_in_a_line(store, tmp_path):
    from trtforge.backends import tensorrt

    engine = engine_of(build(store, tmp_path / "out", Job(DEMO, Recipe(), "fp32")))
    cut = tmp_path / "cut.engine"
    cut.write_bytes(engine.read_bytes()[:-5000])
    with pytest.raises(MachineError, match="cut short or damaged"):
        tensorrt.load(cut)
    shutil.copy(engine, tmp_path / "other.engine")
    content = bytearray((tmp_path / "other.engine").read_bytes())
    content[24:28] = bytes([9, 9, 9, 9])
    (tmp_path / "other.engine").write_bytes(content)
    with pytest.raises(MachineError, match=r"built with TensorRT 9\.9\.9\.9; this is SM"):
        tensorrt.load(tmp_path / "other.engine")


def test_shape_outside_the_profile_is_refused_in_a_line(store, tmp_path, image):
    from trtforge.backends import tensorrt

    infer, _, _ = tensorrt.load(
        engine_of(build(store, tmp_path / "out", Job(DEMO, Recipe(), "fp32", batch=(1, 2, 4))))
    )
    assert len(infer(np.concatenate([image] * 3))["detection_scores"]) == 3
    with pytest.raises(ForgeError, match="takes 1x3x640x640 to 4x3x640x640, not 5x3x640x640"):
        infer(np.concatenate([image] * 5))
