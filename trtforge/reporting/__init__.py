"""Report what became of each ONNX node: fused layers, their precision, and pages that show them.

The way of a report: ``inspector``, ``rtx_log`` or ``ort`` read a builder's layers -> ``account``
places every ONNX node -> ``cost`` adds bytes and floors -> ``remarks`` says what stands out ->
``page``, ``markdown`` and ``text`` show it.
"""
