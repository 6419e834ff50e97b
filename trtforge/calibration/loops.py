"""The inner loops of histograms and of the entropy search: ``loops.c``, compiled as trtforge was
installed.

Calls hold no lock of Python's, so threads count side by side.
"""

from __future__ import annotations

import ctypes
import hashlib
from functools import cache
from pathlib import Path

import numpy as np

from trtforge.errors import MachineError

HERE = Path(__file__).parent
INSTALL = "pip install --force-reinstall --no-deps trtforge, or in a checkout: pip install -e ."
# As in loops.c.
BINS = 4096  # of a histogram
CHUNK = 4096  # values that are counted together, or not at all
LEVELS = 128  # magnitudes that INT8 tells apart, in TensorRT's entropy calibration


def count(
    values: np.ndarray, start: int, most: int, per_unit: float, counts: np.ndarray
) -> tuple[int, int]:
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
    at: int = _library().trtforge_count(
        _address(values, np.float32),
        values.size,
        start,
        most,
        per_unit,
        _address(counts, np.int64, BINS, written=True),
        largest,
    )
    return at, largest.value


def search(counts: np.ndarray, last: int) -> int:
    """How many of the first ``last`` bins to keep: see
    ``trtforge.calibration.threshold.entropy_bins``.

    Args:
        counts: float64 of shape (N,), contiguous.
        last: at least 128, at most N.
    """
    sums = np.empty((3, last + 1))
    found: int = _library().trtforge_search(
        _address(counts, np.float64, last), last, *(_address(each, np.float64) for each in sums)
    )
    return found


def load(folder: Path) -> ctypes.CDLL:
    """The library in a folder, as ``loops.c`` beside it declares it.

    Raises:
        MachineError: there is none, or it is another machine's, or made of another ``loops.c``.
    """
    path = folder / "libloops.so"
    try:
        loaded = ctypes.CDLL(str(path))
    except OSError as error:
        raise MachineError(
            f"the compiled part of trtforge can't be loaded: {error}", INSTALL
        ) from error
    made_of = (ctypes.c_char * 64).in_dll(loaded, "trtforge_source").raw.decode()
    if made_of != hashlib.sha256((folder / "loops.c").read_bytes()).hexdigest():
        raise MachineError(f"{path}: not made of the loops.c beside it", INSTALL)
    address, int64 = ctypes.c_void_p, ctypes.c_int64
    loaded.trtforge_count.restype = loaded.trtforge_search.restype = int64
    loaded.trtforge_count.argtypes = [
        address,
        int64,
        int64,
        ctypes.c_uint32,
        ctypes.c_float,
        address,
        ctypes.POINTER(ctypes.c_uint32),
    ]
    loaded.trtforge_search.argtypes = [address, int64, address, address, address]
    return loaded


def _address(array: np.ndarray, dtype: type, size: int = 0, written: bool = False) -> int:
    """Of the first of at least ``size`` values, one behind another. NumPy's ndpointer leaves
    garbage at every call.
    """
    flags = array.flags
    fit = flags.c_contiguous and flags.aligned and (flags.writeable or not written)
    if array.dtype != dtype or array.size < size or not fit:
        raise TypeError(
            f"{array.dtype} {array.shape} with strides {array.strides}: C takes no such array here"
        )
    return array.ctypes.data


@cache
def _library() -> ctypes.CDLL:
    return load(HERE)
