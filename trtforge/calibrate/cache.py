"""TensorRT's own calibration cache: a text table of scales that TensorRT 10 and older, and nvinfer, read."""

from __future__ import annotations

import struct
from collections.abc import Mapping

MAGIC = "TRT-"
ALGORITHMS = ("EntropyCalibration2", "MinMaxCalibration")


def write(amax: Mapping[str, float], tensorrt: str, algorithm: str = ALGORITHMS[0]) -> str:
    """The cache's text.

    Each line is a tensor's name, a colon, and the big-endian bits of its float32 scale, ``amax / 127``, in hex. A
    tensor that was always zero is left out: TensorRT takes no scale of 0.

    Args:
        amax: range of each tensor.
        tensorrt: the version that will read it, such as ``10.16.0``: it recalibrates at any other.
        algorithm: the calibrator that will read it, whatever made the ranges: TensorRT compares names.
    """
    scales = {name: struct.pack(">f", value / 127) for name, value in amax.items()}
    rows = [f"{name}: {bits.hex()}" for name, bits in scales.items() if any(bits)]
    return "\n".join([f"{MAGIC}{version_number(tensorrt)}-{algorithm}", *rows]) + "\n"


def read(text: str) -> dict[str, float]:
    """Ranges from a cache's text, whoever wrote it: names may hold colons, so the last one counts.

    Raises:
        ValueError: a scale is not eight hexadecimal digits.
    """
    rows = [line.rpartition(": ") for line in text.split("\n")[1:] if ": " in line]
    return {name: struct.unpack(">f", bytes.fromhex(bits[:8]))[0] * 127 for name, _, bits in rows}


def version_number(version: str) -> int:
    """TensorRT's one number for a version: 8.5.2 -> 8502, 10.3.0 -> 100300."""
    major, minor, patch = ([int(part) for part in version.split(".")[:3]] + [0, 0])[:3]
    return major * 10000 + minor * 100 + patch if major >= 10 else major * 1000 + minor * 100 + patch
