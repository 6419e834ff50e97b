from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, TypeVar, overload

from onnx_graphsurgeon.ir.tensor import Tensor

_T = TypeVar("_T")

class Attributes(OrderedDict[str, Any]):
    """The attributes of a node, by name.

    What an attribute holds depends on the operator; where a default is given, it has the type of
    the default.
    """

    @overload
    def get(self, key: str, default: None = None, /) -> Any: ...
    @overload
    def get(self, key: str, default: _T, /) -> _T: ...

class Node:
    """An operator. An optional input that is left out is a tensor that is empty."""

    op: str
    name: str
    domain: str | None
    @property
    def attrs(self) -> Attributes: ...
    @attrs.setter
    def attrs(self, attributes: dict[str, Any]) -> None: ...
    @property
    def inputs(self) -> list[Tensor]: ...
    @inputs.setter
    def inputs(self, tensors: Sequence[Tensor]) -> None: ...
    @property
    def outputs(self) -> list[Tensor]: ...
    @outputs.setter
    def outputs(self, tensors: Sequence[Tensor]) -> None: ...
    def __init__(
        self,
        op: str,
        name: str | None = None,
        attrs: dict[str, Any] | None = None,
        inputs: Sequence[Tensor] | None = None,
        outputs: Sequence[Tensor] | None = None,
        domain: str | None = None,
    ) -> None: ...
    def i(self, tensor_idx: int = 0, producer_idx: int = 0) -> Node: ...
    def o(self, consumer_idx: int = 0, tensor_idx: int = 0) -> Node: ...
    def copy(
        self,
        inputs: Sequence[Tensor] | None = None,
        outputs: Sequence[Tensor] | None = None,
        tensor_map: dict[str, Tensor] | None = None,
    ) -> Node: ...
