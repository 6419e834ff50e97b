"""An FP16 export is quantized from the FP32 numbers that it holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from conftest import DEMO

from trtforge.graph.fold import fold
from trtforge.graph.model import graph_of, load, model_of, save
from trtforge.graph.precision.half import to_half


def test_int8_of_an_fp16_export(trtforge: Callable[..., Any], photos: Path, tmp_path: Path) -> None:
    model = tmp_path / "half.onnx"
    save(model_of(to_half(graph_of(fold(load(DEMO))))), model)
    words = ("--int8", "--calib", photos, "--device", "rtx-4090", "-o", tmp_path / "out")
    done = trtforge("build", model, *words)
    assert done.code == 0, done.err
    assert "convolutions with 8-bit inputs" in done.out
