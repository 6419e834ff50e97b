"""What became of each ONNX node: fused layers, their precision, and pages that show them."""
