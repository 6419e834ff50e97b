"""The inner loops of histograms and of the entropy search: ``loops.c``, compiled as trtforge was installed.

Not at run time: Numba takes as long to import as some images take to pass through a network. Calls hold no lock of
Python's, so threads count side by side.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
from numpy.ctypeslib import ndpointer

from trtforge.errors import MachineError

# As in loops.c.
BINS = 4096  # of a histogram
CHUNK = 8192  # values that are counted together, or not at all
LEVELS = 128  # magnitudes that INT8 tells apart, in TensorRT's entropy calibration


def count(values: np.ndarray, start: int, most: int, per_unit: float, counts: np.ndarray) -> tuple[int, int]:
    """Count magnitudes from ``start`` on, up to the first chunk with one over ``most``.

    Args:
        values: float32 of shape (N,), contiguous.
        most: bit pattern of the largest float32 that has a bin.
        per_unit: bins for each unit.
        counts: int64 of shape (4096,), added to.

    Returns:
        Where that chunk begins, or N; the bit pattern of the largest magnitude before it.
    """
    largest = ctypes.c_uint32()
    at = _LOADED.trtforge_count(values, values.size, start, most, per_unit, counts, largest)
    return at, largest.value


def search(counts: np.ndarray, last: int) -> int:
    """How many of the first ``last`` bins to keep: see ``trtforge.calibrate.threshold.entropy_bins``.

    Args:
        counts: float64 of shape (N,), contiguous.
        last: at least 128, at most N.
    """
    found: int = _LOADED.trtforge_search(counts, last, *np.empty((3, last + 1)))
    return found


def library(path: Path) -> ctypes.CDLL:
    """The compiled loops, as loops.c declares them.

    Raises:
        MachineError: there is no such file, or it is another machine's.
    """
    try:
        loaded = ctypes.CDLL(str(path))
    except OSError as error:
        raise MachineError(
            f"the compiled part of trtforge can't be loaded: {error}", "pip install trtforge; in a checkout, -e ."
        ) from error
    values = ndpointer(np.float32, ndim=1, flags=["C", "A"])
    sums = ndpointer(np.float64, ndim=1, flags=["C", "A"])
    counts = ndpointer(np.int64, shape=(BINS,), flags=["C", "A", "W"])
    int64 = ctypes.c_int64
    loaded.trtforge_count.restype = loaded.trtforge_search.restype = int64
    loaded.trtforge_count.argtypes = [
        values, int64, int64, ctypes.c_uint32, ctypes.c_float, counts, ctypes.POINTER(ctypes.c_uint32)
    ]  # fmt: skip
    loaded.trtforge_search.argtypes = [sums, int64, sums, sums, sums]
    return loaded


_LOADED = library(Path(__file__).with_name("libloops.so"))
