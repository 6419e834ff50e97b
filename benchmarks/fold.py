"""Folding beside its peers, in one run: nodes left, time and peak memory of whole processes, and
ratios to onnxslim.

    pip install -e '.[bench]'
    python benchmarks/fold.py [MODEL.onnx ...] [--runs N] [--skip TOOL ...]

A transformer detector of about 2,800 nodes (`benchmarks/transformer.py`) is built here and always
among the models. On equal terms: every tool reads the same file, in which a dynamic height and
width are fixed to 640 beforehand and the batch stays dynamic; nodes are those of the top graph that
are not Constant, for exporters write constants either way. trtforge compares the results of both
graphs in ONNX Runtime, which the others don't by default; the line without that stands beside. CPU
seconds are user and system time, which
hold on a busy machine; wall seconds do not.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import onnx
import transformer

SIDE = 640
BIN = Path(sys.executable).parent
FORGE = [sys.executable, "-m", "trtforge", "fold"]
TOOLS = {
    "onnxslim": lambda model, out: [BIN / "onnxslim", model, out],
    "onnxsim": lambda model, out: [BIN / "onnxsim", model, out],
    "polygraphy": lambda model, out: [
        BIN / "polygraphy",
        "surgeon",
        "sanitize",
        model,
        "--fold-constants",
        "-o",
        out,
    ],
    "trtforge": lambda model, out: [*FORGE, model, "-o", out],
    "trtforge --no-check": lambda model, out: [*FORGE, model, "-o", out, "--no-check"],
}


@dataclass
class Run:
    """One process: the best of its runs."""

    nodes: int
    wall: float
    cpu: float
    mib: float


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--runs", type=int, default=1, help="the fastest of N counts")
    parser.add_argument("--skip", nargs="*", default=[], choices=TOOLS, help="tools to leave out")
    given = parser.parse_args()
    missing = [name for name in ("onnxslim", "onnxsim", "polygraphy") if not (BIN / name).exists()]
    if missing:
        print(f"missing: {', '.join(missing)} (pip install -e '.[bench]')", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder, "rtdetr-like.onnx")
        onnx.save(transformer.build(), built)
        for model in [*given.models, built]:
            fixed = prepared(model, Path(folder, f"fixed-{model.name}"))
            print(f"\n{model.name}: {count(fixed)} nodes")
            report(
                {
                    name: best(name, fixed, Path(folder, "out.onnx"), given.runs)
                    for name in TOOLS
                    if name not in [*missing, *given.skip]
                }
            )


def prepared(model: Path, out: Path) -> Path:
    loaded = onnx.load(model)
    weights = {tensor.name for tensor in loaded.graph.initializer}
    for value in loaded.graph.input:
        dims = value.type.tensor_type.shape.dim
        if value.name not in weights and len(dims) == 4:
            for dim in list(dims)[2:]:
                dim.dim_value = dim.dim_value or SIDE
    onnx.save(loaded, out)
    return out


def count(model: Path) -> int:
    return sum(
        node.op_type != "Constant" for node in onnx.load(model, load_external_data=False).graph.node
    )


def best(name: str, model: Path, out: Path, runs: int) -> Run | None:
    found = [each for _ in range(runs) if (each := run(name, model, out))]
    return min(found, key=lambda each: each.cpu) if found else None


def run(name: str, model: Path, out: Path) -> Run | None:
    """Wall time of the process, its peak memory as the kernel counted it, and the nodes that it
    left.
    """
    out.unlink(missing_ok=True)
    started = time.perf_counter()
    process = subprocess.Popen(
        TOOLS[name](model, out), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    if status or not out.exists():
        print(f"{name}: {errors.decode(errors='replace').strip()[-200:]}", file=sys.stderr)
        return None
    return Run(count(out), wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def report(runs: dict[str, Run | None]) -> None:
    base = runs.get("onnxslim")
    print(
        f"{'':20} {'nodes':>6} {'wall s':>7} {'CPU s':>6} {'MiB':>5}   of onnxslim's nodes, wall, CPU, MiB"
    )
    for name, each in runs.items():
        if each is None:
            print(f"{name:20} failed")
            continue
        line = f"{name:20} {each.nodes:6} {each.wall:7.2f} {each.cpu:6.2f} {each.mib:5.0f}"
        if base:
            pairs = (
                (each.nodes, base.nodes),
                (each.wall, base.wall),
                (each.cpu, base.cpu),
                (each.mib, base.mib),
            )
            line += "   " + " ".join(f"{one / other:5.2f}" for one, other in pairs)
        print(line, flush=True)


if __name__ == "__main__":
    main()
