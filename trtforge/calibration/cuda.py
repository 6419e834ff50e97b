"""Count histograms on the GPU: ONNX Runtime's outputs stay there, and only counts leave it."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from trtforge.backends import onnxruntime
from trtforge.backends._gpu import current
from trtforge.calibration.histogram import Histogram, empty, limit_above
from trtforge.calibration.loops import BINS
from trtforge.errors import MachineError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, OrtValue

MAX_COUNTED = 2**32 - 1  # values of one tensor between two flushes: counters have 32 bits
THREADS = 256
BLOCKS = 1024
# In C and CUDA, which pycuda compiles with nvcc when the first network is opened.
KERNELS = """
extern "C" __global__ void largest(const unsigned *bits, unsigned long long size, unsigned *found)
{
    // found[0]: largest finite magnitude as a bit pattern (bit patterns sort as the floats do);
    // found[1]: 1 after NaN or infinity
    unsigned most = 0, bad = 0;
    for (unsigned long long at = blockIdx.x * (unsigned long long)blockDim.x + threadIdx.x; at < size;
         at += gridDim.x * (unsigned long long)blockDim.x) {
        unsigned pattern = bits[at] & 0x7FFFFFFFu;
        if (pattern < 0x7F800000u) most = max(most, pattern);
        else bad = 1;
    }
    for (int step = 16; step; step >>= 1) {
        most = max(most, __shfl_xor_sync(0xFFFFFFFFu, most, step));
        bad |= __shfl_xor_sync(0xFFFFFFFFu, bad, step);
    }
    if (threadIdx.x % 32 == 0) {
        atomicMax(found, most);
        if (bad) atomicOr(found + 1, 1u);
    }
}

