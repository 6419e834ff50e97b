"""TensorRT for RTX: NVIDIA's builder that makes engines ahead of time, for another GPU or with none at hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from trtforge.backends import _trt
from trtforge.devices import RTX_SERVES, Device
from trtforge.errors import MachineError

INSTALL = "pip install 'trtforge[rtx]'"


def module() -> Any:
    """The bindings.

    Raises:
        MachineError: they are not installed.
    """
    try:
        import tensorrt_rtx
    except ImportError as error:
        raise MachineError("TensorRT-RTX is not installed", INSTALL) from error
    return tensorrt_rtx


def refuses(device: Device) -> str:
    """Why no engine can be built for that device; empty if it can.

    One sentence, that names the devices that are served by their compute capability.
    """
    if device.rtx_serves:
        return ""
    served = ", ".join(f"SM{sm}" for sm in sorted(RTX_SERVES))
    return f"TensorRT-RTX builds for {served}; {device.title} is SM{device.sm}"


def build(
    model: Path,
    *,
    sm: int,
    batch: tuple[int, int, int],
    size: tuple[int, int],
    workspace: int | None,
    progress: Callable[[float], None],
) -> tuple[bytes, _trt.Record]:
    """An engine for one compute capability, such as 89. Arguments and errors as of ``_trt.build``."""
    trt = module()
    return _trt.build(
        trt, model, batch=batch, size=size, workspace=workspace, configure=target(trt, sm), progress=progress
    )


def target(trt: Any, sm: int) -> Callable[[Any], None]:
    """Sets the one compute capability on a builder config."""

    def configure(config: Any) -> None:
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(trt.ComputeCapability, f"SM{sm}"), 0)

    return configure


def compute_capabilities(engine: bytes) -> list[int]:
    """The compute capabilities in an engine's header, such as [86, 89]; empty if it is no TensorRT-RTX engine.

    The header is 64 bytes: magic ``vtrt``, and at byte 32 a mask of the targets, lowest bit SM75.
    """
    if len(engine) < 64 or engine[:4] != b"vtrt":
        return []
    mask = int.from_bytes(engine[32:36], "little")
    return [sm for bit, sm in enumerate(sorted(RTX_SERVES)) if mask >> bit & 1]
