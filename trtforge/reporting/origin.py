"""The ONNX graph that an engine was built from, as far as a report needs it: who feeds whom, and
what never runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

VIEWS = {"Reshape", "Squeeze", "Unsqueeze", "Flatten"}
SAME = {"Identity", "Dropout"}
SHAPES = {"Shape", "Size"}
# What moves values without computing any, as far as a scale is concerned.
MOVES = (
    VIEWS
    | SAME
    | {
        "Concat",
        "Split",
        "Slice",
        "Transpose",
        "Gather",
        "MaxPool",
        "Resize",
        "DepthToSpace",
        "SpaceToDepth",
        "Pad",
        "Expand",
        "Tile",
    }
)
QUANTIZED = {"Int8", "UInt8", "FP8", "Int4", "FP4"}


@dataclass(frozen=True)
class Op:
    """A node: ``name`` is its first output's where it has none of its own."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    transposed: bool = False  # Gemm with transA


@dataclass(frozen=True)
class Origin:
    """A graph.

    Attributes:
        ops: its nodes, in order.
        constants: number of values of each initializer.
        shapes: of tensors, with -1 for what is dynamic; only those that are known.
        inputs, outputs: of the graph.
        learned: names of the convolutions and matrix products with weights.
        scales: of Q/DQ nodes by name: the initializer that holds the scale, by digest of its bytes.
    """

    ops: tuple[Op, ...]
    constants: Mapping[str, int]
    shapes: Mapping[str, tuple[int, ...]]
    inputs: frozenset[str]
    outputs: frozenset[str]
    learned: frozenset[str]
    scales: Mapping[str, bytes] = field(default_factory=dict)

    @cached_property
    def producer(self) -> dict[str, int]:
        return {name: index for index, op in enumerate(self.ops) for name in op.outputs}

    @cached_property
    def readers(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for index, op in enumerate(self.ops):
            for name in dict.fromkeys(op.inputs):
                found.setdefault(name, []).append(index)
        return found

    def above(self, index: int) -> list[int]:
        """Nodes that feed a node."""
        return [self.producer[name] for name in self.ops[index].inputs if name in self.producer]

    def below(self, index: int) -> list[int]:
        """Nodes that a node feeds."""
        return [reader for name in self.ops[index].outputs for reader in self.readers.get(name, [])]

    @cached_property
    def at_build_time(self) -> dict[int, str]:
        """Nodes that no engine runs, and why: constants and what is made of them, shape arithmetic,
        dead ends.
        """
        why: dict[int, str] = {}
        for index in self._ordered:
            op = self.ops[index]
            made = [
                why.get(self.producer[name])
                if name in self.producer
                else "constant"
                if name in self.constants
                else None
                for name in op.inputs
            ]
            if op.kind == "Constant" or (
                op.kind not in SHAPES and made and set(made) == {"constant"}
            ):
                why[index] = "constant"
            elif op.kind in SHAPES or (made and all(made)):
                why[index] = "shape arithmetic"
        alive = self._needed
        return {
            index: why.get(index, "feeds no output")
            for index in range(len(self.ops))
            if index in why or index not in alive
        }

    @cached_property
    def _ordered(self) -> list[int]:
        """Indices such that a node comes behind what feeds it, whatever the order in the file."""
        order: list[int] = []
        state: dict[int, bool] = {}
        for root in range(len(self.ops)):
            stack = [root]
            while stack:
                index = stack[-1]
                waiting = (
                    [above for above in self.above(index) if above not in state]
                    if index not in state
                    else []
                )
                if index not in state:
                    state[index] = False
                if waiting:
                    stack += waiting
                    continue
                stack.pop()
                if not state[index]:
                    state[index] = True
                    order.append(index)
        return order

    @cached_property
    def _needed(self) -> set[int]:
        stack = [self.producer[name] for name in self.outputs if name in self.producer]
        found = set(stack)
        while stack:
            fresh = [above for above in self.above(stack.pop()) if above not in found]
            found.update(fresh)
            stack += fresh
        return found

    def macs(self, index: int, batch: int) -> int:
        """Multiply-accumulates of a convolution or matrix product; 0 for others, and where a shape
        is unknown.
        """
        from trtforge.graph.macs import count

        op = self.ops[index]
        if len(op.inputs) < 2 or not op.outputs:
            return 0
        data, weights, output = (
            self._shape(name, batch) for name in (*op.inputs[:2], op.outputs[0])
        )
        return count(op.kind, data, weights, output, op.transposed)

    def _shape(self, name: str, batch: int) -> tuple[int, ...] | None:
        shape = self.shapes.get(name)
        if shape is None or any(dim < 0 for dim in shape[1:]):
            return None
        return (batch if shape[0] < 0 else shape[0], *shape[1:]) if shape else ()

    def quantized(self, index: int) -> bool:
        """Whether a node's data comes out of a DequantizeLinear."""
        name = self.ops[index].inputs[0]
        return name in self.producer and self.ops[self.producer[name]].kind == "DequantizeLinear"

    def reads_input(self, index: int) -> bool:
        """Whether a node reads the graph's input, or nothing but a cast or a move of it."""
        name = self.ops[index].inputs[0]
        while name in self.producer and self.ops[self.producer[name]].kind in MOVES | {"Cast"}:
            name = self.ops[self.producer[name]].inputs[0]
        return name in self.inputs

    def weights(self, index: int) -> int:
        """The number of a learned node's weights, also through Q/DQ and casts; 0 where they are no
        constant.
        """
        name = self.ops[index].inputs[1]
        while name in self.producer and self.ops[self.producer[name]].inputs:
            name = self.ops[self.producer[name]].inputs[0]
        return self.constants.get(name, 0)


def from_model(model: onnx.ModelProto) -> Origin:
    """Read a graph."""
    from trtforge.graph.heads import learned
    from trtforge.graph.model import graph_of

    graph = model.graph
    ops = tuple(
        Op(
            node.name or next(filter(None, node.output), ""),
            node.op_type,
            tuple(filter(None, node.input)),
            tuple(filter(None, node.output)),
            any(each.name == "transA" and each.i for each in node.attribute),
        )
        for node in graph.node
    )
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.value_info, *graph.input, *graph.output):
        if value.type.tensor_type.HasField("shape"):
            shapes.setdefault(value.name, tuple(_dims(value.type.tensor_type.shape.dim)))
    scale = {tensor.name: tensor.raw_data for tensor in graph.initializer if prod(tensor.dims) == 1}
    return Origin(
        ops=ops,
        constants={tensor.name: prod(tensor.dims) for tensor in graph.initializer},
        shapes=shapes,
        inputs=frozenset(
            {value.name for value in graph.input} - {tensor.name for tensor in graph.initializer}
        ),
        outputs=frozenset(value.name for value in graph.output),
        learned=frozenset(node.name for node in learned(graph_of(model))),
        scales={
            op.name: scale[op.inputs[1]]
            for op in ops
            if op.kind in ("QuantizeLinear", "DequantizeLinear")
            and len(op.inputs) > 1
            and op.inputs[1] in scale
        },
    )


def _dims(dims: Iterable[onnx.TensorShapeProto.Dimension]) -> list[int]:
    return [
        dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else -1 for dim in dims
    ]
