"""A stream of the first GPU by pycuda, and ONNX Runtime's CUDA provider on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trtforge.backends._gpu import current
from trtforge.backends.onnxruntime import reason
from trtforge.errors import ForgeError, MachineError
from trtforge.timing import inputs
from trtforge.timing.measure import Runner
from trtforge.timing.onnxruntime_cpu import feeds, session

if TYPE_CHECKING:
    import onnxruntime

CLOCK = "CUDA events on the stream of the network"
NON_BLOCKING = (
    1  # CU_STREAM_NON_BLOCKING: the legacy default stream, which others use, holds nothing up
)


class Stream:
    """A CUDA stream with its two events, in the primary context.

    Raises:
        MachineError: pycuda or the GPU is missing.
    """

    def __init__(self) -> None:
        with current() as self.driver:
            self._stream = self.driver.Stream(NON_BLOCKING)
            self._start, self._stop = self.driver.Event(), self.driver.Event()
        self.handle = int(self._stream.handle)

    def timed(self, enqueue: Callable[[], None], count: int) -> float:
        """Seconds between two events around ``count`` enqueued passes."""
        with current():
            self._start.record(self._stream)
            for _ in range(count):
                enqueue()
            self._stop.record(self._stream)
            self._stop.synchronize()
            return float(self._start.time_till(self._stop)) / 1e3

    def buffers(self, shapes: Mapping[str, tuple[inputs.Shape, Any]]) -> dict[str, Buffer]:
        """Memory on host and device for tensors of a shape and a datatype each."""
        with current():
            return {name: Buffer(self.driver, self._stream, *each) for name, each in shapes.items()}

    def passes(
        self,
        enqueue: Callable[[], None],
        buffers: dict[str, Buffer],
        before: list[Buffer],
        after: list[Buffer],
        close: Callable[[], None],
    ) -> Runner:
        """Return a runner that copies ``before`` to the device, runs, and copies ``after`` back.

        Args:
            buffers: all memory that the passes work on; freed when the runner is closed.
            close: frees what works on that memory.
        """

        def one() -> None:
            for buffer in before:
                buffer.upload()
            enqueue()
            for buffer in after:
                buffer.download()

        def free() -> None:
            with current():
                close()
                for held in (buffers, before, after):
                    held.clear()
                del self._stream, self._start, self._stop

        return Runner(lambda count: self.timed(one, count), CLOCK, queues=True, close=free)


class Buffer:
    """A tensor's memory on the device, and page-locked memory of the same size beside it."""

    def __init__(self, driver: Any, stream: Any, shape: inputs.Shape, dtype: Any) -> None:
        self.host = driver.pagelocked_empty(shape, dtype)
        self.device = driver.mem_alloc(max(1, self.host.nbytes))
        self._driver, self._stream = driver, stream

    def upload(self) -> None:
        self._driver.memcpy_htod_async(self.device, self.host, self._stream)

    def download(self) -> None:
        self._driver.memcpy_dtoh_async(self.host, self.device, self._stream)


