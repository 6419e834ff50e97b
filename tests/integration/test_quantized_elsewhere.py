"""Q/DQ graphs of other tools, in TensorRT-RTX's builder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from tests.builder_parity import refusal
from tests.extras import needs
from tests.models import network
from tests.quantized import LEFT, TAKEN, bias, conv, pair
from trtforge.graph.fold import fold
from trtforge.graph.model import graph_of, model_of
from trtforge.graph.precision.half import to_half

needs("rtx")


@pytest.mark.parametrize("name", TAKEN)
def test_what_is_adopted_builds(name: str, tmp_path: Path) -> None:
    s = network(5)
    after = fold(s.model(TAKEN[name](s), batch=2, opset=17))
    assert refusal(after, tmp_path) == ""
    assert refusal(model_of(to_half(graph_of(after))), tmp_path) == ""


def test_the_convolution_of_a_foreign_graph_is_int8(
    trtforge: Callable[..., Any], tmp_path: Path
) -> None:
    s = network(5)
    onnx.save(s.model(conv(s, pair(s, "image"), bias(s, 4)), batch=2), tmp_path / "m.onnx")
    done = trtforge("build", tmp_path / "m.onnx", "--device", "rtx-4090", "-o", tmp_path / "out")
    assert done.code == 0, done.err
    assert "1 of 1 convolutions with 8-bit inputs" in done.out


@pytest.mark.parametrize("name", LEFT)
def test_what_is_refused_names_the_node(
    name: str, trtforge: Callable[..., Any], tmp_path: Path
) -> None:
    build, why = LEFT[name]
    s = network(5)
    onnx.save(s.model(build(s), batch=2, opset=17), tmp_path / "m.onnx")
    done = trtforge("build", tmp_path / "m.onnx", "--device", "rtx-4090", "-o", tmp_path / "out")
    assert done.code == 1, done.err
    assert why in done.err
    assert "--int8" in done.err


def test_onnxruntime_takes_what_deepstream_can_not(
    trtforge: Callable[..., Any], tmp_path: Path
) -> None:
    s = network(5)
    onnx.save(s.model(LEFT["unsigned from 0"][0](s), batch=2, opset=17), tmp_path / "m.onnx")
    done = trtforge(
        "build", tmp_path / "m.onnx", "--backend", "onnxruntime", "-o", tmp_path / "out"
    )
    assert done.code == 0, done.err
    assert "DeepStream can't use the graph: node 'n0' (QuantizeLinear) is unsigned" in done.out
