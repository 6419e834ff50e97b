"""An engine of TensorRT's on the GPU: device memory and streams by pycuda, in the primary context.

The primary context is the one that ONNX Runtime and PyTorch use, too: nobody switches contexts.

Polygraphy's TrtRunner does the same, and does not take the place of this: it takes TensorRT or
TensorRT-RTX by an environment variable of the whole process, and where a shape does not fit or the
GPU's memory ends it logs why and raises one exception for all. ``reducing`` uses it, for engines of
any inputs in a process of its own.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from trtforge.backends._gpu import current
from trtforge.backends._trt import Record, logger
from trtforge.errors import ForgeError, MachineError

if TYPE_CHECKING:
    import tensorrt

Buffers = dict[str, tuple[Any, int]]  # device memory and its bytes, by tensor


class Session:
    """Runs an engine of one image input.

    What it holds is freed in this order: device memory, the engine's context, the engine, and
    TensorRT's runtime, which the bindings keep as long as the engine.

    Attributes:
        image: name of the input.
        size: height and width in pixels.
        least_batch: the smallest batch; fewer images are filled up.
        outputs: dimensions of each output without the batch, -1 where they depend on the data.
    """

    def __init__(self, trt: Any, engine: tensorrt.ICudaEngine, origin: str) -> None:
        self._trt, self._origin = trt, origin
        self._buffers: Buffers = {}
        self._allocators: dict[str, Any] = {}
        with current() as self._driver:
            self._stream = self._driver.Stream()
            self._context = execution_context(engine, origin)
        self._engine = engine
        weakref.finalize(self, _free, self._buffers)
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        inputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        if len(inputs) != 1:
            raise ForgeError(
                f"{origin}: has {len(inputs)} inputs; one image input is served",
                "give another engine",
            )
        self.image = inputs[0]
        self._least, best, self._most = (
            tuple(shape) for shape in engine.get_tensor_profile_shape(self.image, 0)
        )
        self.size = (int(best[2]), int(best[3]))
        self.least_batch = int(self._least[0])
        self.outputs = {
            name: tuple(engine.get_tensor_shape(name))[1:] for name in names if name != self.image
        }

    def infer(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Return all outputs by name for float32 images (N, 3, H, W); black images fill up a batch.

        Raises:
            ForgeError: the engine takes no such shape.
            MachineError: the GPU's memory does not suffice, or the GPU fails.
        """
        count = len(images)
        if count < self._least[0]:
            images = np.concatenate(
                [images, np.zeros((self._least[0] - count, *images.shape[1:]), images.dtype)]
            )
        try:
            with current():
                found = self._run(self._context, np.ascontiguousarray(images))
        except self._driver.MemoryError as error:
            raise MachineError(
                f"{self._origin}: the GPU's memory does not suffice for {len(images)} images",
                "free GPU memory, or take a smaller batch",
            ) from error
        return {name: array[:count] for name, array in found.items()}

    def _run(
        self, context: tensorrt.IExecutionContext, images: np.ndarray
    ) -> dict[str, np.ndarray]:
        self.bind(context, images.shape)
        self._driver.memcpy_htod_async(self._buffers[self.image][0], images, self._stream)
        if not context.execute_async_v3(self._stream.handle):
            raise MachineError(
                f"{self._origin}: the engine fails on this GPU", "build it again on this machine"
            )
        found = {}
        for name in self.outputs:
            memory, shape = self._result(context, name)
            found[name] = np.empty(shape, self._trt.nptype(self._engine.get_tensor_dtype(name)))
            if found[name].size:
                self._driver.memcpy_dtoh_async(found[name], memory, self._stream)
        self._stream.synchronize()
        return found

    def bind(self, context: tensorrt.IExecutionContext, shape: tuple[int, ...]) -> None:
        """Give the engine memory for an input of that shape and what comes out.

        Raises:
            ForgeError: the engine takes no such shape.
        """
        if not context.set_input_shape(self.image, shape):
            least, most = ("x".join(map(str, each)) for each in (self._least, self._most))
            raise ForgeError(
                f"{self._origin}: takes {least} to {most}, not {'x'.join(map(str, shape))}",
                "build it for that with --batch and --size",
            )
        for name in (self.image, *self.outputs):
            wanted = tuple(context.get_tensor_shape(name))
            if -1 in wanted:
                self._allocators[name] = _allocator(self._trt, self._driver, self._buffers)
                context.set_output_allocator(name, self._allocators[name])
            else:
                itemsize = np.dtype(self._trt.nptype(self._engine.get_tensor_dtype(name))).itemsize
                size = int(np.prod(wanted)) * itemsize
                context.set_tensor_address(
                    name, int(_reserve(self._driver, self._buffers, name, size))
                )

    def _result(
        self, context: tensorrt.IExecutionContext, name: str
    ) -> tuple[Any, tuple[int, ...]]:
        if name not in self._allocators:
            return self._buffers[name][0], tuple(context.get_tensor_shape(name))
        self._stream.synchronize()
        return self._buffers[name][0], self._allocators[name].shape


