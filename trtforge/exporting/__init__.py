"""Export PyTorch models to ONNX, and compare both.

These modules import torch, so only ``trtforge.stages.export`` imports them, and only when needed.
The way of a model: ``source`` (with ``trust`` and ``weights``) -> ``inputs`` -> ``exporters`` (with
``blame`` for errors) -> ``tidy`` (and ``stated`` for names) -> ``check`` (with ``outputs``).
"""
