"""FP16: which tensors become half floats and which stay FP32."""
