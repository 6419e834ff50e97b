"""A network cut down to some of its tensors: what they hold does not change, and weights are not
copied.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from onnx import TensorProto, helper

from tests.models import classifier, network, photographs, yolov7_like, yolov8_like
from trtforge.backends.onnxruntime import run, session
from trtforge.calibration.cut import SMALL_BYTES, cut
from trtforge.errors import ForgeError
from trtforge.graph.fold import fold
from trtforge.graph.model import graph_of, model_of
from trtforge.graph.quantize.qdq import place


@pytest.mark.parametrize("make", [classifier, yolov7_like, yolov8_like])
def test_tensors_hold_what_they_held(make) -> None:
    graph = graph_of(fold(make()))
    names = [name for name in place(graph).observed if name != graph.inputs[0].name]
    whole = graph.copy()
    whole.outputs = [whole.tensors()[name] for name in names]
    want = run(session(model_of(whole).SerializeToString(), threads=1), photographs(1))
    model, weights = cut(graph, names)
    engine = session(model, threads=1, weights=weights)
    for array in weights.values():
        array[...] = np.nan  # the session has copied them
    got = run(engine, photographs(1))
    assert list(got) == names
    for name in names:
        np.testing.assert_array_equal(got[name], want[name])


def test_weights_are_held_once() -> None:
    graph = graph_of(fold(classifier()))
    model, weights = cut(graph, [graph.outputs[0].name])
    size = sum(array.nbytes for array in weights.values())
    assert len(model) < size / 2
    assert all(array.nbytes > SMALL_BYTES for array in weights.values())
    assert not [
        tensor
        for tensor in graph.tensors().values()
        if isinstance(tensor, gs.Constant)
        and isinstance(tensor._values, np.ndarray)
        and tensor._values.nbytes > SMALL_BYTES
    ]


def test_what_is_behind_goes() -> None:
    s = network(0)
    x = s.conv("image", (3, 64), 3)
    graph = graph_of(fold(s.model(s.conv(x, (64, 64)))))
    model, weights = cut(graph, [x])
    assert [node.op_type for node in onnx.load_model_from_string(model).graph.node] == ["Conv"]
    assert {array.shape for array in weights.values()} == {(64, 3, 3, 3)}


def test_weights_that_a_branch_reads_too() -> None:
    """ONNX Runtime looks beside the model for the outermost graph alone."""
    s = network(0)
    x = s.conv("image", (3, 3), 16)
    weight = s.nodes[-1].input[1]
    made = [helper.make_tensor_value_info("made", TensorProto.FLOAT, None)]
    branch = helper.make_graph(
        [helper.make_node("Conv", [x, weight], ["made"], auto_pad="SAME_UPPER")], "branch", [], made
    )
    s.op("Greater", s.op("ReduceMax", x, keepdims=0), s.const(0.0))
    model = s.model(s.op("If", s.nodes[-1].output[0], then_branch=branch, else_branch=branch))
    graph = graph_of(onnx.shape_inference.infer_shapes(model))
    want = run(session(model.SerializeToString(), threads=1), photographs(1))
    cut_down, weights = cut(graph, [graph.outputs[0].name])
    got = run(session(cut_down, threads=1, weights=weights), photographs(1))
    for name, value in want.items():
        np.testing.assert_allclose(got[name], value, rtol=0, atol=1e-5)


def test_weights_that_lie_column_by_column() -> None:
    graph = graph_of(fold(classifier()))
    name = graph.outputs[0].name
    model, weights = cut(graph.copy(), [name])
    want = run(session(model, threads=1, weights=weights), photographs(1))
    for tensor in graph.tensors().values():
        if isinstance(tensor, gs.Constant):
            tensor.values = np.asfortranarray(tensor.values)
    model, weights = cut(graph, [name])
    np.testing.assert_array_equal(
        run(session(model, threads=1, weights=weights), photographs(1))[name], want[name]
    )


def test_nothing_keeps_the_file_in_memory() -> None:
    graph = graph_of(fold(classifier()))
    cut(graph, [graph.outputs[0].name])
    assert type(graph.import_domains) is list
    lazy = [
        tensor
        for tensor in graph.tensors().values()
        if isinstance(tensor, gs.Constant) and not isinstance(tensor._values, np.ndarray)
    ]
    assert lazy
    assert all(tensor._values.tensor.data_location == TensorProto.EXTERNAL for tensor in lazy)


def test_weights_that_are_missing_are_told() -> None:
    graph = graph_of(fold(classifier()))
    model, _ = cut(graph, [graph.outputs[0].name])
    with pytest.raises(ForgeError, match="ONNX Runtime can't load the model"):
        session(model)
