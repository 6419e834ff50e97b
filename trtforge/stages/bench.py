"""engine -> latency and throughput, beside other runtimes in the same run."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from trtforge import present
from trtforge.backends._plan import read
from trtforge.backends.onnxruntime import calibration_provider, has_cuda
from trtforge.bundle.read import read_prepared
from trtforge.devices import this_machine
from trtforge.errors import ForgeError, MachineError
from trtforge.names import Backend
from trtforge.timing import clocks, cuda, inputs, onnxruntime_cpu, tensorrt, torch_model
from trtforge.timing.measure import ASSUMPTION, Runner, camera_streams, measure, summary
from trtforge.timing.table import BenchResult, Row

if TYPE_CHECKING:
    import torch

TORCH = ("torch", "torch-half", "torch-compile", "torch-compile-half")
AGAINST = ("onnxruntime-cuda", "onnxruntime", *TORCH)
BUSY = 0.5  # share of the cores that other processes may use without a remark


@dataclass(frozen=True)
class Subject:
    """The model or engine that is timed.

    Attributes:
        name: the path as the user gave it.
        engine: TensorRT engine, or None.
        graph: ONNX file that ONNX Runtime can run, or None.
        batch: batch that is fixed in the graph, or that the folder was built for; None if any
            batch can run.
        size: height and width of the input in pixels; None where no graph tells it.
    """

    name: str
    engine: Path | None = None
    graph: Path | None = None
    batch: int | None = None
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class BenchRequest:
    """Options of a timing.

    Attributes:
        batches: images in a pass; empty means the batch of the subject.
        streams: numbers of streams.
        against: runtimes to compare with, from ``AGAINST``.
        provider: what runs the subject's graph, and PyTorch: auto, cpu or cuda.
        cuda_graph: True: only with a CUDA graph; False: only without; None: both.
        transfers: also time with copies between host and GPU.
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
    """A row to be measured; ``graph`` and ``transfers`` are None on a CPU."""

    runtime: str
    batch: int
    streams: int
    graph: bool | None
    transfers: bool | None


def subject(path: Path) -> Subject:
    """Return the engine and graph of a file or folder that can be timed.

    Args:
        path: an ONNX file, an engine, a bundle (its engine is timed) or a prepared folder (its
            graph for ONNX Runtime is timed).

    Raises:
        ForgeError: it is none of these.
    """
    if path.is_dir():
        return _of_folder(path)
    if not path.is_file():
        raise ForgeError(
            f"{path}: no such file or folder",
            "give an ONNX file, an engine, or a folder made by trtforge",
        )
    if path.suffix == ".engine":
        return Subject(os.fspath(path), engine=path)
    if path.suffix != ".onnx":
        raise ForgeError(
            f"{path}: neither ONNX nor an engine", "give an ONNX file, an engine, or a folder"
        )
    return _of_graph(path)


def _of_folder(path: Path) -> Subject:
    prepared = read_prepared(path)
    engines = sorted([*path.glob("*.onnx_b*.engine"), *path.glob("*.rtx.engine")])
    order: tuple[Backend, ...] = ("onnxruntime", "tensorrt-rtx", "tensorrt")
    return Subject(
        os.fspath(path),
        engine=engines[0] if engines else None,
        graph=next(prepared.graphs[name].path for name in order if name in prepared.graphs),
        batch=prepared.batch[1],
        size=prepared.facts.size,
    )


def _of_graph(path: Path) -> Subject:
    from trtforge.graph.fold import dims
    from trtforge.graph.model import load

    model = load(path)
    constants = {tensor.name for tensor in model.graph.initializer}
    shapes = [dims(value) for value in model.graph.input if value.name not in constants]
    image = next((shape for shape in shapes if len(shape) == 4), ())
    sides = [side for side in image[2:] if isinstance(side, int)]
    size = (sides[0], sides[1]) if len(sides) == 2 else None
    batch = inputs.fixed_batch(shapes[0]) if shapes else None
    return Subject(os.fspath(path), graph=path, batch=batch, size=size)


