"""Which activations are observed: enough for every placement, and for TensorRT's implicit INT8."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest

from tests.models import classifier, network, outputs, photographs, yolov7_like, yolov8_like
from trtforge.calibration.ranges import per_tensor
from trtforge.errors import ForgeError
from trtforge.graph.fold import fold
from trtforge.graph.heads import decode, last_learned, learned
from trtforge.graph.model import graph_of
from trtforge.graph.moves import groups
from trtforge.graph.quantize.qdq import place
from trtforge.graph.quantize.taps import require_implicit, tapped


def residual() -> onnx.ModelProto:
    """Adds of every kind: of a concat that is read in part only, of a pool, of two convolutions, of
    an activation.
    """
    s = network(3)
    x = s.relu("image", (3, 8), 3, 2)
    pooled = s.maxpool(x, 2, 2)
    one, two = s.relu(pooled, (8, 4), 3), s.silu(pooled, (8, 4))
    both = s.op("Concat", one, two, axis=1)
    x = s.op("Add", s.conv(s.relu(one, (4, 8)), (8, 8), 3), both)
    x = s.op("Relu", x)
    x = s.op("Add", s.conv(x, (8, 8), 3), s.conv(s.relu(x, (8, 8)), (8, 8), 3))
    x = s.op("Add", x, s.op("Relu", s.conv(s.op("Relu", x), (8, 8))))
    x = s.op("Add", s.maxpool(x, 3, 1), s.conv(x, (8, 8)))
    x = s.op(
        "Resize",
        x,
        "",
        s.const([1, 1, 2, 2]),
        mode="nearest",
        nearest_mode="floor",
        coordinate_transformation_mode="asymmetric",
    )
    x = s.op("Add", s.conv(x, (8, 8)), x)
    return s.model(s.op("Sigmoid", s.conv(x, (8, 4))))


MODELS = {
    "classifier": classifier,
    "yolov7": yolov7_like,
    "yolov8": yolov8_like,
    "residual": residual,
}


@pytest.fixture(params=MODELS)
def graph(request: pytest.FixtureRequest) -> gs.Graph:
    return graph_of(fold(MODELS[request.param]()))


def values(graph: gs.Graph, names: list[str]) -> dict[str, np.ndarray]:
    """Activations on one batch."""
    model = gs.export_onnx(graph)
    found = graph.tensors()
    made = [name for name in names if found[name].inputs]
    del model.graph.output[:]
    model.graph.output.extend([onnx.helper.make_tensor_value_info(name, 1, None) for name in made])
    images = photographs(2)
    return {graph.inputs[0].name: images} | dict(zip(made, outputs(model, images), strict=True))


# ------------------------------------------------------------------------------------------------------
# explicit


def test_explicit_taps_suffice_for_every_placement(graph: gs.Graph) -> None:
    """Whatever a recipe or `tune` keeps float: each tensor of the placement has a range, of what
    was observed.
    """
    found = tapped(graph, "explicit")
    own = {source: 1.0 for _, sources in found for source in sources}
    amax = per_tensor(found, own) | own
    names = [node.name for node in learned(graph)]
    rng = np.random.default_rng(0)
    subsets = [
        [],
        *([name] for name in names),
        *([other for other in names if other != name] for name in names),
    ]
    subsets += [
        [name for name in names if rng.random() < share]
        for share in (0.2, 0.5, 0.8)
        for _ in range(40)
    ]
    placed = 0
    for keep in subsets:
        for float_heads in (False, True):
            try:
                placement = place(graph, tuple(keep), float_heads)
            except ForgeError as error:
                assert "no convolution or matrix product to quantize" in error.problem
                continue
            assert per_tensor(placement.groups, amax).keys() == set(placement.tensors), keep
            placed += 1
    assert placed > len(subsets)


def test_no_tensor_is_observed_twice(graph: gs.Graph) -> None:
    for taps in ("explicit", "implicit"):
        found = tapped(graph, taps)  # type: ignore[arg-type]
        members = [name for group, _ in found for name in group]
        assert len(set(members)) == len(members)
        assert all(sources and set(sources) <= set(group) for group, sources in found)


@pytest.mark.parametrize("taps", ["explicit", "implicit"])
def test_every_value_of_a_group_passes_through_a_source(graph: gs.Graph, taps: str) -> None:
    """No member's magnitude is larger than all of its sources': nothing would be clipped that was
    not meant to be.
    """
    found = tapped(graph, taps)  # type: ignore[arg-type]
    arrays = values(graph, [name for members, _ in found for name in members])
    largest = {name: float(np.abs(array).max()) for name, array in arrays.items()}
    for members, sources in found:
        assert max(largest[name] for name in members) == max(largest[name] for name in sources), (
            members
        )


def test_explicit_taps_are_few(graph: gs.Graph) -> None:
    """At most what carries Q/DQ, and the inputs of residual adds."""
    placed = set(place(graph).tensors)
    members = {name for group, _ in tapped(graph, "explicit") for name in group}
    adds = {tensor.name for node in graph.nodes if node.op == "Add" for tensor in node.inputs}
    assert placed <= members <= placed | adds


def test_a_concat_that_is_read_in_part_is_observed_itself() -> None:
    """Of `both` one input is quantized and the other is not: the first one's range says nothing
    about the other.
    """
    graph = graph_of(fold(residual()))
    both = next(node for node in graph.nodes if node.op == "Concat")
    ((group, sources),) = groups(graph, [both.outputs[0].name, both.inputs[0].name])
    assert set(group) == {both.outputs[0].name, both.inputs[0].name}
    assert both.outputs[0].name in sources
    ((_, sources),) = groups(
        graph, [both.outputs[0].name, *(tensor.name for tensor in both.inputs)]
    )
    assert set(sources) == {tensor.name for tensor in both.inputs}


@pytest.mark.parametrize("taps", ["explicit", "implicit"])
def test_a_graph_without_types_is_refused(taps: str) -> None:
    with pytest.raises(ForgeError, match="does not say the type of 't"):
        tapped(graph_of(classifier()), taps)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------------
# implicit


def implicit(graph: gs.Graph) -> set[str]:
    return {name for group, _ in tapped(graph, "implicit") for name in group}


def downstream(graph: gs.Graph, nodes: list[gs.Node]) -> set[str]:
    """The outputs of nodes and of all that follow them."""
    found: set[str] = set()
    stack = [tensor for node in nodes for tensor in node.outputs]
    while stack:
        tensor = stack.pop()
        if tensor.name not in found:
            found.add(tensor.name)
            stack += [output for node in tensor.outputs for output in node.outputs]
    return found


def test_implicit_taps_are_all_float_activations_before_the_heads_outputs(graph: gs.Graph) -> None:
    tensors = graph.tensors()
    activations = {
        name
        for name, tensor in tensors.items()
        if isinstance(tensor, gs.Variable) and tensor.dtype == np.float32
    }
    heads = downstream(graph, last_learned(graph))
    assert heads
    assert implicit(graph) == activations - heads


def test_implicit_taps_hold_no_head_no_decode_and_no_result(graph: gs.Graph) -> None:
    found = implicit(graph)
    assert not found & {tensor.name for node in last_learned(graph) for tensor in node.outputs}
    assert not found & {tensor.name for node in decode(graph) for tensor in node.outputs}
    assert not found & {tensor.name for tensor in graph.outputs}
    assert graph.inputs[0].name in found


def test_the_mean_of_the_distribution_belongs_to_the_decode() -> None:
    """Behind YOLOv8's box distribution is a convolution with fixed weights: neither it nor the
    softmax has a range.
    """
    graph = graph_of(fold(yolov8_like()))
    softmax = next(node for node in graph.nodes if node.op == "Softmax")
    mean = next(node for node in graph.nodes if node.op == "Conv" and "Softmax" in _producers(node))
    found = implicit(graph)
    assert not found & {
        tensor.name for node in (softmax, mean) for tensor in (*node.inputs[:1], *node.outputs)
    }


def _producers(node: gs.Node) -> set[str]:
    return {producer.op for producer in node.inputs[0].inputs}


def test_explicit_ranges_are_refused_for_an_implicit_build(graph: gs.Graph) -> None:
    explicit = {name for group, _ in tapped(graph, "explicit") for name in group}
    missing = implicit(graph) - explicit
    with pytest.raises(
        ForgeError, match=f"x.cache: no range for {len(missing)} activations"
    ) as caught:
        require_implicit(graph, explicit, "x.cache")
    assert any(name in caught.value.problem for name in missing)
    assert "\n" not in caught.value.problem
    assert "--taps implicit" in caught.value.hint
    require_implicit(graph, implicit(graph), "x.cache")


def test_a_single_missing_range_is_named() -> None:
    graph = graph_of(fold(classifier()))
    ranges = implicit(graph)
    for name in sorted(ranges):
        with pytest.raises(ForgeError, match=rf"no range for 1 activations \({name}\)"):
            require_implicit(graph, ranges - {name}, "x.json")
