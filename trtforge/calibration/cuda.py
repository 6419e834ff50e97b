"""Histograms on the GPU: ONNX Runtime's outputs stay on the device, and only counts leave it."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from trtforge.backends import onnxruntime
from trtforge.backends._gpu import primary
from trtforge.calibration.histogram import Histogram, empty, limit_above
from trtforge.calibration.loops import BINS
from trtforge.errors import MachineError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

MOST_COUNTED = (
    2**32 - 1
)  # values of one tensor between two flushes: counters on the device have 32 bits
THREADS = 256
BLOCKS = 1024
KERNELS = """
extern "C" __global__ void largest(const unsigned *bits, unsigned long long size, unsigned *found)
{
    // found[0]: largest finite magnitude as a bit pattern (they order as the floats do); found[1]: NaN or infinite
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
    unsigned zeros = 0;  // behind a ReLU most values are: they would all wait for one counter
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


class DeviceTaps:
    """One network on one GPU, shared by all workers: they decode, and take turns here.

    Counts stay on the device in a histogram each, of the limits that ``Histogram`` would have; they
    are merged into the host's when a limit has to grow, when a counter could overflow, between
    early and late images, and at the end. Merging is exact, so the result is what the host would
    count of the same activations.

    Args:
        engine: of a model whose outputs are ``tensors``, but for the input, in their order.

    Raises:
        MachineError: pycuda, CUDA's compiler or the GPU is missing.
    """

    def __init__(self, engine: InferenceSession, tensors: Sequence[str], input_name: str) -> None:
        driver, self._context = primary()
        self._driver = driver
        from pycuda.compiler import SourceModule

        self._lock = threading.Lock()
        self.parts = empty(tensors), empty(tensors)
        self._tapped, self._input = [name for name in tensors if name != input_name], input_name
        self._engine, self._binding = engine, engine.io_binding()
        self._context.push()
        try:
            module = SourceModule(f"#define BINS {BINS}\n{KERNELS}", no_extern_c=True)
            self._largest, self._count = (
                module.get_function("largest"),
                module.get_function("count"),
            )
            self._counts = driver.mem_alloc(len(self._tapped) * BINS * 4)
            self._found = driver.mem_alloc(len(self._tapped) * 8)
            driver.memset_d32(self._counts, 0, len(self._tapped) * BINS)
        except (OSError, driver.CompileError) as error:
            raise MachineError(
                "calibration on the GPU needs CUDA's compiler, nvcc, on the PATH",
                "install the CUDA toolkit, or use --provider cpu",
            ) from error
        finally:
            self._context.pop()
        # Of what the device has counted since the last flush, of early or of late images:
        self._limits = dict.fromkeys(self._tapped, 0.0)
        self._peaks = dict.fromkeys(self._tapped, 0.0)
        self._counted = 0  # of the tensor with most values
        self._late = False

    def observe(self, batch: np.ndarray, late: bool) -> str | None:
        with self._lock:
            self._context.push()
            try:
                return self._observe(batch, late)
            finally:
                self._context.pop()

    def flush(self) -> None:
        with self._lock:
            self._context.push()
            try:
                self._flush()
            finally:
                self._context.pop()

    def _observe(self, batch: np.ndarray, late: bool) -> str | None:
        if late is not self._late:
            self._flush()
            self._limits = dict.fromkeys(
                self._tapped, 0.0
            )  # wider bins than the part's own would not merge into it
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
        except Exception as error:  # ONNX Runtime raises classes of its own
            raise onnxruntime.failure(error, batch) from error
        arrays = binding.get_outputs()
        sizes = [math.prod(array.shape()) for array in arrays]
        self._driver.memset_d32(self._found, 0, 2 * len(arrays))
        for index, (array, size) in enumerate(zip(arrays, sizes, strict=True)):
            self._launch(self._largest, array, size, np.uintp(int(self._found) + 8 * index))
        found = np.empty((len(arrays), 2), np.uint32)
        self._driver.memcpy_dtoh(found, self._found)
        self._make_room(found[:, 0].view(np.float32), max(sizes))
        for index, (array, size, name) in enumerate(zip(arrays, sizes, self._tapped, strict=True)):
            if found[index, 1]:
                return name
            # Only zeros so far: everything is below the first bin, whatever its width.
            per_unit = (
                np.float32(BINS / self._limits[name]) if self._limits[name] else np.float32(0)
            )
            self._launch(
                self._count, array, size, per_unit, np.uintp(int(self._counts) + 4 * BINS * index)
            )
        self._driver.Context.synchronize()  # the outputs are ONNX Runtime's again after this
        return None

    def _launch(self, kernel: Any, array: Any, size: int, *rest: Any) -> None:
        grid = (max(1, min(BLOCKS, -(-size // THREADS))), 1)
        kernel(np.uintp(array.data_ptr()), np.uint64(size), *rest, block=(THREADS, 1, 1), grid=grid)

    def _make_room(self, peaks: np.ndarray, size: int) -> None:
        """Flush when a counter could overflow, or a tensor needs wider bins: counts of two widths
        don't mix.
        """
        wanted = {
            name: limit_above(float(peak), self._limits[name])
            for name, peak in zip(self._tapped, peaks, strict=True)
        }
        if wanted != self._limits or self._counted + size > MOST_COUNTED:
            self._flush()
            self._limits = wanted
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
                part.counts, part.limit, part.largest = (
                    row.astype(np.int64),
                    self._limits[name],
                    self._peaks[name],
                )
                self.parts[self._late][name].merge(part)
        self._peaks = dict.fromkeys(self._tapped, 0.0)
        self._counted = 0
