"""TensorRT's own calibration cache: a text table of scales that TensorRT 10 and older, and nvinfer, read."""

from __future__ import annotations

import struct
from collections.abc import Mapping

ALGORITHMS = {"entropy": "EntropyCalibration2", "percentile": "EntropyCalibration2", "minmax": "MinMaxCalibration"}


def write(amax: Mapping[str, float], method: str, tensorrt: str) -> str:
    """The cache's text.

    Each line is a tensor's name, a colon, and the big-endian bits of its float32 scale, ``amax / 127``, in hex. A
    tensor that was always zero is left out: TensorRT takes no scale of 0.

    Args:
        amax: range of each tensor.
        method: our method; TensorRT knows the algorithm by its calibrator's name and checks it in the header.
        tensorrt: the version that will read it, such as ``10.16.0``: it recalibrates at any other.
    """
    scales = {name: struct.pack(">f", value / 127) for name, value in amax.items()}
    rows = [f"{name}: {bits.hex()}" for name, bits in scales.items() if any(bits)]
    return "\n".join([f"TRT-{version_number(tensorrt)}-{ALGORITHMS[method]}", *rows]) + "\n"


def read(text: str) -> dict[str, float]:
    """Ranges from a cache's text, whoever wrote it: names may hold colons, so the last one counts."""
    rows = [line.rpartition(": ") for line in text.splitlines() if ": " in line]
    return {name: struct.unpack(">f", bytes.fromhex(bits[:8]))[0] * 127 for name, _, bits in rows}


def version_number(version: str) -> int:
    """TensorRT's one number for a version: 8.5.2 -> 8502, 10.3.0 -> 100300."""
    major, minor, patch = ([int(part) for part in version.split(".")[:3]] + [0, 0])[:3]
    return major * 10000 + minor * 100 + patch if major >= 10 else major * 1000 + minor * 100 + patch
