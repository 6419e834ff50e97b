"""engine -> latency and throughput, beside other runtimes in the same run."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtforge import present
from trtforge.backends._plan import maker
from trtforge.backends.onnxruntime import calibration_provider, has_cuda
from trtforge.bundle.read import read_prepared
from trtforge.devices import this_machine
from trtforge.errors import ForgeError, MachineError
from trtforge.timing import clocks, cuda, inputs, onnxruntime_cpu, tensorrt, torch_model
from trtforge.timing.measure import ASSUMPTION, Runner, camera_streams, measure, summary
from trtforge.timing.table import BenchResult, Row

if TYPE_CHECKING:
    import torch

TORCH = ("torch", "torch-half", "torch-compile", "torch-compile-half")
AGAINST = ("onnxruntime-cuda", "onnxruntime", *TORCH)
BUSY = 0.5  # share of the cores that others may keep busy without a word


@dataclass(frozen=True)
class Subject:
    """What is timed.

    Attributes:
        name: what the user named.
        engine: TensorRT engine, or None.
        graph: ONNX file that ONNX Runtime can run, or None.
        batch: fixed in the graph, or what its folder was built for; None if it may be anything.
        size: height and width of the input in pixels; None where there is no graph to tell.
    """

    name: str
    engine: Path | None
    graph: Path | None
    batch: int | None
    size: tuple[int, int] | None


@dataclass(frozen=True)
class BenchRequest:
    """How to time.

    Attributes:
        batches: images in a pass; empty is the subject's own.
        streams: numbers of streams.
        against: names out of ``AGAINST``.
        provider: auto, cpu or cuda: what runs the subject's graph, and PyTorch.
        cuda_graph: with and without (None), only with, only without.
        transfers: with transfers too.
        warmup, duration: seconds.
        module: PyTorch model in FP32, for the rows of PyTorch.
    """

    batches: Sequence[int]
    streams: Sequence[int]
    against: Sequence[str]
    provider: str
    cuda_graph: bool | None
    transfers: bool
    warmup: float
    duration: float
    module: torch.nn.Module | None = None


@dataclass(frozen=True)
class _Cell:
    """One row to be measured."""

    runtime: str
    batch: int
    streams: int
    graph: bool | None
    transfers: bool | None


def subject(path: Path) -> Subject:
    """An ONNX file, an engine, a bundle (its engine) or a prepared folder (its graph for ONNX
    Runtime).

    Raises:
        ForgeError: it is none of these.
    """
    if path.is_dir():
        ready = read_prepared(path)
        engine = next(
            iter(sorted([*path.glob("*.onnx_b*.engine"), *path.glob("*.rtx.engine")])), None
        )
        graph = next(
            ready.graphs[name].path
            for name in ("onnxruntime", "tensorrt-rtx", "tensorrt")
            if name in ready.graphs
        )
        return Subject(os.fspath(path), engine, graph, ready.batch[1], ready.facts.size)
    if not path.is_file():
        raise ForgeError(
            f"{path}: no such file or folder",
            "give an ONNX file, an engine, or a folder of trtforge's",
        )
    if path.suffix == ".engine":
        return Subject(os.fspath(path), path, None, None, None)
    if path.suffix != ".onnx":
        raise ForgeError(
            f"{path}: neither ONNX nor an engine", "give an ONNX file, an engine, or a folder"
        )
    return _of_graph(path)


def _of_graph(path: Path) -> Subject:
    from trtforge.graph.fold import dims
    from trtforge.graph.model import load

    model = load(path)
    constants = {tensor.name for tensor in model.graph.initializer}
    shapes = [dims(each) for each in model.graph.input if each.name not in constants]
    image = next((shape for shape in shapes if len(shape) == 4), ())
    sides = [side for side in image[2:] if isinstance(side, int)]
    size = (sides[0], sides[1]) if len(sides) == 2 else None
    batch = inputs.fixed_batch(shapes[0]) if shapes else None
    return Subject(os.fspath(path), None, path, batch, size)


def run(what: Subject, asked: BenchRequest) -> BenchResult:
    """Time every combination, one after the other.

    Raises:
        ForgeError: the options contradict each other, or the subject can't be run that way.
        MachineError: no GPU, or a package is missing.
    """
    cells, remarks = _cells(what, asked)
    cores, load = os.cpu_count() or 1, os.getloadavg()[0]
    if load > BUSY * cores:
        remarks.append(
            f"warning: load average {load:.1f} on {cores} cores: other processes make these times longer"
        )
    bus_id = _bus_id() if any(cell.graph is not None for cell in cells) else None
    rows: list[Row] = []
    with present.progress(f"timing {what.name}", len(cells)) as done:
        for number, cell in enumerate(cells, 1):
            try:
                rows.append(_row(what, asked, cell, bus_id))
            except ForgeError as error:
                if not cell.graph or asked.cuda_graph:
                    raise
                remarks.append(
                    f"{cell.runtime}, batch {cell.batch}: not as a CUDA graph: {error.problem}"
                )
            done(number)
    rows = [replace(row, subject_faster=_faster(row, rows, cells[0].runtime)) for row in rows]
    return BenchResult(what.name, rows, [*remarks, *_remarks(rows)])


def _cells(what: Subject, asked: BenchRequest) -> tuple[list[_Cell], list[str]]:
    own = _own_runtime(what, asked.provider)
    names = list(dict.fromkeys([own, *asked.against]))
    for name in names[1:]:
        if name in TORCH and (asked.module is None or what.size is None):
            missing, hint = "the PyTorch model", "give --torch package.module:callable"
            if asked.module is not None:
                missing, hint = (
                    f"the input's size, which {what.name} does not tell",
                    "give a folder, or a folded graph",
                )
            raise ForgeError(f"--against {name} needs {missing}", hint)
        if name not in TORCH and what.graph is None:
            raise ForgeError(
                f"--against {name} needs the graph, {what.name} is an engine", "give its folder"
            )
        if name == "onnxruntime-cuda":
            calibration_provider("cuda")
    on_gpu = {
        name
        for name in names
        if name in ("tensorrt", "tensorrt-rtx", "onnxruntime-cuda")
        or (name in TORCH and _torch_on_gpu(asked.provider))
    }
    if not on_gpu and (asked.cuda_graph or asked.transfers):
        raise ForgeError(
            "--cuda-graph and --transfers are for a GPU, and nothing here runs on one", "drop them"
        )
    batches = list(asked.batches) or [what.batch or 1]
    cells = [
        _Cell(name, batch, streams, graph, transfers)
        for name, batch, streams in itertools.product(names, batches, asked.streams)
        for graph, transfers in _variants(name in on_gpu, name, asked)
    ]
    remarks = (
        [f"{what.graph} in ONNX Runtime"]
        if own.startswith("onnxruntime") and str(what.graph) != what.name
        else []
    )
    return cells, remarks


def _variants(
    gpu: bool, name: str, asked: BenchRequest
) -> Iterator[tuple[bool | None, bool | None]]:
    if not gpu:
        yield None, None
        return
    graphs = [False, True] if asked.cuda_graph is None else [asked.cuda_graph]
    if "compile" in name:  # its own mode of compilation, with fixed shapes
        graphs = [False]
    yield from itertools.product(graphs, [False, True] if asked.transfers else [False])


def _own_runtime(what: Subject, provider: str) -> str:
    if what.engine:
        if provider == "cpu" or this_machine() is None:
            raise MachineError(
                f"{what.engine}: an engine runs only on its GPU, and none is here",
                "give the .onnx beside it: the same graph in ONNX Runtime",
            )
        return "tensorrt-rtx" if maker(what.engine) == "TensorRT-RTX" else "tensorrt"
    return "onnxruntime-cuda" if calibration_provider(provider) == "cuda" else "onnxruntime"


def _torch_on_gpu(provider: str) -> bool:
    import torch

    if provider == "cuda" and not torch.cuda.is_available():
        raise MachineError(
            "--provider cuda: this PyTorch has no CUDA, or finds no GPU",
            "install PyTorch with CUDA",
        )
    return provider != "cpu" and torch.cuda.is_available()


def _bus_id() -> str | None:
    if not has_cuda():
        return None
    from pycuda import driver

    return str(driver.Device(0).pci_bus_id())


def _row(what: Subject, asked: BenchRequest, cell: _Cell, bus_id: str | None) -> Row:
    open_runner = _opener(what, asked, cell)
    with clocks.watch(bus_id if cell.graph is not None else None) as seen:
        timed = measure(open_runner, cell.batch, cell.streams, asked.warmup, asked.duration)
    return Row(
        cell.runtime,
        cell.batch,
        cell.streams,
        cell.graph,
        cell.transfers,
        summary(timed.latencies),
        timed.images_per_second,
        camera_streams(timed.images_per_second),
        None,
        timed.clock,
        seen,
    )


def _opener(what: Subject, asked: BenchRequest, cell: _Cell) -> Callable[[], Runner]:
    how: dict[str, Any] = {"graph": bool(cell.graph), "transfers": bool(cell.transfers)}
    if cell.runtime in TORCH:
        assert asked.module is not None and what.size is not None
        images = inputs.arrays({"": (cell.batch, 3, *what.size)}, {"": "float32"})[""]
        return torch_model.opener(
            asked.module,
            images,
            cuda=cell.graph is not None,
            half="half" in cell.runtime,
            compiled="compile" in cell.runtime,
            **how,
        )
    if cell.runtime in ("tensorrt", "tensorrt-rtx"):
        assert what.engine
        return tensorrt.opener(what.engine, cell.batch, **how)
    assert what.graph
    if cell.runtime == "onnxruntime-cuda":
        return cuda.opener(what.graph, cell.batch, what.size, **how)
    return onnxruntime_cpu.opener(what.graph, cell.batch, what.size)


def _faster(row: Row, rows: Sequence[Row], own: str) -> float | None:
    """How many times the subject's best row is as fast. A CPU's row stands beside those with and
    without transfers.
    """
    same = [
        other.latency_ms.median
        for other in rows
        if other.runtime == own
        and (other.batch, other.streams) == (row.batch, row.streams)
        and (None in (other.transfers, row.transfers) or other.transfers == row.transfers)
    ]
    return row.latency_ms.median / min(same) if same else None


def _remarks(rows: Sequence[Row]) -> list[str]:
    found = [
        f"{', '.join(dict.fromkeys(row.runtime for row in rows if row.clock == clock))}: {clock}"
        for clock in dict.fromkeys(row.clock for row in rows)
    ]
    found.append(
        "latency: one pass at a time on each stream; images/s: of all streams, on a GPU with passes queued"
    )
    found.append("inputs are noise: where NMS is inside, it has few boxes to look at")
    seen = [row.clocks for row in rows if row.clocks.name]
    if seen:
        speeds = [each.sm_mhz for each in seen if each.sm_mhz]
        clock = (
            f", SM clock {min(low for low, _ in speeds)} to {max(high for _, high in speeds)} MHz"
            if speeds
            else ""
        )
        heat = f", at most {max(each.celsius or 0 for each in seen)} °C"
        found.append(f"{seen[0].name}, driver {seen[0].driver}{clock}{heat}")
    reasons = sorted({reason for each in seen for reason in each.throttled})
    if reasons:
        found.append(
            f"warning: the GPU was throttled ({', '.join(reasons)}): times are longer than they could be"
        )
    found += dict.fromkeys(row.clocks.why_not for row in rows if row.clocks.why_not)
    return [*found, ASSUMPTION]
