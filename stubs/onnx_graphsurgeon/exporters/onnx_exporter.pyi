from onnx import NodeProto, TensorProto
from onnx_graphsurgeon.ir.node import Node
from onnx_graphsurgeon.ir.tensor import Constant

class OnnxExporter:
    @staticmethod
    def export_tensor_proto(tensor: Constant) -> TensorProto: ...
    @staticmethod
    def export_node(node: Node) -> NodeProto: ...

def dtype_to_onnx(dtype: object) -> int: ...