def run(what: Subject, request: BenchRequest) -> BenchResult:
    """Time every combination, one after the other.

    Raises:
        ForgeError: the options contradict each other, or the subject can't be run that way.
        MachineError: there is no GPU, or a package is missing.
    """
    cells, remarks = _cells(what, request)
    cores, load = os.cpu_count() or 1, os.getloadavg()[0]
    if load > BUSY * cores:
        remarks.append(
            f"warning: load average {load:.1f} on {cores} cores: other processes make these times "
            "longer"
        )
    bus_id = _bus_id() if any(cell.graph is not None for cell in cells) else None
    rows: list[Row] = []
    with present.progress(f"timing {what.name}", len(cells)) as done:
        for number, cell in enumerate(cells, 1):
            try:
                rows.append(_row(what, request, cell, bus_id))
            except ForgeError as error:
                if not cell.graph or request.cuda_graph:
                    raise
                remarks.append(
                    f"{cell.runtime}, batch {cell.batch}: not as a CUDA graph: {error.problem}"
                )
            done(number)
    rows = [replace(row, subject_faster=_faster(row, rows, cells[0].runtime)) for row in rows]
    return BenchResult(what.name, rows, [*remarks, *_remarks(rows)])


def _cells(what: Subject, request: BenchRequest) -> tuple[list[_Cell], list[str]]:
    """Return the rows to measure, those of the subject itself first, and remarks."""
    subject_runtime = _subject_runtime(what, request.provider)
    names = list(dict.fromkeys([subject_runtime, *request.against]))
    for name in names[1:]:
        _check_runtime(name, what, request)
    on_gpu = {name for name in names if _runs_on_gpu(name, request.provider)}
    if not on_gpu and (request.cuda_graph or request.transfers):
        raise ForgeError(
            "--cuda-graph and --transfers are for a GPU, and nothing here runs on one", "drop them"
        )
    batches = list(request.batches) or [what.batch or 1]
    cells = [
        _Cell(name, batch, streams, graph, transfers)
        for name, batch, streams in itertools.product(names, batches, request.streams)
        for graph, transfers in _variants(name in on_gpu, name, request)
    ]
    # The user named a folder, and one of its graphs is timed.
    other_file = subject_runtime.startswith("onnxruntime") and str(what.graph) != what.name
    return cells, [f"{what.graph} in ONNX Runtime"] if other_file else []


def _check_runtime(name: str, what: Subject, request: BenchRequest) -> None:
    """Refuse a runtime that lacks what it would run.

    Raises:
        ForgeError: there is no PyTorch model, no size of its input, or no graph.
        MachineError: ONNX Runtime can't use the GPU.
    """
    if name in TORCH:
        if request.module is None:
            raise ForgeError(
                f"--against {name} needs the PyTorch model", "give --torch package.module:callable"
            )
        if what.size is None:
            raise ForgeError(
                f"--against {name} needs the input's size, and {what.name} does not contain it",
                "give a folder, or a folded graph",
            )
    elif what.graph is None:
        raise ForgeError(
            f"--against {name} needs the graph, {what.name} is an engine", "give its folder"
        )
    if name == "onnxruntime-cuda":
        calibration_provider("cuda")


def _runs_on_gpu(name: str, provider: str) -> bool:
    if name in TORCH:
        return _torch_on_gpu(provider)
    return name in ("tensorrt", "tensorrt-rtx", "onnxruntime-cuda")


def _variants(
    gpu: bool, name: str, request: BenchRequest
) -> Iterator[tuple[bool | None, bool | None]]:
    """Yield the pairs (with CUDA graph, with transfers) to measure for one runtime."""
    if not gpu:
        yield None, None
        return
    graphs = [False, True] if request.cuda_graph is None else [request.cuda_graph]
    if "compile" in name:  # torch.compile is timed without CUDA graphs
        graphs = [False]
    yield from itertools.product(graphs, [False, True] if request.transfers else [False])


