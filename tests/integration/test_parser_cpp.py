"""The generated C++ parser: compiled, run on the models' own tensors, and compared with NumPy."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest

from tests.models import (
    anchor_free,
    anchor_free_parts,
    objectness,
    photographs,
    run,
    sketch,
    yolov7_like,
    yolov8_like,
)
from trtforge.calibration.images import prepare
from trtforge.deepstream.parser import source as parser_cpp
from trtforge.deepstream.parser.source import (
    FUNCTION,
    LIBRARY,
    MAKEFILE,
    SOURCE,
    keys,
    source,
    write,
)
from trtforge.deepstream.preview.objects import raw_heads
from trtforge.errors import ForgeError
from trtforge.graph.detection import Detection, recognise
from trtforge.graph.model import model_of, save
from trtforge.graph.nms import NmsOptions, apply
from trtforge.recipe import Nms, Preprocess

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent / "include"
SIDE, CLASSES = 64, 3
TYPES = {"float32": 0, "float16": 1, "int32": 3}

compiler = pytest.mark.skipif(
    not (shutil.which("g++") and shutil.which("make")), reason="needs g++ and make"
)


class Tensor(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("values", ctypes.c_void_p),
        ("bytes", ctypes.c_size_t),
        ("type", ctypes.c_int),
        ("rank", ctypes.c_int),
        ("dims", ctypes.c_uint * 8),
        ("elements", ctypes.c_uint),
    ]


class Object(ctypes.Structure):
    _fields_ = [
        ("label", ctypes.c_uint),
        *((name, ctypes.c_float) for name in ("left", "top", "width", "height", "score", "angle")),
    ]


Call = Callable[..., np.ndarray | None]


def compiled(folder: Path, detection: Detection, flags: str = "") -> Call:
    """The parser of a detection, built by its own Makefile, and a function that calls it."""
    (folder / SOURCE).write_text(source(detection, keys(detection, Nms(), None)), encoding="ascii")
    (folder / MAKEFILE).write_text(parser_cpp.makefile(), encoding="ascii")
    strict = f"-O1 -Wall -Wextra -Werror -D_GLIBCXX_ASSERTIONS -fsanitize=undefined -fno-sanitize-recover {flags}"
    subprocess.run(
        ["make", "-s", "-C", folder, f"INCLUDES={HERE}", f"CXXFLAGS={strict}"], check=True
    )
    subprocess.run(
        [
            "g++",
            "-std=c++14",
            *strict.split(),
            "-shared",
            "-fPIC",
            f"-I{HERE}",
            HERE / "call.cpp",
            folder / LIBRARY,
            f"-Wl,-rpath,{folder}",
            "-o",
            folder / "call.so",
        ],
        check=True,
    )
    library = ctypes.CDLL(str(folder / "call.so"))
    library.call.restype = ctypes.c_long
    library.call.argtypes = [
        ctypes.POINTER(Tensor),
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.c_uint,
        ctypes.c_uint,
        ctypes.POINTER(ctypes.c_float),
        ctypes.c_int,
        ctypes.POINTER(Object),
        ctypes.c_long,
    ]

    def call(
        outputs: dict[str, np.ndarray],
        thresholds: list[float],
        size: tuple[int, int] = (SIDE, SIDE),
        classes: int | None = None,
        **changes: Any,
    ) -> np.ndarray | None:
        held = {name: np.ascontiguousarray(each) for name, each in outputs.items()}
        tensors = (Tensor * len(held))()
        for slot, (name, each) in zip(tensors, held.items(), strict=True):
            slot.name, slot.values, slot.bytes = name.encode(), each.ctypes.data, each.nbytes
            slot.type, slot.rank, slot.elements = TYPES[each.dtype.name], each.ndim, each.size
            slot.dims[: each.ndim] = each.shape
            for field, value in changes.items():
                setattr(slot, field, value)
        limits = (ctypes.c_float * max(1, len(thresholds)))(*thresholds)
        found = (Object * 100_000)()
        count = library.call(
            tensors,
            len(held),
            size[1],
            size[0],
            len(thresholds) if classes is None else classes,
            limits,
            len(thresholds),
            found,
            len(found),
        )
        return (
            None
            if count < 0
            else np.array(
                [[getattr(each, field[0]) for field in Object._fields_] for each in found[:count]],
                np.float32,
            ).reshape(-1, 7)
        )

    return call


def pair_of_outputs() -> onnx.ModelProto:
    s = sketch()
    boxes, logits = anchor_free_parts(s, corners=True)
    rows = [
        s.op("Transpose", tensor, perm=[0, 2, 1]) for tensor in (boxes, s.op("Sigmoid", logits))
    ]
    return s.model(*rows)


MODELS = {
    "objectness": yolov7_like,
    "anchor-free": yolov8_like,
    "boxes-scores": pair_of_outputs,
    "plain objectness": objectness,
    "plain anchor-free": anchor_free,
}


@pytest.fixture(scope="module", params=MODELS)
def built(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Any, Detection, Call]:
    graph = gs.import_onnx(MODELS[request.param]())
    detection = recognise(graph)
    assert detection is not None
    assert detection.form in request.param
    return graph, detection, compiled(tmp_path_factory.mktemp("parser"), detection)


def first(outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: each[0] for name, each in outputs.items()}


@compiler
@pytest.mark.parametrize("thresholds", [[0.25] * 3, [0.0] * 3, [0.1, 0.9, 0.4], [2.0] * 3, [0.1]])
def test_objects_of_a_models_own_tensors(
    built: tuple[Any, Detection, Call], thresholds: list[float]
) -> None:
    graph, detection, call = built
    outputs = first(run(graph, {"image": photographs(1)}))
    want = raw_heads(outputs, detection, (SIDE, SIDE), np.array(thresholds, np.float32))
    found = call(outputs, thresholds)
    assert found is not None
    assert len(found) == len(want.scores)
    assert len(found) > 0 or max(thresholds) > 1
    np.testing.assert_array_equal(found[:, 0], want.classes)
    np.testing.assert_allclose(found[:, 1:5], want.boxes, atol=1e-5)
    np.testing.assert_allclose(found[:, 5], want.scores, rtol=1e-6)
    assert not found[:, 6].any()  # rotation_angle
    inside = found[:, 1:3] + found[:, 3:5]
    assert (found[:, 1:3] >= 0).all()
    assert (inside <= SIDE + 1e-4).all()


@compiler
def test_a_trained_detector_on_photographs(tmp_path: Path) -> None:
    graph = gs.import_onnx(onnx.load(ROOT / "recipes" / "demo" / "demo.onnx"))
    detection = recognise(graph)
    assert detection
    call = compiled(tmp_path, detection)
    for file in sorted((ROOT / "recipes" / "demo" / "validation").glob("*.jpg"))[:3]:
        outputs = first(run(graph, {"images": prepare(file, Preprocess(), (640, 640))}))
        want = raw_heads(outputs, detection, (640, 640), np.full(10, 0.25, np.float32))
        found = call(outputs, [0.25] * 10, (640, 640))
        assert found is not None
        assert len(found) == len(want.scores) > 10
        np.testing.assert_array_equal(found[:, 0], want.classes)
        np.testing.assert_allclose(found[:, 1:5], want.boxes, atol=1e-3)
        np.testing.assert_array_equal(found[:, 5], want.scores)


@compiler
def test_fewer_classes_are_configured_than_the_model_has(
    built: tuple[Any, Detection, Call],
) -> None:
    graph, _, call = built
    outputs = first(run(graph, {"image": photographs(1)}))
    found = call(outputs, [0.0] * 3, classes=2)
    assert found is not None
    assert set(found[:, 0]) == {0, 1}
    nothing = call(outputs, [])
    assert nothing is not None
    assert len(nothing) == 0
    more = call(outputs, [0.0] * 9)
    assert more is not None
    assert set(more[:, 0]) == {0, 1, 2}


@compiler
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["boxes", "one side", "scores"])
def test_numbers_that_are_none_give_no_objects(
    built: tuple[Any, Detection, Call], where: str, value: float
) -> None:
    graph, detection, call = built
    outputs = {
        name: each.copy() for name, each in first(run(graph, {"image": photographs(1)})).items()
    }
    spoilt = outputs[detection.outputs[-1 if where == "scores" else 0]]
    channels = spoilt if detection.axes[0] == 1 else spoilt.T
    if where == "scores":
        channels[0 if len(outputs) > 1 else 4 :] = value
    else:
        channels[3 if where == "one side" else 0 : 4] = value
    thresholds = [0.1] * 3
    found = call(outputs, thresholds)
    assert found is not None
    want = raw_heads(outputs, detection, (SIDE, SIDE), np.array(thresholds, np.float32))
    assert len(found) == len(want.scores)
    assert len(found) == 0 or (where == "scores" and np.isinf(value))


@compiler
@pytest.mark.parametrize(
    "change",
    [
        {"values": None},
        {"rank": 1},
        {"rank": 3},
        {"type": 1},
        {"type": 3},
        {"name": b"other"},
        {"elements": 8},
    ],
)
def test_tensors_of_another_kind_are_refused(
    built: tuple[Any, Detection, Call], change: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    graph, _, call = built
    assert call(first(run(graph, {"image": photographs(1)})), [0.1] * 3, **change) is None
    assert FUNCTION in capfd.readouterr().err


@compiler
def test_tensors_of_another_shape_are_refused(built: tuple[Any, Detection, Call]) -> None:
    graph, detection, call = built
    outputs = first(run(graph, {"image": photographs(1)}))
    last = detection.outputs[-1]
    assert call({**outputs, last: outputs[last].T}, [0.1] * 3) is None
    channels = detection.axes[0] - 1
    assert call({**outputs, last: np.delete(outputs[last], 0, axis=channels)}, [0.1] * 3) is None
    if len(outputs) > 1:
        assert call({**outputs, last: outputs[last][:-1]}, [0.1] * 3) is None
    assert call({}, [0.1] * 3) is None


@compiler
def test_other_numbers_of_boxes_are_read(built: tuple[Any, Detection, Call]) -> None:
    """A model of dynamic height and width: whatever the tensor's dimensions say, and not a value
    beyond.
    """
    graph, detection, call = built
    outputs = first(run(graph, {"image": photographs(1)}))
    fewer = {
        name: np.delete(each, np.s_[5:], axis=2 - detection.axes[0])
        for name, each in outputs.items()
    }
    want = raw_heads(fewer, detection, (SIDE, SIDE), np.zeros(3, np.float32))
    found = call(fewer, [0.0] * 3)
    assert found is not None
    np.testing.assert_allclose(found[:, 5], want.scores, rtol=1e-6)


@compiler
def test_objects_of_deepstream_before_9(tmp_path: Path) -> None:
    graph = gs.import_onnx(anchor_free())
    detection = recognise(graph)
    assert detection
    call = compiled(tmp_path, detection, "-DWITHOUT_ROTATION")
    outputs = first(run(graph, {"image": photographs(1)}))
    found, want = (
        call(outputs, [0.2] * 3),
        raw_heads(outputs, detection, (SIDE, SIDE), np.full(3, 0.2, np.float32)),
    )
    assert found is not None
    np.testing.assert_allclose(found[:, 1:5], want.boxes, atol=1e-5)


@compiler
def test_hostile_names_of_tensors(tmp_path: Path) -> None:
    name = 'a"; #error ??/\n\\*/ // é{{ 1 }}'
    graph = gs.import_onnx(anchor_free())
    detection = recognise(graph)
    assert detection
    outputs = first(run(graph, {"image": photographs(1)}))
    renamed = {name: outputs[detection.outputs[0]]}
    call = compiled(tmp_path, replace(detection, outputs=(name,)))
    found = call(renamed, [0.2] * 3)
    assert found is not None
    assert len(found)


def test_the_keys_name_what_is_written() -> None:
    detection = recognise(gs.import_onnx(objectness()))
    assert detection
    wanted = keys(detection, Nms(score=0.3, iou=0.6, max_det=50), "labels.txt")
    properties = wanted["property"]
    assert properties["num-detected-classes"] == "3"
    assert wanted["class-attrs-all"] == {
        "pre-cluster-threshold": "0.3",
        "nms-iou-threshold": "0.6",
        "topk": "50",
    }
    text = source(detection, wanted)
    for group in wanted.values():
        for key, value in group.items():
            assert f"//     {key}={value}\n" in text
    assert f'extern "C" bool {properties["parse-bbox-func-name"]}(' in text
    assert properties["custom-lib-path"] in parser_cpp.makefile()


def test_an_onnx_file_becomes_a_folder(tmp_path: Path) -> None:
    graph = gs.import_onnx(yolov8_like())
    graph.outputs[0].shape = ["batch", 4 + CLASSES, 84]
    save(model_of(graph), tmp_path / "m.onnx")
    facts = write(tmp_path / "m.onnx", tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {SOURCE, MAKEFILE}
    assert facts["source"] == str(tmp_path / "out" / SOURCE)
    assert write(tmp_path / "m.onnx", tmp_path / "out") == facts


@pytest.mark.parametrize("wrong", ["NMS inside", "no detector", "a file"])
def test_models_that_give_no_parser(tmp_path: Path, wrong: str) -> None:
    graph = gs.import_onnx(yolov8_like())
    graph.outputs[0].shape = ["batch", 4 + CLASSES, 84]
    if wrong == "NMS inside":
        apply(graph, "deepstream", NmsOptions())
    elif wrong == "no detector":
        graph = gs.import_onnx(sketch_without_decode())
    else:
        (tmp_path / "out").write_text("")
    save(model_of(graph), tmp_path / "m.onnx")
    words = {
        "NMS inside": "NMS is inside",
        "no detector": "no decoded boxes",
        "a file": "is a file",
    }[wrong]
    with pytest.raises(ForgeError, match=words):
        write(tmp_path / "m.onnx", tmp_path / "out")
    assert not (tmp_path / "out").is_dir()


def sketch_without_decode() -> onnx.ModelProto:
    s = sketch()
    return s.model(s.op("Sigmoid", "image"))
