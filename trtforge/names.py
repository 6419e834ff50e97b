"""Names that options, recipes, manifests and files share: precisions, backends, file names."""

from __future__ import annotations

from typing import Literal

Precision = Literal["fp32", "fp16", "int8", "fp8"]
QUANTIZED = ("int8", "fp8")  # the precisions that need a calibration

Backend = Literal["tensorrt", "tensorrt-rtx", "onnxruntime"]
BACKENDS: tuple[Backend, ...] = ("tensorrt", "tensorrt-rtx", "onnxruntime")

# explicit: Q/DQ nodes in the graph; implicit: TensorRT 10 and older quantize by a calibration cache
INT8_MODES = ("explicit", "implicit")

TABLE = "calibration.json"  # our table of ranges
CACHE = "calibration.cache"  # the same ranges, as TensorRT's calibrators write them

# Endings of the files that are taken for images.
IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
