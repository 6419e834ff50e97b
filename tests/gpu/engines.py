"""Engines of TensorRT for the tests: small networks at level 0, and commands as processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from tests.models import SIDE, photographs
from trtforge.backends.options import BuildOptions
from trtforge.devices import this_machine
from trtforge.graph.fold import fold
from trtforge.graph.model import save
from trtforge.pipeline.job import Job
from trtforge.store import Store

ROOT = Path(__file__).parents[2]
NEEDS_TENSORRT = [
    pytest.mark.gpu,
    pytest.mark.tensorrt,
    pytest.mark.skipif(this_machine() is None, reason="needs an NVIDIA GPU"),
    pytest.mark.skipif(
        find_spec("tensorrt") is None, reason="needs TensorRT 10 or 11 with its libraries"
    ),
]


def saved(model: onnx.ModelProto, folder: Path, name: str = "model") -> Path:
    """Write a network as an exporter leaves it, with the shapes of its outputs."""
    save(fold(model), folder / f"{name}.onnx")
    return folder / f"{name}.onnx"


def draw_photos(folder: Path, count: int = 16) -> Path:
    folder.mkdir()
    for seed in range(count):
        pixels = (photographs(1, seed)[0].transpose(1, 2, 0) * 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{seed}.png")
    assert pixels.shape == (SIDE, SIDE, 3)
    return folder


def build(store: Store, out: Path, job: Job, backend: str = "tensorrt", **options: Any) -> Path:
    """Build at level 0, which times no kernels but those it has to, and return the folder."""
    from trtforge.pipeline import deliver
    from trtforge.pipeline.targets import target

    chosen, _ = target(backend, None)
    builder = BuildOptions(**{"opt_level": 0, **options})
    deliver(job, [chosen], [out], store, options=builder, deepstream=None, force=False)
    return out


def engine_of(folder: Path) -> Path:
    return next(folder.glob("*.engine"))


def manifest(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return document


def least_pearson(folder: Path) -> float:
    """The figure of the output that is farthest from FP32, as the build has measured it."""
    check = manifest(folder)["check"]
    assert check is not None, "the engine was not run"
    assert "not_finite" not in check, check
    assert check["images"] == 4
    return float(min(output["pearson"] for output in check["outputs"].values()))


def command(*words: object, codes: tuple[int, ...] = (0,)) -> Any:
    """Run a command as the user does, and return its JSON document, or what it says of an error.

    A process of its own shows what only its end does; if it dies, it says where.
    """
    line = [sys.executable, "-X", "faulthandler", "-m", "trtforge", *map(str, words), "--json"]
    run = subprocess.run(line, capture_output=True, text=True, env=dict(os.environ), check=False)
    shown = (
        f"{' '.join(line)}\nexit code {run.returncode}\n{run.stdout[-1500:]}\n{run.stderr[-6000:]}"
    )
    assert run.returncode in codes, shown
    return json.loads(run.stdout) if run.stdout.strip() else run.stderr
