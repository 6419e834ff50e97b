"""TensorRT's own calibration cache: a text table of scales that TensorRT 10 and older, and nvinfer,
read.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping

from trtforge.errors import ForgeError

MAGIC = "TRT-"
ALGORITHMS = ("EntropyCalibration2", "MinMaxCalibration")
LEAST = (
    127 * 2.0**-24
)  # range of a tensor that was always zero: the scale that Q/DQ gives it, FP16's smallest


def render(amax: Mapping[str, float], tensorrt: str, algorithm: str = ALGORITHMS[0]) -> str:
    """The cache's text.

    Each line is a tensor's name, a colon, and the big-endian bits of its float32 scale, ``amax /
    127``, in hex. TensorRT takes no scale of 0, and computes in float around a tensor that is left
    out.

    Args:
        amax: range of each tensor.
        tensorrt: the version that will read it, such as ``10.16.0``: it recalibrates at any other.
        algorithm: the calibrator that will read it, whatever made the ranges: TensorRT compares
            names.

    Raises:
        ForgeError: a name holds a line break.
    """
    broken = next((name for name in amax if "\n" in name or "\r" in name), None)
    if broken is not None:
        raise ForgeError(
            f"a calibration cache can't hold the tensor name {broken!r}", "rename it in the model"
        )
    rows = [
        f"{name}: {struct.pack('>f', (round_range(value) or LEAST) / 127).hex()}"
        for name, value in amax.items()
    ]
    return "\n".join([f"{MAGIC}{version_number(tensorrt)}-{algorithm}", *rows]) + "\n"


def parse(text: str) -> dict[str, float]:
    """Ranges from a cache's text, whoever wrote it: names may hold colons, so the last one counts.

    Raises:
        ValueError: a scale is no hexadecimal number of up to eight digits.
    """
    rows = [line.rpartition(": ") for line in text.split("\n")[1:] if ": " in line]
    return {name: _float(bits.strip()) * 127 for name, _, bits in rows}


def round_range(amax: float) -> float:
    """The range whose scale is the nearest float32."""
    scale: float = struct.unpack(">f", struct.pack(">f", amax / 127))[0]
    return scale * 127


def _float(bits: str) -> float:
    if not re.fullmatch("[0-9a-fA-F]{1,8}", bits):
        raise ValueError(f"not a scale: {bits[:20]!r}")
    found: float = struct.unpack(">f", bytes.fromhex(bits.zfill(8)))[0]
    return found


def version_number(version: str) -> int:
    """TensorRT's one number for a version: 8.5.2 -> 8502, 10.3.0 -> 100300.

    Raises:
        ForgeError: it is no version.
    """
    if not re.fullmatch(r"[0-9]{1,2}(\.[0-9]{1,3}){1,3}", version):
        raise ForgeError(f"{version!r} is no version of TensorRT", "for example 8.5.2, or 10.16")
    major, minor, patch = ([int(part) for part in version.split(".")[:3]] + [0, 0])[:3]
    return (
        major * 10000 + minor * 100 + patch if major >= 10 else major * 1000 + minor * 100 + patch
    )
