"""Call the compiled functions of ``loops.c``: counting for histograms, and the entropy search.

They are compiled when trtforge is installed. ctypes releases Python's global lock during a call, so
several threads can count at the same time.
"""

from __future__ import annotations

import ctypes
import hashlib
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trtforge.errors import MachineError

HERE = Path(__file__).parent
INSTALL_HINT = (
    "pip install --force-reinstall --no-deps trtforge, or in a checkout: pip install -e ."
)
# These three must be equal to the constants in loops.c.
BINS = 4096  # bins of a histogram
CHUNK = 4096  # values that are counted together; if one has no bin, none of them is counted
LEVELS = 128  # magnitudes of INT8 in TensorRT's entropy calibration


def count(
    values: NDArray[np.float32],
    start: int,
    largest_bits: int,
    per_unit: float,
    counts: NDArray[np.int64],
) -> tuple[int, int]:
    """Count magnitudes from ``start`` on; stop before a chunk with a value that has no bin.

    Args:
        values: float32 of shape (N,), contiguous.
        largest_bits: bit pattern of the largest float32 that has a bin.
        start: index of the first value to count.
        per_unit: bins per unit of magnitude.
        counts: int64 of shape (4096,); the new counts are added to it.

    Returns:
        The index at which counting stopped, N at the end; and the bit pattern of the largest
        magnitude before it.
    """
    largest = ctypes.c_uint32()
    position: int = _library().trtforge_count(
        _address(values, np.float32),
        values.size,
        start,
        largest_bits,
        per_unit,
        _address(counts, np.int64, BINS, written=True),
        largest,
    )
    return position, largest.value


def search(counts: NDArray[np.float64], last: int) -> int:
    """Return how many of the first ``last`` bins to keep; see ``threshold.entropy_bins``.

    Args:
        counts: float64 of shape (N,), contiguous.
        last: number of bins to search, from 128 to N.
    """
    sums = np.empty((3, last + 1))  # loops.c writes its prefix sums here
    bins: int = _library().trtforge_search(
        _address(counts, np.float64, last), last, *(_address(row, np.float64) for row in sums)
    )
    return bins


def load(folder: Path) -> ctypes.CDLL:
    """Load a folder's compiled library, and declare the types of its functions.

    Raises:
        MachineError: the library is missing, is for another machine, or was compiled from another
            ``loops.c``.
    """
    path = folder / "libloops.so"
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        message = f"the compiled part of trtforge can't be loaded: {error}"
        raise MachineError(message, INSTALL_HINT) from error
    source_digest = (ctypes.c_char * 64).in_dll(library, "trtforge_source").raw.decode()
    if source_digest != hashlib.sha256((folder / "loops.c").read_bytes()).hexdigest():
        raise MachineError(f"{path}: was compiled from another loops.c", INSTALL_HINT)
    address, int64 = ctypes.c_void_p, ctypes.c_int64
    largest = ctypes.POINTER(ctypes.c_uint32)
    library.trtforge_count.restype = library.trtforge_search.restype = int64
    uint32, float32 = ctypes.c_uint32, ctypes.c_float
    library.trtforge_count.argtypes = [address, int64, int64, uint32, float32, address, largest]
    library.trtforge_search.argtypes = [address, int64, address, address, address]
    return library


def _address(
    array: NDArray[np.generic], dtype: type[np.generic], size: int = 0, written: bool = False
) -> int:
    """Return the address of an array of at least ``size`` contiguous values.

    NumPy's ``ndpointer`` would check the same, but leaves garbage in memory at every call.

    Raises:
        TypeError: the array has another type, has too few values, is not contiguous, or is
            read-only although C writes to it.
    """
    flags = array.flags
    usable = flags.c_contiguous and flags.aligned and (flags.writeable or not written)
    if array.dtype != dtype or array.size < size or not usable:
        raise TypeError(
            f"{array.dtype} {array.shape} with strides {array.strides}: C takes no such array here"
        )
    return array.ctypes.data


@cache
def _library() -> ctypes.CDLL:
    return load(HERE)
