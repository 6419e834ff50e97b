"""Sorting the nodes of files whose writers did not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.models import outputs
from trtforge.errors import ForgeError
from trtforge.graph.model import load
from trtforge.graph.order import CycleError, sort_nodes

F = TensorProto.FLOAT


def model(nodes: list[onnx.NodeProto], *constants: onnx.TensorProto) -> onnx.ModelProto:
    """A model from ``x`` to ``y`` of those nodes."""
    values = [helper.make_tensor_value_info(name, F, [1, 2]) for name in "xy"]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def branch(name: str, nodes: list[onnx.NodeProto]) -> onnx.GraphProto:
    """A branch of an If that gives ``name``."""
    return helper.make_graph(nodes, name, [], [helper.make_tensor_value_info(name, F, [1, 2])])


def names(found: onnx.ModelProto) -> list[str]:
    return [node.name for node in found.graph.node]


def test_a_cast_that_stands_last() -> None:
    found = model(
        [
            helper.make_node("Relu", ["half"], ["positive"], "relu"),
            helper.make_node("Cast", ["positive"], ["y"], "back", to=F),
            helper.make_node("Cast", ["x"], ["half"], "there", to=TensorProto.FLOAT16),
        ]
    )
    assert sort_nodes(found)
    assert names(found) == ["there", "relu", "back"]
    onnx.checker.check_model(found, full_check=True)


def test_sorted_nodes_stay_where_they_are() -> None:
    found = model(
        [
            helper.make_node("Neg", ["x"], ["b"], "second letter first"),
            helper.make_node("Abs", ["x"], ["a"], "then the other"),
            helper.make_node("Add", ["a", "b"], ["y"], "sum"),
        ]
    )
    before = found.SerializeToString()
    assert not sort_nodes(found)
    assert found.SerializeToString() == before


def test_bodies_and_what_they_read_from_outside(tmp_path: Path) -> None:
    then = branch(
        "t",
        [
            helper.make_node("Neg", ["inner"], ["t"], "neg"),
            helper.make_node("Add", ["outer", "outer"], ["inner"], "add"),
        ],
    )
    other = branch("e", [helper.make_node("Identity", ["outer"], ["e"], "same")])
    found = model(
        [
            helper.make_node("If", ["yes"], ["y"], "if", then_branch=then, else_branch=other),
            helper.make_node("Relu", ["x"], ["outer"], "relu"),
        ],
        helper.make_tensor("yes", TensorProto.BOOL, [], [True]),
    )
    (tmp_path / "m.onnx").write_bytes(found.SerializeToString())
    loaded = load(tmp_path / "m.onnx")
    assert names(loaded) == ["relu", "if"]
    body = next(attr.g for attr in loaded.graph.node[1].attribute if attr.name == "then_branch")
    assert [node.name for node in body.node] == ["add", "neg"]
    fed = np.array([[3.0, -1.0]], np.float32)
    np.testing.assert_array_equal(outputs(loaded, fed)[0], [[-6.0, 0.0]])


def test_a_local_function(tmp_path: Path) -> None:
    body = helper.make_function(
        "own",
        "Twice",
        ["v"],
        ["w"],
        [helper.make_node("Neg", ["u"], ["w"]), helper.make_node("Neg", ["v"], ["u"])],
        [helper.make_opsetid("", 17)],
    )
    found = model([helper.make_node("Twice", ["x"], ["y"], "call", domain="own")])
    found.functions.append(body)
    found.opset_import.append(helper.make_opsetid("own", 1))
    (tmp_path / "m.onnx").write_bytes(found.SerializeToString())
    loaded = load(tmp_path / "m.onnx")
    fed = np.array([[3.0, -1.0]], np.float32)
    np.testing.assert_array_equal(outputs(loaded, fed)[0], fed)


def test_a_cycle_is_refused_in_one_line(tmp_path: Path) -> None:
    found = model(
        [
            helper.make_node("Relu", ["x"], ["start"], "before"),
            helper.make_node("Add", ["start", "b"], ["a"], "first"),
            helper.make_node("Relu", ["a"], ["b"], "second"),
            helper.make_node("Relu", ["b"], ["y"], "behind"),
        ]
    )
    with pytest.raises(CycleError, match=r"'(first|second)'"):
        sort_nodes(found)
    (tmp_path / "m.onnx").write_bytes(found.SerializeToString())
    with pytest.raises(ForgeError, match=r"m\.onnx: its nodes form a cycle: node") as error:
        load(tmp_path / "m.onnx")
    assert "\n" not in str(error.value)


def test_many_nodes_in_reverse() -> None:
    count = 20_000
    nodes = [
        helper.make_node("Neg", [f"t{number}"], [f"t{number + 1}"], str(number))
        for number in range(count)
    ]
    nodes[0].input[0], nodes[-1].output[0] = "x", "y"
    found = model(nodes[::-1])
    assert sort_nodes(found)
    assert names(found) == [str(number) for number in range(count)]
