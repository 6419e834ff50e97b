"""A network cut down to some of its tensors: what they hold does not change, and weights are not copied."""

from __future__ import annotations

import gc

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest

from tests.models import classifier, network, photographs, yolov7_like
from trtforge.backends.onnxruntime import run, session
from trtforge.calibrate.cut import SMALL, cut
from trtforge.errors import ForgeError
from trtforge.graph.fold import fold
from trtforge.graph.model import graph_of, model_of
from trtforge.graph.qdq import place


@pytest.mark.parametrize("make", [classifier, yolov7_like])
def test_tensors_hold_what_they_held(make) -> None:
    graph = graph_of(fold(make()))
    names = [name for name in place(graph).observed if name != graph.inputs[0].name]
    whole = graph.copy()
    whole.outputs = [whole.tensors()[name] for name in names]
    want = run(session(model_of(whole).SerializeToString(), threads=1), photographs(1))
    model, weights = cut(graph, names)
    engine = session(model, threads=1, weights=weights)
    del weights
    gc.collect()  # the session reads its weights where they lie: nobody else holds them now
    got = run(engine, photographs(1))
    assert list(got) == names
    for name in names:
        np.testing.assert_array_equal(got[name], want[name])


def test_weights_are_held_once() -> None:
    graph = graph_of(fold(classifier()))
    model, weights = cut(graph, [graph.outputs[0].name])
    size = sum(array.nbytes for array in weights.values())
    assert len(model) < size / 2
    assert all(array.nbytes > SMALL for array in weights.values())
    assert not [tensor for tensor in graph.tensors().values()
                if isinstance(tensor, gs.Constant) and isinstance(tensor._values, np.ndarray)
                and tensor._values.nbytes > SMALL]  # fmt: skip


def test_what_is_behind_goes() -> None:
    s = network(0)
    x = s.conv("image", (3, 64), 3)
    graph = graph_of(fold(s.model(s.conv(x, (64, 64)))))
    model, weights = cut(graph, [x])
    assert [node.op_type for node in onnx.load_model_from_string(model).graph.node] == ["Conv"]
    assert {array.shape for array in weights.values()} == {(64, 3, 3, 3)}


def test_weights_that_are_missing_are_told() -> None:
    graph = graph_of(fold(classifier()))
    model, _ = cut(graph, [graph.outputs[0].name])
    with pytest.raises(ForgeError, match="ONNX Runtime can't load the model"):
        session(model)
