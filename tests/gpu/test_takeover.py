"""On the target: Polygraphy inspects and runs the engine of a bundle, on the inputs of `verify`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import trtforge
from trtforge.devices import this_machine

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


def polygraphy(*words: str | Path) -> str:
    program = "from polygraphy.tools import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_polygraphy_takes_over(tmp_path: Path) -> None:
    out, images = tmp_path / "out", tmp_path / "images"
    images.mkdir()
    for file in sorted(PHOTOS.iterdir())[:2]:
        shutil.copy(file, images)
    builder = trtforge.Builder(opt_level=0)
    trtforge.build(DEMO, precision="fp16", backend="tensorrt", nms="none", builder=builder, out=out)
    (engine,) = out.glob("*.engine")
    inputs, outputs = tmp_path / "inputs.json", tmp_path / "outputs.json"
    trtforge.verify(engine, images, save_inputs=inputs, save_outputs=outputs)
    said = polygraphy("inspect", "model", engine, "--model-type", "engine")
    assert "output0" in said
    said = polygraphy(
        *("run", engine, "--trt", "--model-type", "engine"),
        *("--load-inputs", inputs, "--load-outputs", outputs, "--atol", "1e-3", "--rtol", "1e-3"),
    )
    assert "Passed: 2/2 iterations" in said
    said = polygraphy("inspect", "model", out / "demo.onnx")
    assert "output0" in said
