"""On the target: `trtforge reduce` with TensorRT itself, and Polygraphy on what it writes."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
from polygraphy.comparator import RunResults

import trtforge
from tests.faults import detector, overflowing, too_many
from trtforge.devices import this_machine
from trtforge.errors import ForgeError

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.tensorrt,
    pytest.mark.skipif(this_machine() is None, reason="needs an NVIDIA GPU"),
    pytest.mark.skipif(
        find_spec("tensorrt") is None, reason="needs TensorRT 10 or 11 with its libraries"
    ),
]


def test_what_the_builder_refuses_comes_down_to_one_node(tmp_path: Path) -> None:
    onnx.save(too_many(), tmp_path / "model.onnx")
    result = trtforge.reduce(tmp_path / "model.onnx", tmp_path / "part.onnx", backend="tensorrt")
    assert result.fault == "refused"
    assert [node["operator"] for node in result.nodes] == ["TopK"]


def test_what_leaves_fp32_comes_down_to_one_node(tmp_path: Path) -> None:
    model, part = tmp_path / "model.onnx", tmp_path / "part.onnx"
    onnx.save(overflowing(), model)
    result = trtforge.reduce(model, part, differs=True, backend="tensorrt", size="64x64")
    assert result.fault == "not finite"
    assert [node["name"] for node in result.nodes] == ["halve"]
    words = (
        *("run", part, "--trt", "--strongly-typed", "--builder-optimization-level", "0"),
        *("--load-inputs", result.inputs, "--save-outputs", tmp_path / "o.json"),
    )
    program = "from polygraphy.tools import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    ((outputs,),) = RunResults.load(str(tmp_path / "o.json")).values()
    assert np.isinf(outputs["half"]).any()


def test_an_engine_as_good_as_fp32_is_no_fault(tmp_path: Path) -> None:
    onnx.save(detector(), tmp_path / "model.onnx")
    with pytest.raises(ForgeError, match="does not fail"):
        trtforge.reduce(
            *(tmp_path / "model.onnx", tmp_path / "part.onnx"),
            differs=True,
            backend="tensorrt",
            size="64x64",
        )
