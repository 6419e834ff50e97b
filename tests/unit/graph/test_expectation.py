"""The mean of a Softmax as a product and a sum: the same numbers, run before and after."""

from __future__ import annotations

import numpy as np
import pytest

from tests.models import network, outputs, photographs, yolov7_like, yolov8_like
from trtforge.graph.fold import fold
from trtforge.graph.fold.expectation import fuse_expectations
from trtforge.graph.heads import is_expectation
from trtforge.graph.model import graph_of, model_of


def test_the_results_stay(tmp_path: object) -> None:
    model = fold(yolov8_like())
    graph = graph_of(model)
    before = [node.name for node in graph.nodes if is_expectation(node)]
    assert fuse_expectations(graph) == len(before) == 1
    assert not any(is_expectation(node) for node in graph.nodes)
    assert before[0] in {node.name for node in graph.nodes}, "reports find it by its name"
    images = photographs(2)
    for one, other in zip(outputs(model, images), outputs(model_of(graph), images), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-4)


def test_a_graph_without_any_stays_as_it_is() -> None:
    graph = graph_of(fold(yolov7_like()))
    names = {node.name for node in graph.nodes}
    assert fuse_expectations(graph) == 0
    assert {node.name for node in graph.nodes} == names


@pytest.mark.parametrize("shape", [(2, 8, 1, 1), (1, 8, 3, 3)])
def test_other_convolutions_behind_a_softmax_stay(shape: tuple[int, ...]) -> None:
    s = network(0)
    x = s.op("Softmax", s.conv("image", (3, 8), stride=8), axis=1)
    y = s.op("Conv", x, s.const(np.ones(shape)), kernel_shape=list(shape[2:]))
    assert fuse_expectations(graph_of(fold(s.model(y)))) == 0
