"""Find learned operators for which no builder has a right INT8 kernel."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from trtforge.graph.tensors import fixed_shape

# A product whose numbers of inputs and outputs are no multiples of this gets a kernel that adds
# without scales, and writes the sums as FP16.
ALIGNED = 16
SUMS_THAT_FIT = 32  # inputs: of so few integers up to 127, the sums hardly leave FP16's range


def is_unserved(node: gs.Node) -> bool:
    """Tell whether a learned operator stays float, because builders compute it wrong or in float.

    Seen with TensorRT 10.6 on an H200 where the rest of the graph is FP16
    (``benchmarks/gpu_numbers.py``): a ConvTranspose is refused, and the heads of RT-DETR, products
    of 128 inputs with 10 classes or 4 sides of a box, give infinite numbers. TensorRT-RTX 1.7
    computes a ConvTranspose in FP16 and dequantizes its weights at run time.
    """
    if node.op == "ConvTranspose":
        return True
    if node.op not in ("MatMul", "Gemm"):
        return False
    shape = fixed_shape(node.inputs[1])
    inputs, outputs = shape[-2:] if len(shape) > 1 else (shape[0], 1)
    if node.attrs.get("transB"):
        inputs, outputs = outputs, inputs
    return bool(inputs > SUMS_THAT_FIT and (inputs % ALIGNED or outputs % ALIGNED))
