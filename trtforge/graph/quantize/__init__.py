"""INT8 and FP8: where Q/DQ nodes go, how weights are rounded, and which tensors are calibrated."""
