"""Infer shapes, types and shape arithmetic in one walk; every dynamic dimension has a name.

ONNX's own inference does each operator; what it leaves open because it knows no names (a Reshape to
``[batch, -1]``, an Expand by a shape read back out of a tensor) is found here, from the elements of
integer tensors.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx_graphsurgeon.exporters.onnx_exporter import OnnxExporter, dtype_to_onnx

from trtforge.graph import symbols
from trtforge.graph.symbols import Array, Dim, Size, divide, named, numbers, product

Shape = tuple[Size, ...]
COUNTING = {"NonZero", "NonMaxSuppression", "Unique", "Compress", "Loop", "If"}


class Shapes:
    """Known shapes and values of every tensor, by name, of a graph whose nodes are sorted.

    Attributes:
        shape: sizes; absent where not even the rank is known.
        dtype: ONNX's number of the element type.
        values: elements of integer tensors, as in ``symbols``.
        counts: names of dimensions that depend on the data, such as the number of boxes: they may
            be 0.
    """

    def __init__(self, graph: gs.Graph) -> None:
        self.shape: dict[str, Shape] = {}
        self.dtype: dict[str, int] = {}
        self.values: dict[str, Array] = {}
        self.counts: set[str] = set()
        self._counted: set[str] = set()
        self._dims: dict[str, Dim] = {}
        self._opsets = graph.import_domains or [onnx.helper.make_opsetid("", graph.opset)]
        self._versions = {each.domain or "": each.version for each in self._opsets}
        for tensor in graph.inputs:
            self._input(tensor)
        for node in graph.nodes:
            for tensor in node.inputs:
                if isinstance(tensor, gs.Constant) and tensor.name not in self.dtype:
                    self._constant(tensor)
            self._node(node)

    def apply(self, graph: gs.Graph) -> None:
        """Write shapes and types into the tensors of the graph."""
        for tensor in graph.tensors().values():
            if isinstance(tensor, gs.Variable) and tensor.name in self.dtype:
                tensor.dtype = _numpy(self.dtype[tensor.name])
                if tensor.name in self.shape:
                    tensor.shape = [
                        size if isinstance(size, int) else str(size)
                        for size in self.shape[tensor.name]
                    ]

    def _input(self, tensor: gs.Tensor) -> None:
        if tensor.dtype is None or tensor.type != "tensor_type":
            return
        self.dtype[tensor.name] = dtype_to_onnx(tensor.dtype)
        if tensor.shape is not None:
            self.shape[tensor.name] = tuple(
                self._declared(tensor, axis, dim) for axis, dim in enumerate(tensor.shape)
            )

    def _declared(self, tensor: gs.Tensor, axis: int, dim: Any) -> Size:
        if isinstance(dim, int) and dim > 0:
            return dim
        if isinstance(dim, str) and dim.isdecimal():  # some exporters write the name '1'
            return int(dim)
        return self._size(dim if isinstance(dim, str) and dim else f"{tensor.name}_dim{axis}")

    def _constant(self, tensor: gs.Constant) -> None:
        self.dtype[tensor.name] = dtype_to_onnx(tensor.dtype)
        self.shape[tensor.name] = tuple(int(dim) for dim in tensor.shape)
        if self.dtype[tensor.name] in _INTEGERS and np.prod(tensor.shape) <= symbols.LARGEST:
            self.values[tensor.name] = tensor.values.astype(object)

    def _size(self, name: str) -> Size:
        return self._dims.setdefault(name, named(name))

    def _node(self, node: gs.Node) -> None:
        values = [self.values.get(tensor.name) for tensor in node.inputs]
        self._infer(node, values)
        rule = _RULES.get(node.op)
        shapes = [self.shape.get(tensor.name) for tensor in node.inputs]
        found = rule(node, shapes, values) if rule and shapes and shapes[0] is not None else None
        if found is not None:
            self.shape[node.outputs[0].name] = found
            self._dims.update({str(size): size for size in found if isinstance(size, Dim)})
        self._evaluate(node, values)
        self._count(node)

    def _count(self, node: gs.Node) -> None:
        """Note the dimensions that begin at a node whose results are as many as the data has."""
        if node.op not in COUNTING and not any(read.name in self._counted for read in node.inputs):
            return
        known = {name for read in node.inputs for name in self._names(read)} - self.counts
        for tensor in node.outputs:
            self._counted.add(tensor.name)
            self.counts |= self._names(tensor) - known

    def _names(self, tensor: gs.Tensor) -> set[str]:
        """Return the names in a tensor's shape."""
        sizes = self.shape.get(tensor.name, ())
        return {name for size in sizes if isinstance(size, Dim) for name in size.names}

    def _infer(self, node: gs.Node, values: list[Any]) -> None:
        inferred = self._onnx(node, values)
        for tensor in node.outputs:
            if tensor.is_empty():
                continue
            kind = inferred.get(tensor.name)
            if kind is not None and kind.HasField("tensor_type"):
                self.dtype[tensor.name] = kind.tensor_type.elem_type
                if kind.tensor_type.HasField("shape"):
                    dims = kind.tensor_type.shape.dim
                    self.shape[tensor.name] = tuple(
                        dim.dim_value
                        if dim.HasField("dim_value")
                        else self._size(dim.dim_param or f"{tensor.name}_dim{i}")
                        for i, dim in enumerate(dims)
                    )
                    continue
            if inferred is _UNKNOWN and tensor.dtype is not None and tensor.type == "tensor_type":
                self._input(tensor)  # a plugin's output: what the model says of it

    def _onnx(self, node: gs.Node, values: list[Any]) -> dict[str, onnx.TypeProto]:
        """Return ONNX's inference of one node; _UNKNOWN where ONNX can't infer it."""
        if any(isinstance(value, gs.Graph) for value in node.attrs.values()):
            return _UNKNOWN
        try:
            schema = onnx.defs.get_schema(
                node.op, self._versions.get(node.domain or "", 1), node.domain or ""
            )
        except onnx.defs.SchemaError:
            return _UNKNOWN
        types = {
            tensor.name: self._type(tensor.name)
            for tensor in node.inputs
            if tensor.name in self.dtype
        }
        data = {
            tensor.name: self._data(tensor, array)
            for tensor, array in zip(node.inputs, values, strict=True)
            if numbers(array) is not None
        }
        small = [
            tensor
            for tensor in node.inputs
            if isinstance(tensor, gs.Constant) and prod(tensor.shape) <= _SMALL
        ]
        data |= {
            tensor.name: OnnxExporter.export_tensor_proto(tensor)
            for tensor in small
            if tensor.name not in data
        }
        try:
            return dict(
                onnx.shape_inference.infer_node_outputs(
                    schema, OnnxExporter.export_node(node), types, data, opset_imports=self._opsets
                )
            )
        except Exception:  # it has no class of errors of its own
            return _UNKNOWN

    def _type(self, name: str) -> onnx.TypeProto:
        shape = self.shape.get(name)
        sizes = None
        if shape is not None:
            sizes = [size if isinstance(size, int) else str(size) for size in shape]
        return onnx.helper.make_tensor_type_proto(self.dtype[name], sizes)

    def _data(self, tensor: gs.Tensor, array: Any) -> onnx.TensorProto:
        kind = self.dtype[tensor.name]
        return onnx.numpy_helper.from_array(
            array.astype(onnx.helper.tensor_dtype_to_np_dtype(kind)), tensor.name
        )

    def _evaluate(self, node: gs.Node, values: list[Any]) -> None:
        if not node.outputs or self.dtype.get(node.outputs[0].name) not in _INTEGERS:
            return
        first = self.shape.get(node.inputs[0].name) if node.inputs else None
        if node.op == "Shape" and first is not None:
            sizes = list(first)[node.attrs.get("start", 0) : node.attrs.get("end", None)]
            found: Any = np.empty(len(sizes), object)
            found[:] = sizes
        elif node.op == "Size" and first is not None:
            found = np.full((), product(first), object)
        else:
            found = symbols.evaluate(node, values)
        if found is not None and found.size <= symbols.LARGEST:
            self.values[node.outputs[0].name] = found


