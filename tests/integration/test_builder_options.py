"""Options of the builder, with the builder that needs no GPU; and implicit INT8 up to the folder."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import DEMO
from onnx import TensorProto, helper, numpy_helper

from trtforge.backends import _trt, tensorrt_rtx
from trtforge.backends.options import PLAIN, BuildOptions
from trtforge.errors import BuildError, ForgeError, MachineError
from trtforge.store import File


@pytest.fixture(scope="module")
def two_inputs(tmp_path_factory) -> Path:
    """conv(images) * mask, both of dynamic batch."""
    weights = np.random.default_rng(0).standard_normal((16, 3, 3, 3)).astype(np.float32)
    shape, behind = ["N", 3, 32, 32], ["N", 16, 32, 32]
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["images", "w"], ["c"], pads=[1, 1, 1, 1]),
            helper.make_node("Mul", ["c", "mask"], ["y"]),
        ],
        "two",
        [
            helper.make_tensor_value_info("images", TensorProto.FLOAT, shape),
            helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["N", 1, 32, 32]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, behind)],
        [numpy_helper.from_array(weights, "w")],
    )
    path = tmp_path_factory.mktemp("two") / "two.onnx"
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path
    )
    return path


def engine(model: Path, options: BuildOptions = PLAIN) -> bytes:
    return tensorrt_rtx.build(
        model, sm=89, batch=(1, 2, 4), size=(32, 32), options=options, progress=lambda done: None
    )[0]


def shapes(*batches: int) -> dict:
    return {
        "images": tuple((count, 3, 32, 32) for count in batches),
        "mask": tuple((count, 1, 32, 32) for count in batches),
    }


def test_several_inputs_and_several_profiles(two_inputs):
    usual = engine(two_inputs)
    two = engine(two_inputs, BuildOptions(profiles=(shapes(1, 1, 2), shapes(4, 8, 16))))
    assert usual[:4] == two[:4] == b"vtrt"
    assert len(two) > len(usual)


@pytest.mark.parametrize(
    ("profile", "why"),
    [
        ({"image": ((1,), (1,), (1,))}, "no input 'image'"),
        ({"images": ((1, 3, 64, 64),) * 3}, r"'images' is \?x3x32x32 in the graph, not 1x3x64x64"),
    ],
)
def test_profile_that_contradicts_the_graph(two_inputs, profile, why):
    with pytest.raises(ForgeError, match=why):
        engine(two_inputs, BuildOptions(profiles=(profile,)))


def test_what_rtx_has_reaches_its_engines():
    def built(options: BuildOptions) -> bytes:
        return tensorrt_rtx.build(
            DEMO,
            sm=89,
            batch=(1, 1, 1),
            size=(640, 640),
            options=options,
            progress=lambda done: None,
        )[0]

    assert built(BuildOptions(tf32=False)) != built(PLAIN)
    with pytest.raises(BuildError) as refused:
        built(BuildOptions(pools=(("tactic-shared-memory", 2**14),)))
    assert "tactic-shared-memory" in refused.value.hint


@pytest.mark.parametrize(
    ("name", "value", "option"),
    [
        ("opt_level", 3, "--opt-level"),
        ("tactic_sources", (), "--tactic-sources"),
        ("sparsity", True, "--sparsity"),
        ("timing_cache", "t", "--timing-cache"),
        ("hardware_compatible", True, "--hardware-compatible"),
        ("version_compatible", True, "--version-compatible"),
        ("dla_core", 0, "--dla"),
    ],
)
def test_what_rtx_has_not_is_refused_with_its_version(name, value, option):
    with pytest.raises(MachineError, match=rf"^{option}: TensorRT-RTX 1\.") as refused:
        tensorrt_rtx.check(replace(PLAIN, **{name: value}))
    assert refused.value.code == 3


def test_tactics_and_pools_that_a_version_lacks_are_refused_by_name():
    """The shared code, past what the RTX backend refuses anyway."""
    trt = tensorrt_rtx.module()
    with pytest.raises(
        MachineError,
        match=r"TensorRT-RTX .* has no TacticSource\.CUDNN, which --tactic-sources cudnn",
    ):
        _trt.check(trt, BuildOptions(tactic_sources=("cudnn",)), configure=lambda config: None)
    with pytest.raises(MachineError, match="finds no DLA cores"):
        _trt.check(trt, BuildOptions(dla_core=0), configure=lambda config: None)
    with pytest.raises(BuildError, match=r"(?i)dla"):
        _trt.check(trt, BuildOptions(pools=(("dla-sram", 2**20),)), configure=lambda config: None)


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (
            ["--int8", "--int8-mode", "implicit", "--calib", "PHOTOS", "--device", "l4"],
            3,
            "has no implicit INT8",
        ),
        (
            ["--int8", "--int8-mode", "implicit", "--calib", "PHOTOS", "--backend", "onnxruntime"],
            2,
            "from the graph alone",
        ),
        (
            ["--fp16", "--device", "xavier-nx", "--backend", "onnxruntime"],
            2,
            "from the graph alone",
        ),
        (["--int8", "--calib", "PHOTOS", "--device", "xavier-nx"], 3, "ends at TensorRT 8.5.2"),
        (["--opt-level", "3", "--device", "l4"], 3, "ignores the optimisation level"),
        (
            ["--refit", "--backend", "onnxruntime"],
            2,
            "onnxruntime has no builder that takes --refit",
        ),
        (["--calibrator", "entropy", "--device", "l4"], 2, "--int8-mode implicit"),
        (["--profile", "x", "--device", "l4"], 2, "not NAME=MIN:OPT:MAX"),
    ],
)
def test_refused_before_any_work(trtforge, photos, tmp_path, words, code, text):
    words = [photos if word == "PHOTOS" else word for word in words]
    run = trtforge("build", DEMO, *words, "-o", tmp_path / "out")
    assert (run.code, run.out) == (code, "")
    assert text in run.err
    assert len(run.err.strip().splitlines()) <= 2


def test_device_that_ends_at_tensorrt_8_gets_what_its_deepstream_builds_from(
    trtforge, photos, tmp_path
):
    out = tmp_path / "out"
    run = trtforge("prepare", DEMO, "--int8", "--calib", photos, "--device", "xavier-nx", "-o", out)
    assert run.code == 0, run.err
    assert {path.name for path in out.glob("*.onnx")} == {"demo.fp32.onnx"}
    model = onnx.load(out / "demo.fp32.onnx")
    operators = {node.op_type for node in model.graph.node}
    assert "EfficientNMS_TRT" in operators
    assert not operators & {"QuantizeLinear", "DequantizeLinear"}
    assert model.opset_import[0].version <= 17
    keys = dict(
        line.split("=", 1)
        for line in (out / "pgie_config.txt").read_text().splitlines()
        if "=" in line
    )
    assert (keys["network-mode"], keys["int8-calib-file"]) == ("3", "calibration.cache")
    assert keys["onnx-file"] == "demo.fp32.onnx"
    assert keys["model-engine-file"] == "demo.fp32.onnx_b1_gpu0_best.engine"
    assert "strongly-typed" not in keys
    cache = (out / "calibration.cache").read_text().splitlines()
    assert cache[0] == "TRT-8502-EntropyCalibration2"
    named = {name for node in model.graph.node for name in node.output} | {"images"}
    assert {line.rpartition(": ")[0] for line in cache[1:]} <= named


@pytest.mark.parametrize(
    ("deepstream", "header"), [("7.1", "TRT-100300"), ("9", "TRT-101400"), ("9.1", "TRT-101600")]
)
def test_the_cache_is_for_the_tensorrt_of_the_deepstream(
    trtforge, photos, tmp_path, deepstream, header
):
    out = tmp_path / "prepared"
    run = trtforge(
        "prepare", DEMO, "--int8", "--int8-mode", "implicit", "--calib", photos,
        "--device", "l4", "--deepstream", deepstream, "-o", out,
    )  # fmt: skip
    assert run.code == 0, run.err
    assert (out / "calibration.cache").read_text().startswith(f"{header}-")


def engine_options(size):
    from trtforge.stages.build import EngineOptions

    return EngineOptions("tensorrt", 89, None, (1, 1, 1), size)


def test_prepared_for_implicit_int8_feeds_the_calibrator_on_the_target(trtforge, photos, tmp_path):
    """What the build stage gives TensorRT 10: our ranges, whole; a table of explicit taps is
    refused.
    """
    from trtforge.stages.build import EngineInputs, _calibration

    out, explicit = tmp_path / "out", tmp_path / "explicit"
    assert (
        trtforge(
            "prepare", DEMO, "--int8", "--int8-mode", "implicit", "--calib", photos, "-o", out
        ).code
        == 0
    )
    assert json.loads((out / "manifest.json").read_text())["graphs"] == ["tensorrt"]
    graph, options = File(out / "demo.fp32.onnx"), engine_options((640, 640))
    calibration = _calibration(EngineInputs(graph, File(out / "calibration.json")), options)
    assert calibration.cache("10.3.0").startswith("TRT-100300-EntropyCalibration2\nimages: ")
    assert trtforge("prepare", DEMO, "--int8", "--calib", photos, "-o", explicit).code == 0
    with pytest.raises(ForgeError, match=r"no range for \d+ activations"):
        _calibration(EngineInputs(graph, File(explicit / "calibration.json")), options)
    run = trtforge("build", out, "--device", "l4", "-o", tmp_path / "engine")
    assert (run.code, "has no implicit INT8" in run.err) == (3, True)


def test_images_stream_through_the_calibrator_in_whole_batches(photos):
    from trtforge.stages.build import EngineInputs, _calibration

    inputs = EngineInputs(File(DEMO), images=File(photos))
    calibration = _calibration(inputs, engine_options((64, 96)))
    assert [batch.shape for batch in calibration.batches(3)] == [(3, 3, 64, 96)] * 2  # of eight
    with pytest.raises(ForgeError, match="fewer readable images than the batch of 9"):
        list(calibration.batches(9))


def test_engine_cut_short_is_said_in_a_line(trtforge, two_inputs, photos, tmp_path):
    (tmp_path / "cut.rtx.engine").write_bytes(engine(two_inputs)[:-100])
    run = trtforge("verify", tmp_path / "cut.rtx.engine", "--images", photos)
    assert (run.code, run.out) == (2, "")
    assert "cut short" in run.err
    (tmp_path / "whole.rtx.engine").write_bytes(engine(two_inputs))
    assert trtforge("verify", tmp_path / "whole.rtx.engine", "--images", photos).code == 3


def test_engine_of_tensorrt_on_a_machine_without_gpu(trtforge, photos, tmp_path):
    header = b"ftrt" + bytes(20) + bytes([10, 3, 0, 26])
    (tmp_path / "m.onnx_b1_gpu0_fp32.engine").write_bytes(header.ljust(200, b"\0"))
    run = trtforge("verify", tmp_path / "m.onnx_b1_gpu0_fp32.engine", "--images", photos)
    # With a driver, TensorRT itself refuses the engine.
    if run.code == 3 and "no NVIDIA driver" in run.err:
        assert "built with TensorRT 10.3.0.26; no NVIDIA driver on this machine" in run.err
    assert run.code == 3