def _subject_runtime(what: Subject, provider: str) -> str:
    """Return the runtime that runs the subject."""
    if what.engine:
        plan = read(what.engine)
        if provider == "cpu" or this_machine() is None:
            raise MachineError(
                f"{what.engine}: {plan.origin}; an engine runs only on its GPU, and none is here",
                "give the .onnx beside it: the same graph in ONNX Runtime",
            )
        return "tensorrt-rtx" if plan.maker == "TensorRT-RTX" else "tensorrt"
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


def _row(what: Subject, request: BenchRequest, cell: _Cell, bus_id: str | None) -> Row:
    """Measure one row, and watch the GPU's clocks meanwhile."""
    open_runner = _opener(what, request, cell)
    with clocks.watch(bus_id if cell.graph is not None else None) as watched:
        timed = measure(open_runner, cell.batch, cell.streams, request.warmup, request.duration)
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
        watched,
    )


def _opener(what: Subject, request: BenchRequest, cell: _Cell) -> Callable[[], Runner]:
    """Return a function that opens a runner for a cell."""
    graph, transfers = bool(cell.graph), bool(cell.transfers)
    if cell.runtime in TORCH and request.module is not None and what.size is not None:
        images = inputs.arrays({"": (cell.batch, 3, *what.size)}, {"": "float32"})[""]
        return torch_model.opener(
            request.module,
            images,
            cuda=cell.graph is not None,
            half="half" in cell.runtime,
            compiled="compile" in cell.runtime,
            graph=graph,
            transfers=transfers,
        )
    if cell.runtime in ("tensorrt", "tensorrt-rtx") and what.engine:
        return tensorrt.opener(what.engine, cell.batch, graph=graph, transfers=transfers)
    if what.graph is None:
        raise ForgeError(f"{what.name}: {cell.runtime} can't run it", "give a folder, or a graph")
    if cell.runtime == "onnxruntime-cuda":
        return cuda.opener(what.graph, cell.batch, what.size, graph=graph, transfers=transfers)
    return onnxruntime_cpu.opener(what.graph, cell.batch, what.size)


def _faster(row: Row, rows: Sequence[Row], subject_runtime: str) -> float | None:
    """Return how many times faster the subject's best row with equal work is; None if there is none.

    A CPU row has no transfers, so it is compared with rows with and without transfers.
    """
    same_work = [
        other.latency_ms.median
        for other in rows
        if other.runtime == subject_runtime
        and (other.batch, other.streams) == (row.batch, row.streams)
        and (None in (other.transfers, row.transfers) or other.transfers == row.transfers)
    ]
    return row.latency_ms.median / min(same_work) if same_work else None


def _remarks(rows: Sequence[Row]) -> list[str]:
    """Return what the user should know about the times."""
    remarks = []
    for clock in dict.fromkeys(row.clock for row in rows):
        runtimes = dict.fromkeys(row.runtime for row in rows if row.clock == clock)
        remarks.append(f"{', '.join(runtimes)}: {clock}")
    remarks += [
        "latency: one pass at a time on each stream; images/s: of all streams, on a GPU with passes "
        "queued",
        "inputs are noise: where NMS is inside, it has few boxes to look at",
    ]
    watched = [row.clocks for row in rows if row.clocks.name]
    if watched:
        remarks.append(_describe_gpu(watched))
    reasons = sorted({reason for gpu in watched for reason in gpu.throttled})
    if reasons:
        remarks.append(
            f"warning: the GPU was throttled ({', '.join(reasons)}): times are longer than they "
            "could be"
        )
    remarks += dict.fromkeys(row.clocks.why_not for row in rows if row.clocks.why_not)
    return [*remarks, ASSUMPTION]


def _describe_gpu(watched: Sequence[clocks.Clocks]) -> str:
    """Return name, driver, clocks and temperature of the GPU, for people."""
    speeds = [gpu.sm_mhz for gpu in watched if gpu.sm_mhz]
    clock = ""
    if speeds:
        slowest, fastest = min(low for low, _ in speeds), max(high for _, high in speeds)
        clock = f", SM clock {slowest} to {fastest} MHz"
    celsius = max(gpu.celsius or 0 for gpu in watched)
    return f"{watched[0].name}, driver {watched[0].driver}{clock}, at most {celsius} °C"
