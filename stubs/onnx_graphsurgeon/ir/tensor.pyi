from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto
from onnx_graphsurgeon.ir.node import Node

# Constants hold numbers of any type: what an array holds is known only where it is read.
Array = NDArray[Any]
# A side of a dynamic shape is a name; a side that nothing is known about is None.
Shape = list[int | str | None] | tuple[int | str | None, ...]

class Tensor:
    """A value of a graph: an input, an output, a constant, or what a node computes.

    ``inputs`` are the nodes that write it, ``outputs`` those that read it, once for each time.
    """

    name: str
    type: str
    inputs: list[Node]
    outputs: list[Node]
    @property
    def shape(self) -> Shape | None: ...
    @shape.setter
    def shape(self, shape: Shape | None) -> None: ...
    # None where nothing is known: code asks before it relies on a type.
    @property
    def dtype(self) -> np.dtype[Any]: ...
    @dtype.setter
    def dtype(self, dtype: object) -> None: ...
    def is_empty(self) -> bool: ...
    def to_constant(self, values: Array | LazyValues) -> Constant: ...
    def to_variable(self, dtype: object = None, shape: Shape | None = None) -> Variable: ...

class Variable(Tensor):
    def __init__(
        self,
        name: str,
        dtype: object = None,
        shape: Shape | None = None,
    ) -> None: ...
    @staticmethod
    def empty() -> Variable: ...

class LazyValues:
    """The values of a constant that are read from the file when they are needed."""

    tensor: TensorProto
    shape: list[int]
    dtype: np.dtype[Any]
    nbytes: int
    def __init__(self, tensor: TensorProto) -> None: ...
    def load(self) -> Array: ...

class Constant(Tensor):
    data_location: int | None
    export_dtype: object
    _values: Array | LazyValues
    @property
    def shape(self) -> tuple[int, ...]: ...
    @shape.setter
    def shape(self, shape: Shape | None) -> None: ...
    def __init__(
        self,
        name: str,
        values: Array | LazyValues,
        data_location: int | None = None,
        export_dtype: object = None,
    ) -> None: ...
    @property
    def values(self) -> Array: ...
    @values.setter
    def values(self, values: Array | LazyValues) -> None: ...
