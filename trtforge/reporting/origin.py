"""Hold the ONNX graph that an engine was built from, as far as a report needs it."""

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
# Operators that move values and keep their scale.
MOVES = {
    *VIEWS,
    *SAME,
    *("Concat", "Split", "Slice", "Transpose", "Gather", "MaxPool", "Resize"),
    *("DepthToSpace", "SpaceToDepth", "Pad", "Expand", "Tile"),
}
QUANTIZED = {"Int8", "UInt8", "FP8", "Int4", "FP4"}


@dataclass(frozen=True)
class Op:
    """A node of the graph.

    Attributes:
        name: the node's name, or its first output's name for a node without one.
        kind: the operator.
        transposed: for a Gemm, whether it has transA.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    transposed: bool = False


@dataclass(frozen=True)
class Origin:
    """An ONNX graph.

    Attributes:
        ops: its nodes, in order.
        constants: number of values of each initializer.
        shapes: known shapes of tensors, with -1 for a dynamic size.
        inputs, outputs: names of the graph's inputs and outputs.
        learned: names of the convolutions and matrix products with weights.
        scales: bytes of the scale of each Q/DQ node, by the node's name.
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
        """Index of the node that computes each tensor."""
        return {name: index for index, op in enumerate(self.ops) for name in op.outputs}

    @cached_property
    def readers(self) -> dict[str, list[int]]:
        """Indices of the nodes that read each tensor."""
        readers: dict[str, list[int]] = {}
        for index, op in enumerate(self.ops):
            for name in dict.fromkeys(op.inputs):
                readers.setdefault(name, []).append(index)
        return readers

    def above(self, index: int) -> list[int]:
        """Return the nodes that compute a node's inputs."""
        return [self.producer[name] for name in self.ops[index].inputs if name in self.producer]

    def below(self, index: int) -> list[int]:
        """Return the nodes that read a node's outputs."""
        return [reader for name in self.ops[index].outputs for reader in self.readers.get(name, [])]

    @cached_property
    def at_build_time(self) -> dict[int, str]:
        """Nodes that no engine runs, with the reason.

        They are constants and what is computed from them, shape arithmetic, and nodes that lead to
        no output.
        """
        why: dict[int, str] = {}
        for index in self._ordered:
            op = self.ops[index]
            inputs = [self._known_at_build(name, why) for name in op.inputs]
            if op.kind == "Constant" or (op.kind not in SHAPES and set(inputs) == {"constant"}):
                why[index] = "constant"
            elif op.kind in SHAPES or (inputs and all(inputs)):
                why[index] = "shape arithmetic"
        needed = self._needed
        return {
            index: why.get(index, "feeds no output")
            for index in range(len(self.ops))
            if index in why or index not in needed
        }

    def _known_at_build(self, name: str, why: Mapping[int, str]) -> str | None:
        """Return why a tensor is known when the engine is built; None if it is not."""
        if name in self.producer:
            return why.get(self.producer[name])
        return "constant" if name in self.constants else None

    @cached_property
    def _ordered(self) -> list[int]:
        """Indices sorted so that a node comes after its inputs, whatever the order in the file."""
        order: list[int] = []
        done: dict[int, bool] = {}  # False while the inputs of a node are on the stack
        for root in range(len(self.ops)):
            stack = [root]
            while stack:
                index = stack[-1]
                if index not in done:
                    done[index] = False
                    waiting = [above for above in self.above(index) if above not in done]
                    if waiting:
                        stack += waiting
                        continue
                stack.pop()
                if not done[index]:
                    done[index] = True
                    order.append(index)
        return order

    @cached_property
    def _needed(self) -> set[int]:
        """The nodes that lead to an output."""
        stack = [self.producer[name] for name in self.outputs if name in self.producer]
        needed = set(stack)
        while stack:
            fresh = [above for above in self.above(stack.pop()) if above not in needed]
            needed.update(fresh)
            stack += fresh
        return needed

    def macs(self, index: int, batch: int) -> int:
        """Return the multiply-accumulates of a convolution or matrix product.

        They are 0 for any other operator, and where a shape is unknown.
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
        if not shape:
            return ()
        return (batch if shape[0] < 0 else shape[0], *shape[1:])

    def quantized(self, index: int) -> bool:
        """Return whether a node's first input comes from a DequantizeLinear."""
        name = self.ops[index].inputs[0]
        return name in self.producer and self.ops[self.producer[name]].kind == "DequantizeLinear"

    def reads_input(self, index: int) -> bool:
        """Return whether a node reads the graph's input, perhaps after casts and moves."""
        name = self.ops[index].inputs[0]
        while name in self.producer and self.ops[self.producer[name]].kind in MOVES | {"Cast"}:
            name = self.ops[self.producer[name]].inputs[0]
        return name in self.inputs

    def weights(self, index: int) -> int:
        """Return how many weights a learned node has, also behind Q/DQ and casts; 0 if unknown."""
        name = self.ops[index].inputs[1]
        while name in self.producer and self.ops[self.producer[name]].inputs:
            name = self.ops[self.producer[name]].inputs[0]
        return self.constants.get(name, 0)


def from_model(model: onnx.ModelProto) -> Origin:
    """Read the graph of a model."""
    from trtforge.graph.heads import learned
    from trtforge.graph.model import graph_of

    graph = model.graph
    ops = tuple(
        Op(
            node.name or next(filter(None, node.output), ""),
            node.op_type,
            tuple(filter(None, node.input)),
            tuple(filter(None, node.output)),
            any(attribute.name == "transA" and attribute.i for attribute in node.attribute),
        )
        for node in graph.node
    )
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.value_info, *graph.input, *graph.output):
        if value.type.tensor_type.HasField("shape"):
            shapes.setdefault(value.name, tuple(_dims(value.type.tensor_type.shape.dim)))
    constants = {tensor.name: prod(tensor.dims) for tensor in graph.initializer}
    single = {
        tensor.name: tensor.raw_data for tensor in graph.initializer if prod(tensor.dims) == 1
    }
    scales: dict[str, bytes] = {}
    for op in ops:
        if op.kind in ("QuantizeLinear", "DequantizeLinear") and len(op.inputs) > 1:
            scale = op.inputs[1]
            if scale in single:
                scales[op.name] = single[scale]
    return Origin(
        ops=ops,
        constants=constants,
        shapes=shapes,
        inputs=frozenset(value.name for value in graph.input) - constants.keys(),
        outputs=frozenset(value.name for value in graph.output),
        learned=frozenset(node.name for node in learned(graph_of(model))),
        scales=scales,
    )


def _dims(dims: Iterable[onnx.TensorShapeProto.Dimension]) -> list[int]:
    return [
        dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else -1 for dim in dims
    ]
