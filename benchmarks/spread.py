"""What Ray costs beside local processes: 24 real TensorRT-RTX builds of the demo detector, two at a
time.

    python benchmarks/spread.py [PAIRS]

The two are run in turn, each with an empty store, so that whatever else the machine does hits both
alike; medians are compared. Ray's time is given with and without starting its cluster.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from trtforge.bundle.prepared import Target
from trtforge.cluster import open_workers
from trtforge.devices import device
from trtforge.pipeline.job import Job
from trtforge.recipe import Recipe
from trtforge.store import Store
from trtforge.sweeping import SweepRequest, sweep
from trtforge.sweeping.rows import Swept

MODEL = Path(__file__).parents[1] / "recipes" / "demo" / "demo.onnx"
MIB = 2**20
# Of batch 1: the builder's own engines for a range of batches differ in some bytes from build to
# build.
CELLS = SweepRequest(
    ["fp32", "fp16"], [1], [(64 + 16 * step) * MIB for step in range(12)], [None], None, None, 1.0
)


def once(on: str) -> tuple[float, float, Swept]:
    """Seconds with and without starting the workers, and the rows."""
    target, job = Target("tensorrt-rtx", device("rtx-4090")), Job(MODEL, Recipe(), "fp32")
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        sweep(job, target, store, replace(CELLS, workspaces=[MIB]))  # prepares
        started = time.perf_counter()
        with open_workers(on, store, [target.device] if target.device else []) as staff:
            ready = time.perf_counter()
            found = sweep(job, target, store, CELLS, staff)
            ended = time.perf_counter()
    return ended - started, ended - ready, found


def main() -> int:
    pairs = [
        (once("local:2"), once("ray")) for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
    ]
    for one, other in pairs:
        digests = [[row.digest for row in found.rows] for _, _, found in (one, other)]
        assert len(digests[0]) == 24 and digests[0] == digests[1], "other bytes"
    local = statistics.median(one[0] for one, _ in pairs)
    whole, work = (statistics.median(other[index] for _, other in pairs) for index in (0, 1))
    built = sum(bool(row.digest) for row in pairs[0][0][2].rows)
    print(
        f"24 cells, {built} engines, the same bytes: local:2 {local:.1f} s, ray {whole:.1f} s ({whole / local:.2f} "
        f"times), without its start {work:.1f} s ({work / local:.2f} times)"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
