"""On the target: engines by TensorRT itself, in every precision, compared with ONNX Runtime."""

from __future__ import annotations

import itertools
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from tests.families import FAMILIES
from tests.gpu.engines import (
    NEEDS_TENSORRT,
    ROOT,
    build,
    draw_photos,
    engine_of,
    least_pearson,
    manifest,
    saved,
)
from tests.models import SIDE, classifier, photographs, yolov7_like, yolov8_like
from trtforge.backends._bindings import has
from trtforge.calibration.cache import version_number
from trtforge.devices import this_machine
from trtforge.errors import ForgeError, MachineError
from trtforge.pipeline.job import Job
from trtforge.recipe import Decode, Nms, Precision, Recipe

pytestmark = NEEDS_TENSORRT
DEMO = ROOT / "recipes" / "demo" / "demo.onnx"
PHOTOS = ROOT / "calibration" / "demo"
NETWORKS = {"yolov7": yolov7_like, "yolov8": yolov8_like, "classifier": classifier}
# Smallest correlation with FP32, and the words of the job. Raw outputs in ONNX Runtime have 0.999
# and more in each of these.
PRECISIONS = {
    "fp32": (0.9999, {}),
    "fp16": (0.999, {}),
    "int8": (0.98, {}),
    "int8, rest fp32": (0.98, {}),
    "int8 implicit": (0.97, {"implicit": True}),
    "int8 implicit, rest fp32": (0.97, {"implicit": True}),
    "int8 implicit, TensorRT's minmax": (0.95, {"implicit": True, "calibrator": "minmax"}),
    # TensorRT's own entropy calibration narrows ranges too far; it is built, and the figures tell.
    "int8 implicit, TensorRT's entropy": (0.5, {"implicit": True, "calibrator": "entropy"}),
}
FORMS = {
    "plugin": {"nms_impl": "plugin"},
    "onnx": {"nms_impl": "onnx"},
    "efficientnms": {"nms": "efficientnms"},
}
HEADS = (
    "yolov3",
    "yolov5 raw",
    "yolov8 raw",
    "picodet raw",
    "yolox raw",
    "pp-yoloe",
    "ssd",
    "retinaface",
    "efficientdet",
    "yolov8-seg",
    "yolov8-obb",
    "yolo26",
    "yolov10",
    "rtdetr",
    "detr",
)


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    return draw_photos(tmp_path_factory.mktemp("photos") / "photos")


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    folder = tmp_path_factory.mktemp("networks")
    return lambda name: saved(NETWORKS[name](), folder, name)


def job(model: Path, precision: str, photos: Path, **words) -> Job:
    kind = precision.split(maxsplit=1)[0].strip(",")
    rest = Precision(rest="fp32") if "rest fp32" in precision else Precision()
    recipe = Recipe(precision=rest, nms=Nms(score=0.05))
    return Job(model, recipe, kind, photos if kind in ("int8", "fp8") else None, **words)


@pytest.mark.parametrize(
    ("precision", "name"),
    [
        *itertools.product(PRECISIONS, ("yolov8", "classifier")),
        *itertools.product(("fp16", "int8", "int8 implicit"), ("yolov7",)),
    ],
)
def test_engine_computes_what_the_graph_says(store, tmp_path, photos, network, precision, name):
    """Raw boxes and scores, which hide nothing."""
    import tensorrt as trt

    least, how = PRECISIONS[precision]
    if how and not has(trt, "BuilderFlag.INT8"):
        pytest.skip(f"needs TensorRT 10; {trt.__version__} has no implicit INT8")
    work = job(network(name), precision, photos, nms="none", **how)
    out = build(store, tmp_path / "out", work, calibrator=how.get("calibrator", "own"))
    assert least_pearson(out) >= least
    int8 = precision.startswith("int8")
    assert (out / "calibration.cache").is_file() == int8
    if int8:  # for the TensorRT that has built the engine, not for the newest DeepStream
        head = (out / "calibration.cache").read_text().splitlines()[0]
        assert head.startswith(f"TRT-{version_number(trt.__version__)}-")


@pytest.mark.parametrize(
    ("precision", "form", "name"),
    [
        *itertools.product(("fp16", "int8", "int8 implicit"), FORMS, ("yolov7",)),
        *itertools.product(("fp32", "int8"), ("plugin", "onnx"), ("yolov8",)),
    ],
)
def test_nms_in_every_form(store, tmp_path, photos, network, precision, form, name):
    import tensorrt as trt

    if "implicit" in precision and not has(trt, "BuilderFlag.INT8"):
        pytest.skip(f"needs TensorRT 10; {trt.__version__} has no implicit INT8")
    words = {"implicit": "implicit" in precision, **FORMS[form]}
    out = build(store, tmp_path / "out", job(network(name), precision, photos, **words))
    check = manifest(out)["check"]
    assert check["either"] > 20
    assert check["both"] >= (0.99 if "int8" not in precision else 0.85) * check["either"]
    assert least_pearson(out) >= 0.9


