"""The NVIDIA driver and the GPU that it runs, asked through the driver's own library."""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass
from pathlib import Path

from trtforge.errors import MachineError

MAJOR, MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR of cuda.h


@dataclass(frozen=True)
class Machine:
    """The first GPU.

    Attributes:
        gpu: its name.
        sm: compute capability, such as 87.
        driver: version, such as 595.58.03; empty where it is not told.
        cuda: newest CUDA that the driver serves, such as 13.2.
    """

    gpu: str
    sm: int
    driver: str
    cuda: str


def machine() -> Machine:
    """This machine's.

    Raises:
        MachineError: no driver, or no GPU.
    """
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise MachineError(
            "no NVIDIA driver on this machine (libcuda.so.1)", "run on the target GPU"
        ) from error
    device, name = ctypes.c_int(), ctypes.create_string_buffer(256)
    version, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    failed = driver.cuInit(0) or driver.cuDeviceGet(ctypes.byref(device), 0)
    failed = failed or driver.cuDeviceGetName(name, len(name), device)
    failed = failed or driver.cuDeviceGetAttribute(ctypes.byref(major), MAJOR, device)
    failed = failed or driver.cuDeviceGetAttribute(ctypes.byref(minor), MINOR, device)
    failed = failed or driver.cuDriverGetVersion(ctypes.byref(version))
    if failed:
        raise MachineError(
            f"the NVIDIA driver finds no GPU (CUDA error {failed})", "check nvidia-smi"
        )
    return Machine(
        name.value.decode(errors="replace"),
        10 * major.value + minor.value,
        _driver_version(),
        f"{version.value // 1000}.{version.value % 1000 // 10}",
    )


def _driver_version() -> str:
    for file in ("/sys/module/nvidia/version", "/proc/driver/nvidia/version"):
        try:
            text = Path(file).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        if found := re.search(r"\d+\.\d+(\.\d+)?", text):
            return found[0]
    return ""