def execution_context(engine: tensorrt.ICudaEngine, origin: str) -> tensorrt.IExecutionContext:
    """Return a context that runs an engine.

    Raises:
        MachineError: the GPU's memory does not suffice.
    """
    context = engine.create_execution_context()
    if context is None:
        raise MachineError(
            f"{origin}: the GPU's memory does not suffice to run it", "free GPU memory"
        )
    return context


def deserialize(trt: Any, engine: bytes, origin: str, trusted: bool = False) -> Any:
    """Load an engine.

    Args:
        trusted: may run the code that a version-compatible engine carries.

    Raises:
        MachineError: TensorRT refuses it; with what it says.
    """
    log = logger(trt)
    log.record = Record()
    runtime = trt.Runtime(log)
    if trusted:
        runtime.engine_host_code_allowed = True
    loaded = runtime.deserialize_cuda_engine(engine)
    if loaded is None:
        raise MachineError(f"{origin}: {_why(log.record.errors)}", "build it again on this machine")
    return loaded


def _why(errors: list[str]) -> str:
    text = " ".join(errors)
    if "header.size" in text or "empty memory buffer" in text:
        return "cut short or damaged"
    if "memory" in text.lower() and "out of" in text.lower():
        return "the GPU's memory does not suffice to load it"
    if "Plugin" in text or "plugin" in text:
        return f"needs a plugin that this TensorRT lacks ({errors[0].splitlines()[0]})"
    return f"does not load here ({errors[0].splitlines()[0]})" if errors else "does not load here"


def _reserve(driver: Any, buffers: Buffers, name: str, size: int) -> Any:
    """Return device memory of at least ``size`` bytes, kept for the next time."""
    if buffers.get(name, (None, -1))[1] < size:
        buffers.pop(name, None)  # freed before the larger one is asked for
        buffers[name] = driver.mem_alloc(max(1, size)), size
    return buffers[name][0]


def _free(buffers: Buffers) -> None:
    """Give device memory back, which pycuda does inside its context only."""
    with current():
        buffers.clear()


def _allocator(trt: Any, driver: Any, buffers: Buffers) -> Any:
    class Allocator(trt.IOutputAllocator):  # type: ignore[misc]
        """Memory for an output whose size only the data decides."""

        def __init__(self) -> None:
            trt.IOutputAllocator.__init__(self)
            self.shape: tuple[int, ...] = ()

        def reallocate_output(
            self, tensor_name: str, memory: int, size: int, alignment: int
        ) -> int:
            try:
                return int(_reserve(driver, buffers, tensor_name, size))
            except driver.MemoryError:
                # an exception thrown into TensorRT would end the process; it reports this as
                # failure
                return 0

        def reallocate_output_async(
            self, tensor_name: str, memory: int, size: int, alignment: int, stream: int
        ) -> int:
            return self.reallocate_output(tensor_name, memory, size, alignment)

        def notify_shape(self, tensor_name: str, shape: Any) -> None:
            self.shape = tuple(int(side) for side in shape)

    return Allocator()
