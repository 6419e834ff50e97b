"""Write and read TensorRT's calibration cache: a text table of one scale per tensor.

TensorRT up to version 10 and DeepStream's nvinfer read it.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping

from trtforge.errors import ForgeError

MAGIC = "TRT-"
ALGORITHMS = ("EntropyCalibration2", "MinMaxCalibration")
# The range of a tensor that was always zero. Its scale is the smallest positive FP16 number, the same
# as in the Q/DQ graph.
ZERO_RANGE = 127 * 2.0**-24


def render(amax: Mapping[str, float], tensorrt: str, algorithm: str = ALGORITHMS[0]) -> str:
    """Return the text of a cache.

    Each line is a tensor's name, a colon, and the big-endian bits of its float32 scale, ``amax /
    127``, in hexadecimal. TensorRT refuses a scale of 0, and computes in float around a tensor that
    is not in the cache.

    Args:
        amax: largest magnitude of each tensor.
        tensorrt: version of the TensorRT that will read it, such as ``10.16.0``: any other version
            ignores the cache and calibrates again.
        algorithm: name of the calibrator that will read it, because TensorRT compares the names; it
            need not be how the ranges were computed.

    Raises:
        ForgeError: a tensor's name contains a line break.
    """
    broken = next((name for name in amax if "\n" in name or "\r" in name), None)
    if broken is not None:
        raise ForgeError(
            f"a calibration cache can't hold the tensor name {broken!r}",
            "rename the tensor in the model",
        )
    lines = [f"{MAGIC}{version_number(tensorrt)}-{algorithm}"]
    for name, value in amax.items():
        scale = (round_range(value) or ZERO_RANGE) / 127
        lines.append(f"{name}: {struct.pack('>f', scale).hex()}")
    return "\n".join(lines) + "\n"


def parse(text: str) -> dict[str, float]:
    """Return the ranges in the text of a cache, written by trtforge or by another tool.

    Names may contain colons, so a line is split at its last colon.

    Raises:
        ValueError: a scale is not a hexadecimal number of up to eight digits.
    """
    rows = [line.rpartition(": ") for line in text.split("\n")[1:] if ": " in line]
    return {name: _float_of_bits(bits.strip()) * 127 for name, _, bits in rows}


def round_range(amax: float) -> float:
    """Return the nearest range whose scale, ``amax / 127``, is a float32."""
    (scale,) = struct.unpack(">f", struct.pack(">f", amax / 127))
    return float(scale) * 127


def _float_of_bits(bits: str) -> float:
    if not re.fullmatch("[0-9a-fA-F]{1,8}", bits):
        raise ValueError(f"not a scale: {bits[:20]!r}")
    (value,) = struct.unpack(">f", bytes.fromhex(bits.zfill(8)))
    return float(value)


def version_number(version: str) -> int:
    """Return TensorRT's number for a version: 8.5.2 -> 8502, 10.3.0 -> 100300.

    The bindings' own versions may end in a release of the package alone: 10.6.0.post1.

    Raises:
        ForgeError: the text is not a version.
    """
    if not re.fullmatch(r"[0-9]{1,2}(\.[0-9]{1,3}){1,3}(\.post[0-9]{1,3})?", version):
        raise ForgeError(
            f"{version!r} is not a version of TensorRT", "give for example 8.5.2, or 10.16"
        )
    numbers = [int(part) for part in version.partition(".post")[0].split(".")]
    major, minor, patch = [*numbers, 0][:3]
    # TensorRT 10 changed the number's form (NV_TENSORRT_VERSION in NvInferVersion.h).
    thousands = 10000 if major >= 10 else 1000
    return major * thousands + minor * 100 + patch
