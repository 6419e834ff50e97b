"""Count the random graphs that TensorRT-RTX's builder takes as they are, but not after our rewrites.

    python -m benchmarks.refusals [GRAPHS] [--from SEED]

Each graph (`tests/random_graphs.py`) is built raw, folded, in FP16, in INT8, and in INT8 with FP16 as
the rest. One line for every refusal and for everything else that goes wrong; the exit code is 1 where
there was one.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path

from tests.builder_parity import compare
from tests.random_graphs import random_graph


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("graphs", nargs="?", type=int, default=1000)
    parser.add_argument("--from", dest="first", type=int, default=0)
    options = parser.parse_args()
    count: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.first, options.first + options.graphs):
            try:
                verdict = compare(random_graph(seed), Path(folder))
            except Exception:  # one graph must not end the run
                count["failed"] += 1
                print(f"{seed}: {traceback.format_exc().strip().splitlines()[-1]}", flush=True)
                continue
            count["refused raw" if verdict.raw else "taken raw"] += 1
            if verdict.raw:
                print(f"{seed}: raw: {verdict.raw}", flush=True)
            for name, why in verdict.ours.items():
                count[f"refused after {name}"] += 1
                print(f"{seed}: after {name}: {why}", flush=True)
    print(", ".join(f"{number} {what}" for what, number in count.items()))
    sys.exit(any(what == "failed" or what.startswith("refused after") for what in count))


if __name__ == "__main__":
    main()
