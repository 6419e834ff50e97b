"""`trtforge reduce`: what TensorRT-RTX refuses, and what ONNX Runtime computes wrongly, comes down to
its nodes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from tests.extras import needs
from tests.faults import detector, listed, narrow, overflowing, too_many, unknown
from tests.models import network
from trtforge.graph.model import load

TARGET = ("--device", "rtx-4090", "--backend", "tensorrt-rtx")


def save(model: onnx.ModelProto, path: Path) -> Path:
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(
    ("build", "operators", "message"),
    [
        (too_many, ["TopK"], "K exceeds the maximum value"),
        (narrow, ["Conv", "Sub"], "nbdims_bias"),
        (listed, ["NonZero"], "(NonZero)"),
        (unknown, ["Mystery"], "(Mystery)"),
    ],
)
def test_what_is_refused_comes_down_to_its_nodes(
    trtforge: Callable[..., Any],
    tmp_path: Path,
    build: Callable[[], onnx.ModelProto],
    operators: list[str],
    message: str,
) -> None:
    needs("rtx")
    model, out = save(build(), tmp_path / "model.onnx"), tmp_path / "part.onnx"
    done = trtforge("reduce", model, *TARGET, "-o", out, "--json")
    assert done.code == 0, done.err
    document = done.document
    assert [node["operator"] for node in document["nodes"]] == operators
    assert document["fault"] == "refused"
    assert message in document["message"]
    assert document["complete"]
    assert document["nodes_before"] == len(build().graph.node)
    assert [node.op_type for node in load(out).graph.node] == operators
    again = trtforge("reduce", out, *TARGET, "-o", tmp_path / "again.onnx")
    assert f"{len(operators)} of {len(operators)} nodes" in again.out
    assert message in again.out


def test_the_first_fault_stays(trtforge: Callable[..., Any], tmp_path: Path) -> None:
    """The parser stops at NonZero; without it, the builder would refuse TopK."""
    needs("rtx")
    s = network(5)
    x = s.relu("image", (3, 4), 3)
    where = s.op("Cast", s.op("NonZero", x), to=TensorProto.FLOAT)
    best = s.op("TopK", s.op("Reshape", x, s.ints(1, 4 * 64 * 64)), s.ints(4000))
    s.nodes[-1].output.append("index")
    model = save(s.model(where, best, batch=1), tmp_path / "model.onnx")
    done = trtforge("reduce", model, *TARGET, "-o", tmp_path / "part.onnx", "--json")
    assert [node["operator"] for node in done.document["nodes"]] == ["NonZero"]


def test_a_model_that_builds_is_no_fault(trtforge: Callable[..., Any], tmp_path: Path) -> None:
    needs("rtx")
    out = tmp_path / "part.onnx"
    done = trtforge("reduce", save(detector(), tmp_path / "m.onnx"), *TARGET, "-o", out)
    assert done.code == 2
    assert "does not fail: tensorrt-rtx builds it" in done.err
    assert not out.exists()


def test_what_leaves_fp32_comes_down_to_its_nodes(
    trtforge: Callable[..., Any], tmp_path: Path
) -> None:
    """A tensor beyond FP16 in the middle of a detector: only the cast is left, with its input."""
    model, out = save(overflowing(), tmp_path / "model.onnx"), tmp_path / "part.onnx"
    done = trtforge(
        *("reduce", model, "--differs", "--backend", "onnxruntime", "--size", "64x64"),
        *("-o", out, "--json"),
    )
    assert done.code == 0, done.err
    assert done.document["fault"] == "not finite"
    assert [node["name"] for node in done.document["nodes"]] == ["halve"]
    inputs = tmp_path / "part.inputs.json"
    assert done.document["inputs"] == str(inputs)
    again = trtforge(
        *("reduce", out, "--differs", "--backend", "onnxruntime", "--load-inputs", inputs),
        *("-o", tmp_path / "again.onnx"),
    )
    assert "not finite" in again.out, again.err
    exact = trtforge(
        *("reduce", save(detector(), model), "--differs", "--backend", "onnxruntime"),
        *("--size", "64x64", "-o", out),
    )
    assert "does not fail" in exact.err


def test_the_time_is_a_budget(trtforge: Callable[..., Any], tmp_path: Path) -> None:
    needs("rtx")
    model, out = save(too_many(), tmp_path / "model.onnx"), tmp_path / "part.onnx"
    done = trtforge("reduce", model, *TARGET, "-o", out, "--time", "1ms")
    assert done.code == 2
    assert "the first check takes longer than 0.001 s" in done.err
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--min-sqnr", "30"], "are for engines that run"),
        (["--differs", "--min-pearson", "2"], "--min-pearson 2: not from 0 to 1"),
        (["--differs", "--load-inputs", "model.onnx"], "not inputs in Polygraphy's JSON"),
        (["--differs", "--load-inputs", "other.json"], "no finite values for input 'image'"),
        (["--differs", "--load-inputs", "list.json"], "no list of named arrays"),
        (["--opt-level", "3"], "onnxruntime has no builder"),
        (["-o", "model.onnx"], "is the input itself"),
        (["--backend", "tensorrt-rtx", "--differs", "--device", "l4"], "not of TensorRT-RTX"),
    ],
)
def test_wrong_words(
    trtforge: Callable[..., Any], tmp_path: Path, words: list[str], problem: str
) -> None:
    from trtforge.evaluate.runs import inputs_text

    save(detector(), tmp_path / "model.onnx")
    (tmp_path / "other.json").write_text(inputs_text([{"other": np.zeros(3)}]))
    (tmp_path / "list.json").write_text(json.dumps([{"image": [1, 2]}]))
    done = trtforge(
        "reduce", "model.onnx", "--backend", "onnxruntime", "-o", "part.onnx", *words, cwd=tmp_path
    )
    assert done.code in (2, 3)
    assert problem in done.err
    assert not (tmp_path / "part.onnx").exists()
