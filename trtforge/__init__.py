"""trtforge takes a model from PyTorch to the edge: fold, calibrate, quantize, patch, build, bundle."""

__version__ = "0.1.0"