_UNKNOWN: dict[str, onnx.TypeProto] = {}
_INTEGERS = (onnx.TensorProto.INT64, onnx.TensorProto.INT32, onnx.TensorProto.BOOL)
_SMALL = 64  # elements of a constant that inference may want to read: scales, pads, axes


def _numpy(kind: int) -> Any:
    """Return graphsurgeon's name of a type: NumPy's where NumPy has it."""
    from onnx_graphsurgeon.importers.onnx_importer import get_numpy_type

    found = get_numpy_type(kind)
    return kind if found is None else found


# ------------------------------------------------------------------- shapes that depend on elements
# with names


def _reshape(node: gs.Node, shapes: list[Any], values: list[Any]) -> Shape | None:
    wanted = values[1] if len(values) > 1 else None
    if wanted is None or None in wanted:
        return None
    keep = not node.attrs.get("allowzero", 0)
    sizes = [
        shapes[0][axis] if size == 0 and keep and axis < len(shapes[0]) else size
        for axis, size in enumerate(wanted)
    ]
    if -1 in sizes:
        rest = divide(product(shapes[0]), product(size for size in sizes if size != -1))
        if rest is None:
            return None
        sizes[sizes.index(-1)] = rest
    return tuple(sizes)


def _expand(node: gs.Node, shapes: list[Any], values: list[Any]) -> Shape | None:
    wanted = values[1]
    if wanted is None or None in wanted:
        return None
    rank = max(len(shapes[0]), len(wanted))
    pairs = zip(_padded(shapes[0], rank), _padded(wanted, rank), strict=True)
    sizes: list[Size] = []
    for size, target in pairs:
        if size not in (1, target) and target != 1:
            return None  # whether they are equal is not known
        sizes.append(target if size in (1, target) else size)
    return tuple(sizes)


