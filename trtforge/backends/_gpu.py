"""Use the first GPU with pycuda, in its primary context.

ONNX Runtime, PyTorch and TensorRT use the same context.
"""

from __future__ import annotations

from typing import Any

from trtforge.backends.onnxruntime import reason
from trtforge.errors import MachineError


def primary() -> tuple[Any, Any]:
    """Return pycuda's driver module and the primary context, which pycuda frees on one thread only.

    The context lives as long as somebody holds it, which ONNX Runtime's sessions do not.

    Raises:
        MachineError: pycuda or the GPU is missing.
    """
    try:
        from pycuda import driver
    except ImportError as error:
        raise MachineError(
            "working on the GPU needs pycuda", "pip install 'trtforge[gpu]'"
        ) from error
    try:
        driver.init()
        return driver, driver.Device(0).retain_primary_context()
    except driver.Error as error:
        raise MachineError(f"pycuda finds no GPU: {reason(error)}", "check nvidia-smi") from error
