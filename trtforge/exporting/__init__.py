"""From PyTorch to ONNX. These modules import torch, so only ``trtforge.stages.export`` imports
them, and late.
"""
