"""Nodes that patterns select: by name, and by the part of the network."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest

from tests.families import gather, rtdetr, tokens, top
from tests.models import anchor_free, sketch
from trtforge.errors import ForgeError
from trtforge.evaluate.variant import escape_pattern
from trtforge.graph.fold import fold
from trtforge.graph.heads import learned
from trtforge.graph.model import graph_of
from trtforge.graph.patterns import matching
from trtforge.graph.precision.half import to_half
from trtforge.graph.quantize.qdq import place

WEIGHTS = np.random.default_rng(0).normal(0, 0.6, (8, 8)).astype(np.float32)


def queries() -> gs.Graph:
    return graph_of(fold(rtdetr("logits")(1)))


def test_the_decoder_is_what_follows_the_selection_of_queries() -> None:
    graph = queries()
    products = [node for node in learned(graph) if node.op == "MatMul"]
    assert len(products) == 4
    decoder = matching(graph, ("@decoder",), learned(graph), "product")
    # Two products before the TopK score the tokens and give references; the references are read
    # after it alone.
    scores = next(node for node in products if "ReduceMax" in _readers(node))
    assert scores.name not in decoder
    assert {node.name for node in products} - decoder == {scores.name}


def test_a_selection_inside_the_decoder_does_not_end_it() -> None:
    """D-FINE's decoder takes the best bins of each side by a TopK, before its last product."""
    s = sketch()
    memory = tokens(s)
    best = s.op("ReduceMax", s.op("MatMul", memory, s.const(WEIGHTS)), axes=[2], keepdims=0)
    target = gather(s, memory, top(s, best, 20)[1], 8)
    inner = s.op("MatMul", target, s.const(WEIGHTS))
    s.nodes.append(onnx.helper.make_node("TopK", [inner, s.ints(2)], ["bins", "at"], "bins"))
    model = s.model(s.op("MatMul", "bins", s.const(WEIGHTS[:2])), batch=1)
    graph = graph_of(fold(model))
    products = [node for node in learned(graph) if node.op == "MatMul"]
    decoder = matching(graph, ("@decoder",), learned(graph), "product")
    assert len(products) == 3
    assert {node.name for node in products[1:]} <= decoder


def _readers(node: gs.Node) -> set[str]:
    return {reader.op for tensor in node.outputs for reader in tensor.outputs}


def test_the_decoder_stays_float_whatever_its_nodes_are_called() -> None:
    graph = queries()
    placed = place(graph, keep=("@decoder",))
    assert placed.operators
    assert not set(placed.operators) & matching(graph, ("@decoder",), learned(graph), "product")
    only = place(graph, only=("@matmul",)).operators
    assert set(only) == matching(graph, ("@matmul",), learned(graph), "product")


def test_the_decoder_stays_fp32() -> None:
    graph = queries()
    decoder = matching(graph, ("@decoder",), learned(graph), "node")
    half = to_half(graph, ("@decoder",))
    kinds = {node.name: str(node.inputs[1].dtype) for node in learned(half)}
    assert {kinds[name] for name in decoder} == {"float32"}
    assert "float16" in kinds.values()


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("@decoder", "no TopK selects queries"),
        ("@matmul", "leave the pattern out"),
        ("*nothing*", "an ONNX viewer"),
    ],
)
def test_a_pattern_that_selects_nothing_is_refused(pattern: str, words: str) -> None:
    graph = graph_of(fold(anchor_free()))
    with pytest.raises(ForgeError, match="matches no convolution") as caught:
        place(graph, keep=(pattern,))
    assert words in caught.value.hint


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(ForgeError, match="unknown part") as caught:
        place(queries(), keep=("@encoder",))
    assert "@decoder" in caught.value.hint


def test_a_name_that_begins_like_a_part_is_a_name() -> None:
    graph = queries()
    node = learned(graph)[0]
    node.name = "@decoder"
    found = matching(graph, (escape_pattern("@decoder"),), learned(graph), "node")
    assert found == {"@decoder"}
