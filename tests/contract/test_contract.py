"""The TensorRT backend against the real bindings of four versions: names, arguments, overrides,
calibrators.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.contract import bindings, source
from tests.extras import missing
from trtforge.calibration.cache import version_number

BACKENDS = Path(__file__).parents[2] / "trtforge" / "backends"
SHARED = sorted(path.name for path in BACKENDS.glob("_*.py") if path.name != "__init__.py")
TENSORRT = source.texts(BACKENDS, [*SHARED, "tensorrt.py"])
RTX = source.texts(BACKENDS, [*SHARED, "tensorrt_rtx.py"])
VERSIONS = tuple(bindings.WHEELS)
# Text of the backend -> what a slip of the pen would make of it.
SLIPS = {
    "flag": ("trt.BuilderFlag.SPARSE_WEIGHTS)\n", "trt.BuilderFlag.SPARSE_WEIGHT)\n"),
    "class": ("trt.OnnxParser(network, log)", "trt.OnnxParsr(network, log)"),
    "method": ("builder.create_builder_config()", "builder.create_builder_configuration()"),
    "property": ("config.max_aux_streams = ", "config.max_auxiliary_streams = "),
    "property that can't be set": ("cores = builder.num_DLA_cores", "builder.num_DLA_cores = 1; cores = 1"),
    "method of what a method returns": ("inspector.get_engine_information", "inspector.get_engine_info"),
    "one argument too many": ("parser.parse_from_file(str(model))", "parser.parse_from_file(str(model), 1)"),
    "one argument too few": ("config.set_timing_cache(cache, False)", "config.set_timing_cache(cache)"),
    "constructor": ("trt.Builder(log)", "trt.Builder(log, 1)"),
    "keyword": ("context.execute_async_v3(", "context.execute_async_v3(stream="),
    "override": ("def step_complete(self, phase_name: str, step: int)", "def step_completed(self, phase: str, n: int)"),
    "override's arguments": ("def read_calibration_cache(self)", "def read_calibration_cache(self, size: int)"),
    "object of lost type": ("config: tensorrt.IBuilderConfig, options: BuildOptions) -> None:",
                            "config: Any, options: BuildOptions) -> None:"),
}  # fmt: skip


@pytest.fixture(scope="module", params=VERSIONS)
def version(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def apis() -> dict[str, dict]:
    return {version: bindings.api(version) for version in VERSIONS}


def test_versions_are_the_ones_meant(apis):
    assert [api["version"] for api in apis.values()] == [
        "10.3.0",
        "10.6.0.post1",
        "10.16.1.11",
        "11.4.0.106",
    ]


def test_backend_uses_only_what_the_version_has(apis, version):
    assert source.check(source.Sources.read(TENSORRT), apis[version]["names"]) == []


def test_the_version_that_the_bindings_state_is_one_of_tensorrt(apis):
    """The header of a calibration cache is made of it; 10.6.0.post1 is the one to note."""
    numbers = [version_number(api["version"]) for api in apis.values()]
    assert numbers == [100300, 100600, 101601, 110400]


@pytest.mark.skipif(missing("rtx"), reason="needs the extra [rtx]")
def test_rtx_backend_uses_only_what_rtx_has():
    assert source.check(source.Sources.read(RTX), bindings.api("rtx")["names"]) == []


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_is_found(apis, slip):
    before, after = SLIPS[slip]
    assert any(before in text for text in TENSORRT.values())
    broken = source.Sources.read(
        {name: text.replace(before, after) for name, text in TENSORRT.items()}
    )
    faults = [fault for api in apis.values() for fault in source.check(broken, api["names"])]
    assert faults


def test_every_name_that_is_probed_exists_in_some_version(apis):
    sources = source.Sources.read(TENSORRT)
    asked = {name for names in sources.needs.values() for name in names}
    assert len(asked) > 15
    assert [
        name for name in asked if not any(source.has(api["names"], name) for api in apis.values())
    ] == []


def test_a_use_that_no_probe_guards_is_found_where_it_is_gone(apis):
    text = "def apply(trt: Any, config: tensorrt.IBuilderConfig) -> None:\n    config.set_flag(trt.BuilderFlag.FP16)\n"
    guarded = text.replace("    config.", '    need(trt, "--x", "BuilderFlag.FP16")\n    config.')
    old, new = (apis[version]["names"] for version in ("10.16", "11.4"))
    assert source.check(source.Sources.read({"a.py": text}), old) == []
    assert source.check(source.Sources.read({"a.py": text}), new) == [
        "a.py:2: BuilderFlag has no FP16"
    ]
    assert source.check(source.Sources.read({"a.py": guarded}), new) == []


def test_calibrator_works_as_tensorrt_drives_it(version):
    found = json.loads(bindings.run(version, str(bindings.HERE / "drive.py")))
    if version.startswith("11"):
        assert found["refused"].startswith("TensorRT 11.4.0.106 has no implicit INT8")
        return
    for algorithm, kind in (("entropy", "ENTROPY_CALIBRATION_2"), ("minmax", "MINMAX_CALIBRATION")):
        made = found[algorithm]
        assert made["type"] == [algorithm == "entropy", algorithm == "minmax"]
        assert made["algorithm"] == kind
        assert made["batch_size"] == 2
        assert made["given"] == [[4096], [8192], None]
        assert made["seen"] == [96.0, 192.0]  # 2 x 3 x 4 x 4 values of 1, and of 2
        assert made["written"] == "TRT-"
        assert made["read"] == [None, "cache"]
        assert made["failure"] == [None, "no memory"]


def test_pools_and_tactics_are_known(version):
    names = json.loads(bindings.run(version, str(bindings.HERE / "drive.py")))["names"]
    gone = {name for name, here in names.items() if not here}
    assert gone == (
        {"TacticSource.CUBLAS", "TacticSource.CUBLAS_LT", "TacticSource.CUDNN"}
        if version.startswith("11")
        else set()
    )