def opener(
    model: Path, batch: int, size: tuple[int, int] | None, *, graph: bool, transfers: bool
) -> Callable[[], Runner]:
    """Opens runners of an ONNX file on the GPU, a session and a stream each.

    Inputs and outputs are bound to device memory at fixed addresses, so that a CUDA graph can be
    replayed.

    Args:
        graph: as a CUDA graph, by ONNX Runtime's own ``enable_cuda_graph``.
        transfers: copy the inputs to the device and the outputs back, within the time.

    Raises:
        ForgeError: the model can't be run at this batch size, or not as a CUDA graph.
        MachineError: no GPU that ONNX Runtime and pycuda can use.
    """

    def open_runner() -> Runner:
        stream = Stream()
        engine = cuda_session(model, stream.handle, graph)
        arrays = feeds(engine, batch, size)
        known = output_shapes(engine, arrays) or _seen_shapes(model, arrays)
        given = stream.buffers({name: (array.shape, array.dtype) for name, array in arrays.items()})
        made = stream.buffers(known)
        binding = engine.io_binding()
        with current():
            for name, array in arrays.items():
                given[name].host[...] = array
                given[name].upload()
                binding.bind_input(
                    name, "cuda", 0, array.dtype, array.shape, int(given[name].device)
                )
            for name, (shape, dtype) in known.items():
                binding.bind_output(name, "cuda", 0, dtype, shape, int(made[name].device))
            try:
                engine.run_with_iobinding(binding)  # captures the graph, and waits for the device
            except Exception as error:  # ONNX Runtime raises classes of its own
                raise ForgeError(
                    f"{model}: fails at batch {batch} on the GPU: {reason(error)}",
                    "try --no-cuda-graph, or a smaller --batch",
                ) from error
        options = _unsynchronized()
        before, after = (list(given.values()), list(made.values())) if transfers else ([], [])

        def enqueue() -> None:
            engine.run_with_iobinding(binding, options)

        def close() -> None:
            """Close the session before the stream that it works on.

            What passes need on the host, ONNX Runtime frees behind the next synchronized one; a
            session that is deleted with some left frees it in a callback of CUDA's, where that is
            forbidden, and aborts the process.
            """
            nonlocal engine, binding
            engine.run_with_iobinding(binding)
            del binding, engine

        return stream.passes(enqueue, given | made, before, after, close)

    return open_runner


def cuda_session(model: Path, stream: int, graph: bool) -> onnxruntime.InferenceSession:
    """Open a session on the first GPU that works on a stream, with ONNX Runtime's own defaults.

    Raises:
        ForgeError: ONNX Runtime can't load the model, or not as a CUDA graph.
        MachineError: ONNX Runtime falls back to the CPU.
    """
    options = {"user_compute_stream": str(stream), "enable_cuda_graph": "1" if graph else "0"}
    engine = session(model, [("CUDAExecutionProvider", options), "CPUExecutionProvider"])
    if "CUDAExecutionProvider" not in engine.get_providers():
        raise MachineError(
            "ONNX Runtime found no CUDA that it can use",
            "install onnxruntime-gpu, or use --provider cpu",
        )
    return engine


def output_shapes(
    engine: onnxruntime.InferenceSession, arrays: Mapping[str, np.ndarray]
) -> dict[str, tuple[inputs.Shape, Any]]:
    """Return shapes and types of the outputs; empty where a shape depends on the data."""
    dims = [
        pair
        for each in engine.get_inputs()
        for pair in zip(each.shape, arrays[each.name].shape, strict=True)
    ]
    names = {dim: real for dim, real in dims if isinstance(dim, str)}
    shapes: dict[str, tuple[inputs.Shape, Any]] = {}
    for output in engine.get_outputs():
        sides = [names.get(dim, dim) if isinstance(dim, str) else dim for dim in output.shape]
        fixed = tuple(side for side in sides if isinstance(side, int) and side >= 0)
        if output.type not in inputs.NUMPY or len(fixed) < len(sides):
            return {}
        shapes[output.name] = (fixed, np.dtype(inputs.NUMPY[output.type]))
    return shapes


def _seen_shapes(model: Path, arrays: dict[str, np.ndarray]) -> dict[str, tuple[inputs.Shape, Any]]:
    """Return the shapes and types that the model gives for the inputs which are timed."""
    engine = session(model)
    outputs = engine.run(None, arrays)
    return {
        each.name: (array.shape, array.dtype)
        for each, array in zip(engine.get_outputs(), outputs, strict=True)
    }


def _unsynchronized() -> onnxruntime.RunOptions:
    """Passes are only enqueued; the event behind the last one is waited for."""
    import onnxruntime as ort

    options = ort.RunOptions()
    options.add_run_config_entry("disable_synchronize_execution_providers", "1")
    return options
