from collections.abc import Callable, Iterator, Sequence

from onnx import ModelProto, OperatorSetIdProto
from onnx_graphsurgeon.ir.node import Node
from onnx_graphsurgeon.ir.tensor import Tensor

class Graph:
    nodes: list[Node]
    inputs: list[Tensor]
    outputs: list[Tensor]
    functions: Sequence[Graph]
    name: str
    doc_string: str
    opset: int
    ir_version: int | None
    import_domains: list[OperatorSetIdProto] | None
    producer_name: str
    producer_version: str
    about: ModelProto  # set and read by trtforge.graph.model alone
    def __init__(
        self,
        nodes: Sequence[Node] | None = None,
        inputs: Sequence[Tensor] | None = None,
        outputs: Sequence[Tensor] | None = None,
        name: str | None = None,
        doc_string: str | None = None,
        opset: int | None = None,
        import_domains: list[OperatorSetIdProto] | None = None,
        producer_name: str | None = None,
        producer_version: str | None = None,
        functions: Sequence[Graph] | None = None,
        ir_version: int | None = None,
    ) -> None: ...
    def cleanup(
        self,
        remove_unused_node_outputs: bool = False,
        recurse_subgraphs: bool = True,
        remove_unused_graph_inputs: bool = False,
        recurse_functions: bool = True,
    ) -> Graph: ...
    def toposort(
        self,
        recurse_subgraphs: bool = True,
        recurse_functions: bool = True,
        mode: str = "full",
    ) -> Graph: ...
    def tensors(self, check_duplicates: bool = False) -> dict[str, Tensor]: ...
    def subgraphs(self, recursive: bool = False) -> Iterator[Graph]: ...
    def fold_constants(
        self,
        fold_shapes: bool = True,
        recurse_subgraphs: bool = True,
        partitioning: str | None = None,
        error_ok: bool = True,
        flatten_subgraphs: bool = True,
        size_threshold: int | None = None,
        should_exclude_node: Callable[[Node], bool] | None = None,
        recurse_functions: bool = True,
    ) -> Graph: ...
    def copy(self, tensor_map: dict[str, Tensor] | None = None) -> Graph: ...