def test_fp8_is_right_or_refused_with_the_reason(store, tmp_path, photos, network):
    work = job(network("yolov8"), "fp8", photos, nms="none")
    try:
        out = build(store, tmp_path / "out", work)
    except ForgeError as refused:
        assert "FP8" in refused.problem.upper()
        return
    assert least_pearson(out) >= 0.95


@pytest.mark.parametrize("name", HEADS)
def test_heads_of_every_kind(store, tmp_path, name):
    family = FAMILIES[name]
    figures = {} if family.figures is None else {"head": family.form}
    recipe = Recipe(
        nms=Nms(score=0.3, iou=0.4, max_det=60),
        decode=Decode.model_validate(family.figures or {}),
        **figures,
    )
    model = saved(family.build("batch"), tmp_path)
    out = build(store, tmp_path / "out", Job(model, recipe, "fp16"))
    assert least_pearson(out) >= 0.99
    assert manifest(out)["check"]["either"] > 10


def test_demo_detector_keeps_its_accuracy(store, tmp_path):
    """INT8 with DeepStream's NMS inside, on photographs with labels."""
    from trtforge.stages.verify import verify

    out = build(store, tmp_path / "out", Job(DEMO, Recipe(), "int8", PHOTOS))
    assert least_pearson(out) >= 0.95
    validation = ROOT / "recipes" / "demo" / "validation"
    found = verify(
        [DEMO, out],
        validation,
        labels=validation / "labels.json",
        recipe=None,
        nms=None,
        per_layer=False,
    )
    assert found.drops[0] <= 1.0
    assert not found.broken


def test_manifest_says_what_made_the_engine(store, tmp_path, photos, network):
    import tensorrt as trt

    out = build(store, tmp_path / "out", job(network("classifier"), "fp32", photos))
    facts = manifest(out)["engine"]["built"]
    assert facts["version"] == trt.__version__
    assert facts["sm"] == this_machine().sm
    assert facts["gpu"] and facts["cuda"]


def test_foreign_engines_are_refused_in_a_line(store, tmp_path, photos, network):
    from trtforge.backends import tensorrt

    engine = engine_of(build(store, tmp_path / "out", job(network("classifier"), "fp32", photos)))
    content = engine.read_bytes()

    def other(name: str, changed: bytes) -> Path:
        (tmp_path / name).write_bytes(changed)
        return tmp_path / name

    with pytest.raises(ForgeError, match="cut short"):
        tensorrt.load(other("head.engine", content[:40]))
    with pytest.raises(MachineError, match=r"built with TensorRT 9\.9\.9\.9; this is SM"):
        tensorrt.load(other("old.engine", content[:24] + bytes([9] * 4) + content[28:]))
    with pytest.raises(ForgeError, match="neither ONNX nor an engine"):
        tensorrt.load(other("noise.engine", bytes(range(256)) * 16))
    text = b'{"names": {"0": "cat"}}'  # as Ultralytics writes it
    headed = other("headed.engine", struct.pack("<i", len(text)) + text + content)
    image = photographs(1)
    for name, values in tensorrt.load(engine).infer(image).items():
        np.testing.assert_array_equal(tensorrt.load(headed).infer(image)[name], values)
    shutil.copy(engine, tmp_path / "again.engine")
    assert tensorrt.load(tmp_path / "again.engine").size == (SIDE, SIDE)


def test_a_wrong_engine_is_delivered_with_a_word(store, tmp_path, photos, network):
    """The check is asked about an engine of other weights than the reference's."""
    from trtforge.stages import engine_check
    from trtforge.store import source

    right = build(store, tmp_path / "right", job(network("yolov8"), "fp16", photos, nms="none"))
    other = saved(yolov8_like(seed=9), tmp_path, "other")
    wrong = build(store, tmp_path / "wrong", job(other, "fp16", photos, nms="none"))
    inputs = engine_check.CheckInputs(
        source(engine_of(wrong)), source(next(right.glob("*.onnx"))), None
    )
    options = engine_check.CheckOptions(Recipe(), "fp16", "FP32", "this one")
    word = engine_check.remark(engine_check.run(tmp_path, inputs, options))
    assert word.startswith("warning: this FP16 engine is wrong")
