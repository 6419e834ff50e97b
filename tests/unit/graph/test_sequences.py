"""Outputs with steps on axis 1, as of networks that read text: no guess at boxes in them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from tests.models import Sketch, sketch
from trtforge.graph.detection import looks_like, recognise
from trtforge.graph.model import graph_of

STEPS, CHARACTERS = 256, 64  # 4 * 16 channels and more, and 8x8 cells of 64x64 pixels


def columns(s: Sketch, channels: int) -> str:
    """(B, 256, channels): a vector for each of 256 places."""
    weights = np.random.default_rng(0).normal(size=(channels, 3, 4, 4))
    maps = s.op("Conv", "image", s.const(weights), strides=[4, 4])
    return s.op("Transpose", s.op("Reshape", maps, s.ints(0, channels, -1)), perm=[0, 2, 1])


def softmax(s: Sketch) -> str:
    weights = s.const(np.ones((8, CHARACTERS)))
    return s.op("Softmax", s.op("MatMul", columns(s, 8), weights), axis=2)


def logits(s: Sketch) -> str:
    product = s.op("MatMul", columns(s, 8), s.const(np.ones((8, CHARACTERS))))
    return s.op("Add", product, s.const(np.ones(CHARACTERS)))


def of_a_convolution(s: Sketch) -> str:
    return columns(s, CHARACTERS)


@pytest.mark.parametrize("make", [softmax, logits, of_a_convolution])
def test_steps_are_no_channels(make: object) -> None:
    s = sketch()
    assert callable(make)
    graph = graph_of(onnx.shape_inference.infer_shapes(s.model(make(s))))
    assert recognise(graph) is None
    assert looks_like(graph) == []


def test_raw_maps_in_one_tensor_still_are_distances() -> None:
    s = sketch()
    weights = np.random.default_rng(0).normal(size=(70, 3, 8, 8))
    maps = s.op("Conv", "image", s.const(weights), strides=[8, 8])
    graph = graph_of(s.model(s.op("Reshape", maps, s.ints(0, 70, -1))))
    assert [found.form for found in looks_like(graph)] == ["distances"]