def _padded(sizes: Any, rank: int) -> list[Size]:
    return [1] * (rank - len(sizes)) + list(sizes)


def _constant_of_shape(node: gs.Node, shapes: list[Any], values: list[Any]) -> Shape | None:
    return None if values[0] is None or None in values[0] else tuple(values[0])


def _flatten(node: gs.Node, shapes: list[Any], values: list[Any]) -> Shape | None:
    axis = node.attrs.get("axis", 1)
    front, back = product(shapes[0][:axis]), product(shapes[0][axis:])
    return None if front is None or back is None else (front, back)


def _tile(node: gs.Node, shapes: list[Any], values: list[Any]) -> Shape | None:
    if values[1] is None or None in values[1]:
        return None
    sizes = [
        symbols.multiply(size, times) for size, times in zip(shapes[0], values[1], strict=True)
    ]
    return None if None in sizes else tuple(sizes)  # type: ignore[arg-type]


def _concat(node: gs.Node, shapes: list[Any], values: list[Any]) -> Shape | None:
    if any(shape is None for shape in shapes):
        return None
    axis = node.attrs["axis"] % len(shapes[0])
    total: Any = 0
    for shape in shapes:
        total = symbols.add(total, shape[axis])
    if total is None:
        return None
    # The other sizes are equal: a number says more than a name.
    sizes = [
        next((shape[i] for shape in shapes if isinstance(shape[i], int)), shapes[0][i])
        for i in range(len(shapes[0]))
    ]
    return (*sizes[:axis], total, *sizes[axis + 1 :])


def _range(node: gs.Node, shapes: list[Any], values: list[Any]) -> Shape | None:
    """Counting up in ones, from 0 to a size with a name."""
    if (
        any(value is None for value in values)
        or numbers(values[0]) != [0]
        or numbers(values[2]) != [1]
    ):
        return None
    return (values[1].item(),) if values[1].item() is not None else None


def _resize(node: gs.Node, shapes: list[Any], values: list[Any]) -> Shape | None:
    """Whole multiples by scales; sizes that are given."""
    if "axes" in node.attrs or node.attrs.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        return None
    if len(values) > 3 and values[3] is not None and None not in values[3]:
        return tuple(values[3])
    scales = node.inputs[min(2, len(node.inputs) - 1)]
    if (
        not isinstance(scales, gs.Constant)
        or any(scale % 1 for scale in scales.values)
        or not scales.values.size
    ):
        return None
    sizes = [
        symbols.multiply(size, int(scale))
        for size, scale in zip(shapes[0], scales.values, strict=True)
    ]
    return None if None in sizes else tuple(sizes)  # type: ignore[arg-type]


_RULES = {
    "Range": _range,
    "Resize": _resize,
    "Reshape": _reshape,
    "Expand": _expand,
    "ConstantOfShape": _constant_of_shape,
    "Flatten": _flatten,
    "Tile": _tile,
    "Concat": _concat,
}
