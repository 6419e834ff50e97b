"""Which backend builds for which device, on this machine."""

from __future__ import annotations

from importlib.util import find_spec

from trtforge.backends import tensorrt, tensorrt_rtx
from trtforge.devices import Device, this_machine
from trtforge.errors import ForgeError, MachineError
from trtforge.job import BACKENDS, Backend, Target

NO_GPU = (
    "no GPU here and no --device: building for this CPU with onnxruntime. "
    "For a TensorRT engine name the target, e.g. --device rtx-4090 (see `trtforge devices`)"
)


def target(backend: str, device: Device | None) -> tuple[Target, str]:
    """The target that the options mean, and a line for the user where that is not obvious.

    Args:
        backend: auto, or a backend's name.
        device: the one named, or None: this machine's.

    Raises:
        ForgeError: no backend of that name.
        MachineError: the backend can't build for the device here.
    """
    if backend not in ("auto", *BACKENDS):
        raise ForgeError(f"there is no backend called {backend!r}", f"one of: auto, {', '.join(BACKENDS)}")
    if backend == "onnxruntime":
        return Target("onnxruntime", device), ""
    here = this_machine()
    wanted = device or here
    if wanted is None:
        if backend == "auto":
            return Target("onnxruntime", None), NO_GPU
        hint = "name the target with --device" if backend == "tensorrt-rtx" else "run it on the target"
        raise MachineError(f"no GPU on this machine to build for with {backend}", hint)
    if backend == "tensorrt-rtx":
        return Target(_rtx(wanted), wanted), ""
    why = tensorrt.refuses(wanted, here)
    if backend == "tensorrt" and why:
        raise MachineError(why, _elsewhere(wanted))
    if not why and (backend == "tensorrt" or find_spec("tensorrt")):
        tensorrt.module()
        return Target("tensorrt", wanted), ""
    return Target(_rtx(wanted), wanted), ""


def _rtx(device: Device) -> Backend:
    if why := tensorrt_rtx.refuses(device):
        raise MachineError(why, _elsewhere(device))
    if find_spec("tensorrt_rtx") is None:
        raise MachineError(f"no builder for {device.title} on this machine: TensorRT-RTX is not installed",
                           tensorrt_rtx.INSTALL)  # fmt: skip
    return "tensorrt-rtx"


def _elsewhere(device: Device) -> str:
    return (f"run `trtforge prepare ... --device {device.name}` here, and `trtforge build PREPARED/` on the "
            f"{device.title}")  # fmt: skip