extern "C" __global__ void count(const float *values, unsigned long long size, float per_unit, unsigned *counts)
{
    __shared__ unsigned local[BINS];
    for (int bin = threadIdx.x; bin < BINS; bin += blockDim.x) local[bin] = 0;
    __syncthreads();
    unsigned zeros = 0;  // after a ReLU most values are zero, and would all wait for one counter
    for (unsigned long long at = blockIdx.x * (unsigned long long)blockDim.x + threadIdx.x; at < size;
         at += gridDim.x * (unsigned long long)blockDim.x) {
        float position = fabsf(values[at]) * per_unit;
        if (position < 1.0f) ++zeros;
        else if (position < (float)BINS) atomicAdd(local + (unsigned)position, 1u);
    }
    if (zeros) atomicAdd(local, zeros);
    __syncthreads();
    for (int bin = threadIdx.x; bin < BINS; bin += blockDim.x)
        if (local[bin]) atomicAdd(counts + bin, local[bin]);
}
"""


class _Kernel(Protocol):
    """A compiled CUDA function."""

    def __call__(
        self, *arguments: np.generic, block: tuple[int, int, int], grid: tuple[int, int]
    ) -> None: ...


class DeviceTaps:
    """One network on one GPU for all workers: they decode images, and take turns here.

    Each tensor's counts stay on the GPU, in bins of the same size as in ``Histogram``. They are
    merged into the histograms on the host when a range has to grow, when a counter could overflow,
    between early and late images, and at the end. Merging is exact, so the result is the same as
    counting the activations on the host.

    Args:
        engine: session of a model whose outputs are ``tensors`` without the input, in this order.

    Raises:
        MachineError: pycuda, CUDA's compiler or the GPU is missing.
    """

    def __init__(self, engine: InferenceSession, tensors: Sequence[str], input_name: str) -> None:
        self._lock = threading.Lock()
        self.parts = empty(tensors), empty(tensors)
        self._tapped, self._input = [name for name in tensors if name != input_name], input_name
        self._engine, self._binding = engine, engine.io_binding()
        with current() as self._driver:
            self._largest, self._count = _compiled(self._driver)
            self._counts = self._driver.mem_alloc(len(self._tapped) * BINS * 4)
            self._found = self._driver.mem_alloc(len(self._tapped) * 8)
            self._driver.memset_d32(self._counts, 0, len(self._tapped) * BINS)
        # These four describe what the device has counted since the last flush.
        self._limits = dict.fromkeys(self._tapped, 0.0)
        self._peaks = dict.fromkeys(self._tapped, 0.0)
        self._counted = 0  # values of the tensor that has the most
        self._late = False

    def observe(self, batch: NDArray[np.float32], late: bool) -> str | None:
        """Run images (N, C, H, W) and count every tensor; see ``Taps.observe``."""
        with self._lock, current():
            return self._observe(batch, late)

    def flush(self) -> None:
        """Merge the device's counts into the histograms on the host."""
        with self._lock, current():
            self._flush()

    def _observe(self, batch: NDArray[np.float32], late: bool) -> str | None:
        if late is not self._late:
            self._flush()
            # Start with the smallest bins again: bins wider than a histogram's can't be merged.
            self._limits = dict.fromkeys(self._tapped, 0.0)
            self._late = late
        if self._input in self.parts[late]:
            histogram = self.parts[late][self._input]
            histogram.observe(batch)
            if histogram.bad:
                return self._input
        binding = self._binding
        binding.clear_binding_inputs()
        binding.clear_binding_outputs()
        binding.bind_cpu_input(self._input, batch)
        for name in self._tapped:
            binding.bind_output(name, "cuda", 0)
        try:
            self._engine.run_with_iobinding(binding)  # returns when the device is done
        except Exception as error:  # ONNX Runtime raises many classes, with no common base
            raise onnxruntime.failure(error, batch) from error
        arrays: list[OrtValue] = binding.get_outputs()
        sizes: list[int] = [math.prod(array.shape()) for array in arrays]
        self._driver.memset_d32(self._found, 0, 2 * len(arrays))
        for index, (array, size) in enumerate(zip(arrays, sizes, strict=True)):
            self._launch(self._largest, array, size, np.uintp(int(self._found) + 8 * index))
        found = np.empty((len(arrays), 2), np.uint32)  # as the kernel "largest" fills it
        self._driver.memcpy_dtoh(found, self._found)
        self._make_room(found[:, 0].view(np.float32), max(sizes))
        for index, (array, size, name) in enumerate(zip(arrays, sizes, self._tapped, strict=True)):
            if found[index, 1]:
                return name
            limit = self._limits[name]
            # A limit of 0: only zeros so far, which fall into the first bin whatever its width.
            per_unit = np.float32(BINS / limit) if limit else np.float32(0)
            counts = np.uintp(int(self._counts) + 4 * BINS * index)
            self._launch(self._count, array, size, per_unit, counts)
        self._driver.Context.synchronize()  # ONNX Runtime may reuse the outputs' memory after this
        return None

    def _launch(self, kernel: _Kernel, array: OrtValue, size: int, *rest: np.generic) -> None:
        grid = (max(1, min(BLOCKS, -(-size // THREADS))), 1)
        kernel(np.uintp(array.data_ptr()), np.uint64(size), *rest, block=(THREADS, 1, 1), grid=grid)

    def _make_room(self, peaks: NDArray[np.float32], size: int) -> None:
        """Flush if a counter could overflow, or if a tensor needs wider bins.

        Args:
            peaks: largest magnitude of each tensor in the new values.
            size: number of the new values, of the tensor that has the most.
        """
        limits = {
            name: limit_above(float(peak), self._limits[name])
            for name, peak in zip(self._tapped, peaks, strict=True)
        }
        if limits != self._limits or self._counted + size > MAX_COUNTED:
            self._flush()
            self._limits = limits
        self._counted += size
        for name, peak in zip(self._tapped, peaks, strict=True):
            self._peaks[name] = max(self._peaks[name], float(peak))

    def _flush(self) -> None:
        if self._counted:
            counts = np.empty((len(self._tapped), BINS), np.uint32)
            self._driver.memcpy_dtoh(counts, self._counts)
            self._driver.memset_d32(self._counts, 0, counts.size)
            for name, row in zip(self._tapped, counts, strict=True):
                part = Histogram()
                part.counts = row.astype(np.int64)
                part.limit, part.largest = self._limits[name], self._peaks[name]
                self.parts[self._late][name].merge(part)
        self._peaks = dict.fromkeys(self._tapped, 0.0)
        self._counted = 0


def _compiled(driver: Any) -> tuple[_Kernel, _Kernel]:
    """Compile ``KERNELS`` for the GPU, and return its two functions.

    Raises:
        MachineError: CUDA's compiler is missing.
    """
    from pycuda.compiler import SourceModule

    try:
        module = SourceModule(f"#define BINS {BINS}\n{KERNELS}", no_extern_c=True)
    except (OSError, driver.CompileError) as error:
        raise MachineError(
            "calibration on the GPU needs CUDA's compiler, nvcc, on the PATH",
            "install the CUDA toolkit, or use --provider cpu",
        ) from error
    return module.get_function("largest"), module.get_function("count")
