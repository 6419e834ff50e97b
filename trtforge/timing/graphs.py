"""CUDA graphs by the driver's own library: the work of a stream, recorded once and launched again."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

from trtforge.errors import MachineError

RELAXED = 2  # CU_STREAM_CAPTURE_MODE_RELAXED: what TensorRT allocates meanwhile is no error


class CudaGraph:
    """What a function enqueues on a stream.

    It is made, launched and closed in a block of ``_gpu.current``, and its function must have run
    before: what is loaded lazily can't be recorded.

    Raises:
        MachineError: the work can't be recorded.
    """

    def __init__(self, stream: int, enqueue: Callable[[], None]) -> None:
        self._driver = ctypes.CDLL("libcuda.so.1")
        self._stream = ctypes.c_void_p(stream)
        self._recorded, self._executable = ctypes.c_void_p(), ctypes.c_void_p()
        self._call("cuStreamBeginCapture_v2", self._stream, ctypes.c_int(RELAXED))
        try:
            enqueue()
        finally:  # a stream that is left recording can't be used or freed
            self._call("cuStreamEndCapture", self._stream, ctypes.byref(self._recorded))
        self._call(
            "cuGraphInstantiateWithFlags",
            ctypes.byref(self._executable),
            self._recorded,
            ctypes.c_ulonglong(0),
        )

    def launch(self) -> None:
        """Enqueue the recorded work on its stream."""
        self._call("cuGraphLaunch", self._executable, self._stream)

    def close(self) -> None:
        """Free the graph, before the memory and the engine that it works on."""
        self._call("cuGraphExecDestroy", self._executable)
        self._call("cuGraphDestroy", self._recorded)

    def _call(self, name: str, *arguments: object) -> None:
        if error := getattr(self._driver, name)(*arguments):
            raise MachineError(
                f"the engine can't run as a CUDA graph ({name}: CUDA error {error})",
                "--no-cuda-graph",
            )
