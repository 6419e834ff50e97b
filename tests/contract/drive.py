"""Our calibrators as TensorRT would drive them, with real bindings, in a process of its own. Prints
JSON.
"""

from __future__ import annotations

import json

import numpy as np
import tensorrt_bindings as trt

from trtforge.backends._bindings import has
from trtforge.backends._calibrator import calibrator
from trtforge.backends._config import POOLS, TACTICS, need_implicit
from trtforge.errors import MachineError


def drive(algorithm: str) -> dict[str, object]:
    seen: list[float] = []

    def upload(images: np.ndarray) -> int:
        seen.append(float(images.sum()))
        return 4096 * len(seen)

    batches = (np.full((2, 3, 4, 4), value, np.float32) for value in (1.0, 2.0))
    made = calibrator(trt, algorithm, None, batches, upload, 2)
    given = [made.get_batch(["images"]) for _ in range(3)]
    made.write_calibration_cache(memoryview(b"TRT-"))
    broken = calibrator(trt, algorithm, b"cache", iter(()), upload, 2)
    return {
        "type": [
            isinstance(made, trt.IInt8EntropyCalibrator2),
            isinstance(made, trt.IInt8MinMaxCalibrator),
        ],
        "algorithm": str(made.get_algorithm()).rpartition(".")[2],
        "batch_size": made.get_batch_size(),
        "given": given,
        "seen": seen,
        "written": made.written.decode(),
        "read": [made.read_calibration_cache(), broken.read_calibration_cache().decode()],
        "failure": failure(algorithm),
    }


def failure(algorithm: str) -> list[object]:
    def upload(images: np.ndarray) -> int:
        raise ValueError("no memory")

    made = calibrator(trt, algorithm, None, iter([np.zeros((1, 3, 4, 4), np.float32)]), upload, 1)
    return [made.get_batch(["images"]), str(made.failure)]


found: dict[str, object] = {
    "names": {
        f"{kind}.{name}": has(trt, f"{kind}.{name}")
        for kind, names in (("MemoryPoolType", POOLS), ("TacticSource", TACTICS))
        for name in names.values()
    }
}
try:
    need_implicit(trt)
    found |= {algorithm: drive(algorithm) for algorithm in ("entropy", "minmax")}
except MachineError as error:
    found["refused"] = error.problem
print(json.dumps(found))
