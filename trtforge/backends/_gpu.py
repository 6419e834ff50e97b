"""Use the first GPU with pycuda, in its primary context.

ONNX Runtime, PyTorch and TensorRT use the same context.

Every piece of work on the GPU is a block ``with current()``. pycuda ends the process where a thread
ends inside its context, and frees nothing where the context is not the thread's: so no thread stays
inside, and memory is given back inside a block.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from trtforge.backends.onnxruntime import reason
from trtforge.errors import MachineError


@contextmanager
def current() -> Iterator[Any]:
    """Make the primary context this thread's while the block runs.

    Yields:
        pycuda's driver module.

    Raises:
        MachineError: pycuda or the GPU is missing.
    """
    driver, context = _primary()
    context.push()
    try:
        yield driver
    finally:
        context.pop()


@functools.cache
def _primary() -> tuple[Any, Any]:
    """Return pycuda's driver module and the primary context, which lives as long as this process."""
    try:
        from pycuda import driver
    except ImportError as error:
        raise MachineError(
            "pycuda, which holds device memory, is not installed",
            "pip install 'trtforge[tensorrt]'",
        ) from error
    try:
        driver.init()
        return driver, driver.Device(0).retain_primary_context()
    except driver.Error as error:
        raise MachineError(f"pycuda finds no GPU: {reason(error)}", "check nvidia-smi") from error
