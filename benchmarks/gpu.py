"""On a real GPU: the demo detector in ONNX Runtime CUDA against PyTorch, and calibration against
its forward passes.

    python benchmarks/gpu.py --out gpu.md [--model MODEL.onnx] [--weights ema.pt] [--seconds 480]

Latency is of one pass at a time, throughput of passes queued back to back, both between CUDA events
on the network's stream; inputs and outputs stay on the device, but for the table of transfers.
Needs onnxruntime-gpu, pycuda, nvcc and, for the comparison, PyTorch with CUDA. A part that fails
prints its error, and the others go on; parts that would begin after ``--seconds`` are left out and
named. ``--cpu`` runs the script without a GPU, to try it.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "recipes" / "demo"
PHOTOS = ROOT / "calibration" / "demo"
BATCHES = (1, 8, 32)
SIZE = (640, 640)


class Report:
    """Markdown on stdout as it grows, and in a file that is complete after every part."""

    def __init__(self, out: Path | None, seconds: float) -> None:
        self._out, self._end, self._lines = out, time.monotonic() + seconds, [""]

    def write(self, text: str) -> None:
        print(text, flush=True)
        self._lines.append(text)
        if self._out:
            self._out.write_text("\n".join(self._lines).strip() + "\n", encoding="utf-8")

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        bars = ["---", *["---:"] * (len(header) - 1)]
        self.write("\n" + "\n".join("| " + " | ".join(row) + " |" for row in (header, bars, *rows)))

    def part(self, title: str, work: Callable[[Report], None]) -> None:
        if time.monotonic() > self._end:
            self.write(f"\n{title}: left out, the time is over.")
            return
        self.write(f"\n## {title}")
        started = time.monotonic()
        try:
            work(self)
        except Exception as error:
            traceback.print_exc()
            self.write(f"\nFailed: {type(error).__name__}: {str(error).strip().splitlines()[:1]}")
        note(f"{title}: {time.monotonic() - started:.0f} s")

    def late(self) -> bool:
        return time.monotonic() > self._end


def note(text: str) -> None:
    print(f"  [{text}]", file=sys.stderr, flush=True)


def machine(report: Report, cuda: bool) -> None:
    from trtforge.store import version_of

    card = [platform.processor() or platform.machine()]
    if cuda:
        query = [
            "nvidia-smi",
            "--query-gpu=name,driver_version,memory.total,clocks.max.sm",
            "--format=csv,noheader",
        ]
        card = (
            subprocess.run(query, capture_output=True, text=True, check=True)
            .stdout.strip()
            .splitlines()[:1]
        )
    report.write(
        f"\n{card[0]}; {datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d}; {os.cpu_count()} CPU cores"
    )
    tools = ["onnxruntime-gpu", "onnxruntime", "torch", "pycuda", "numpy"]
    report.write(
        "Python "
        + platform.python_version()
        + "".join(f", {tool} {version_of(tool)}" for tool in tools if version_of(tool) != "none")
    )


def prepared(model: Path, folder: Path) -> dict[str, Path]:
    """The folded graph in FP32 and FP16."""
    from trtforge.recipe import Decode
    from trtforge.stages import cast, fold
    from trtforge.store import File

    paths = {}
    for name in ("fp32", "fp16"):
        (folder / name).mkdir()
        paths[name] = folder / name / "model.onnx"
    folding = fold.FoldOptions(None, SIZE, Decode(), check=False)
    fold.run(folder / "fp32", fold.FoldInputs(File(model)), folding)
    cast.run(folder / "fp16", cast.CastInputs(File(paths["fp32"])), cast.CastOptions())
    return paths


class Clock:
    """Times openers, and keeps one row for each."""

    def __init__(self, report: Report, duration: float, bus_id: str | None) -> None:
        self.report, self.duration, self.bus_id = report, duration, bus_id
        self.found: dict[tuple[str, int], tuple[float, float]] = {}
        self.rows: list[list[str]] = []
        self.seen: list[Any] = []

    def time(self, label: str, batch: int, make: Callable[[], Any], streams: int = 1) -> None:
        from trtforge.timing import clocks
        from trtforge.timing.measure import measure, summary

        if self.report.late():
            self.rows.append([label, str(batch), "left out: the time is over", "", "", "", ""])
            return
        try:
            with clocks.watch(self.bus_id) as seen:
                timed = measure(make(), batch, streams, 0.5, self.duration)
        except Exception as error:
            traceback.print_exc()
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            self.rows.append([label, str(batch), f"failed: {first[:120]}", "", "", "", ""])
            return
        found = summary(timed.latencies)
        self.found[label, batch] = found.median, timed.images_per_second
        self.seen.append(seen)
        queued = batch / timed.images_per_second * 1e3
        figures = [f"{value:.3f}" for value in (found.mean, found.median, found.p99)]
        self.rows.append(
            [label, str(batch), *figures, f"{timed.images_per_second:.0f}", f"{queued:.3f}"]
        )
        note(" ".join(self.rows[-1]))

    def table(self) -> None:
        self.report.table(
            ["", "batch", "latency ms, mean", "median", "p99", "images/s", "ms per batch, queued"],
            self.rows,
        )
        clocks = [seen for seen in self.seen if seen.sm_mhz]
        if clocks:
            low, high = (
                min(each.sm_mhz[0] for each in clocks),
                max(each.sm_mhz[1] for each in clocks),
            )
            reasons = sorted({reason for each in clocks for reason in each.throttled})
            self.report.write(
                f"\nSM clock {low} to {high} MHz, at most {max(each.celsius for each in clocks)} °C, "
                f"throttled: {', '.join(reasons) or 'never'}."
            )
        elif self.seen:
            self.report.write(f"\n{self.seen[0].why_not or 'no GPU'}")


def detector(model: Path, weights: Path | None) -> Any:
    """The demo in PyTorch, as ``recipes/demo/export.py`` exports it; with random weights unless
    some are given.
    """
    import onnx
    import torch

    spec = importlib.util.spec_from_file_location("demo_model", DEMO / "model.py")
    assert spec and spec.loader
    code = importlib.util.module_from_spec(spec)
    sys.modules["demo_model"] = code
    spec.loader.exec_module(code)
    output = onnx.load(model, load_external_data=False).graph.output[0].type.tensor_type.shape.dim
    torch.manual_seed(0)
    network = code.Detector(output[1].dim_value - 4)
    if weights:
        network.load_state_dict(torch.load(weights, weights_only=True, map_location="cpu"))
    code.fold_batchnorm(network.eval())
    return code.Decoded(network).eval().requires_grad_(False)


def against_torch(
    model: Path,
    weights: Path | None,
    duration: float,
    bus_id: str | None,
    cuda: bool,
    graphs: dict[str, Path],
) -> Callable[[Report], None]:
    def work(report: Report) -> None:
        from trtforge.timing import cuda as gpu
        from trtforge.timing import onnxruntime_cpu, torch_model

        clock = Clock(report, duration, bus_id)
        variants = (False, True) if cuda else (False,)
        module = None
        try:
            if model.samefile(DEMO / "demo.onnx"):  # no other is at hand in PyTorch
                module = detector(model, weights)
        except Exception as error:
            traceback.print_exc()
            report.write(f"\nNo PyTorch rows: {type(error).__name__}: {error}")
        try:
            for batch in BATCHES if cuda else (1,):
                images = np.random.default_rng(0).random((batch, 3, *SIZE), np.float32)
                for precision in ("fp32", "fp16"):
                    for graph in variants:
                        label = _label("ONNX Runtime", precision, graph)
                        open_session = partial(
                            onnxruntime_cpu.opener, graphs[precision], batch, SIZE
                        )
                        if cuda:
                            open_session = partial(
                                gpu.opener,
                                graphs[precision],
                                batch,
                                SIZE,
                                graph=graph,
                                transfers=False,
                            )
                        clock.time(label, batch, open_session)
                    for graph in variants if module is not None else ():
                        label = _label("PyTorch eager", precision, graph)
                        clock.time(
                            label,
                            batch,
                            partial(
                                torch_model.opener,
                                module,
                                images,
                                cuda=cuda,
                                half=precision == "fp16",
                                compiled=False,
                                graph=graph,
                                transfers=False,
                            ),
                        )
        finally:
            clock.table()
        speedups(report, clock, cuda)

    return work


def _label(runtime: str, precision: str, graph: bool) -> str:
    return f"{runtime} {precision.upper()}{', CUDA graph' if graph else ''}"


def speedups(report: Report, clock: Clock, cuda: bool) -> None:
    rows = []
    for precision in ("fp32", "fp16"):
        for graph in (False, True) if cuda else (False,):
            for base, plain in (
                (_label("PyTorch eager", precision, graph), graph),
                (_label("PyTorch eager", "fp32", False), True),
            ):
                own = _label("ONNX Runtime", precision, graph)
                for batch in BATCHES if cuda else (1,):
                    if (own, batch) in clock.found and (base, batch) in clock.found:
                        one, other = clock.found[own, batch], clock.found[base, batch]
                        row = [
                            f"{own} / {base}",
                            str(batch),
                            f"{other[0] / one[0]:.2f}",
                            f"{one[1] / other[1]:.2f}",
                        ]
                        if row not in rows and (plain or not graph):
                            rows.append(row)
    report.table(["how many times as fast", "batch", "by latency", "by throughput"], rows)


def compiled(duration: float, bus_id: str | None, weights: Path | None) -> Callable[[Report], None]:
    def work(report: Report) -> None:
        from trtforge.timing import torch_model

        clock = Clock(report, duration, bus_id)
        module = detector(DEMO / "demo.onnx", weights)
        try:
            for half in (False, True):
                for batch in BATCHES:
                    images = np.random.default_rng(0).random((batch, 3, *SIZE), np.float32)
                    clock.time(
                        f"torch.compile {'FP16' if half else 'FP32'}",
                        batch,
                        partial(
                            torch_model.opener,
                            module,
                            images,
                            cuda=True,
                            half=half,
                            compiled=True,
                            graph=False,
                            transfers=False,
                        ),
                    )
        finally:
            clock.table()

    return work


def transfers_and_streams(
    duration: float, bus_id: str | None, model: Path
) -> Callable[[Report], None]:
    def work(report: Report) -> None:
        from trtforge.timing import cuda as gpu

        clock = Clock(report, duration, bus_id)
        try:
            for batch in BATCHES:
                clock.time(
                    "FP16, CUDA graph, with transfers",
                    batch,
                    partial(gpu.opener, model, batch, SIZE, graph=True, transfers=True),
                )
            for streams in (1, 2, 4):
                clock.time(
                    f"FP16, CUDA graph, {streams} streams",
                    1,
                    partial(gpu.opener, model, 1, SIZE, graph=True, transfers=False),
                    streams,
                )
        finally:
            clock.table()

    return work


def copies(folder: Path, count: int) -> Path:
    """So many different files: those of the repository, each with a byte more, so that none is a
    duplicate.
    """
    files = sorted(PHOTOS.glob("*.jpg"))
    folder.mkdir()
    for index in range(count):
        (folder / f"{index:04}.jpg").write_bytes(
            files[index % len(files)].read_bytes() + index.to_bytes(2, "big")
        )
    return folder


def observed(model: Path, images: Path, provider: str, folder: Path) -> float:
    """Seconds from the folder of images to histograms: session, decoding, network, counting."""
    from trtforge.recipe import Preprocess
    from trtforge.stages import observe
    from trtforge.store import File

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    started = time.monotonic()
    options = observe.ObserveOptions(Preprocess(), provider=provider)
    observe.run(folder, observe.ObserveInputs(File(model), File(images)), options)
    return time.monotonic() - started


def forward(model: Path, images: Path, count: int, cuda: bool) -> tuple[float, float]:
    """Seconds for so many plain forward passes at batch 1: each image copied to the device; and by
    CUDA events.

    In true FP32, as calibration runs; outputs stay on the device. The images are decoded before.
    """
    from trtforge.backends import onnxruntime as backend
    from trtforge.calibration.images import list_images, prepare
    from trtforge.recipe import Preprocess

    batches = [prepare(file, Preprocess(), SIZE) for file in list_images(images)[:64]]
    engine = backend.cuda_session(model.read_bytes()) if cuda else backend.session(model)
    binding, name = engine.io_binding(), engine.get_inputs()[0].name

    def run(batch: np.ndarray) -> None:
        binding.bind_cpu_input(name, batch)
        for output in engine.get_outputs():
            binding.bind_output(output.name, "cuda" if cuda else "cpu", 0)
        engine.run_with_iobinding(binding)

    for batch in batches[:8]:
        run(batch)
    started = time.monotonic()
    for index in range(count):
        run(batches[index % len(batches)])
    wall = time.monotonic() - started
    if not cuda:
        return wall, wall
    from trtforge.timing import cuda as gpu
    from trtforge.timing.measure import measure

    timed = measure(gpu.opener(model, 1, SIZE, graph=False, transfers=False), 1, 1, 0.5, 2.0)
    return wall, count * sum(timed.latencies) / len(timed.latencies) / 1e3


def calibration(model: Path, folder: Path, cuda: bool, many: int) -> Callable[[Report], None]:
    def work(report: Report) -> None:
        from trtforge.stages import calibrate
        from trtforge.store import File

        few_images, many_images = copies(folder / "few", 64), copies(folder / "many", many)
        warm = copies(folder / "warm", 4)
        place, device = folder / "histograms", "cuda" if cuda else "cpu"
        rows: list[list[str]] = []

        def row(what: str, count: int, seconds: float) -> None:
            rows.append([what, str(count), f"{seconds:.2f}", f"{seconds / count * 1e3:.2f}"])
            note(" ".join(rows[-1]))

        try:
            # The first run on a machine compiles the histogram for the CPU.
            observed(model, warm, "cpu", place)
            if cuda:
                row(
                    "first calibration on the GPU: nvcc compiles",
                    4,
                    observed(model, warm, "cuda", place),
                )
            small = observed(model, few_images, device, place)
            row(f"calibration, {device}", 64, small)
            large = observed(model, many_images, device, place)
            row(f"calibration, {device}", many, large)
            started = time.monotonic()
            histograms = calibrate.CalibrateInputs(File(place / "histograms.json"))
            calibrate.run(place, histograms, calibrate.CalibrateOptions("entropy", 99.999))
            row(
                "ranges from the histograms (entropy), on the CPU", many, time.monotonic() - started
            )
            wall, events = forward(model, few_images, many, cuda)
            row("forward passes alone, images copied to the device", many, wall)
            row(
                "forward passes alone, by CUDA events" if cuda else "forward passes alone",
                many,
                events,
            )
            report.write(
                f"\nCalibration of {many} images takes {large / wall:.2f} times its forward passes "
                f"({large / events:.2f} times those by CUDA events); "
                f"{(large - small) / (many - 64) * 1e3:.2f} ms for each further image."
            )
            if cuda:
                cpu = observed(model, few_images, "cpu", place)
                row("calibration, cpu", 64, cpu)
                report.write(
                    f"An image takes {cpu / 64 / (large / many):.1f} times as long on the CPU."
                )
        finally:
            report.table(["", "images", "seconds", "ms per image"], rows)

    return work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--model",
        type=Path,
        default=DEMO / "demo.onnx",
        help="decoded detector, 640x640, dynamic batch",
    )
    parser.add_argument(
        "--weights", type=Path, help="of the demo in PyTorch; without: random, as fast"
    )
    parser.add_argument("--out", type=Path, help="Markdown file")
    parser.add_argument(
        "--duration", type=float, default=2.0, help="seconds for latency, and again for throughput"
    )
    parser.add_argument(
        "--seconds", type=float, default=480.0, help="after that nothing new begins"
    )
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--cpu", action="store_true", help="try the script without a GPU")
    asked = parser.parse_args()
    sys.path.insert(0, os.fspath(ROOT))
    with contextlib.suppress(ImportError):
        import torch  # noqa: F401  # first: ONNX Runtime then finds the CUDA libraries that PyTorch has loaded
    from trtforge.backends.onnxruntime import has_cuda

    report = Report(asked.out, asked.seconds)
    cuda = not asked.cpu
    if cuda and not has_cuda():
        sys.exit("no GPU that onnxruntime-gpu and pycuda can use; --cpu tries the script without")
    bus_id = None
    if cuda:
        from pycuda import driver

        bus_id = driver.Device(0).pci_bus_id()
    report.write(
        f"# {asked.model.stem} on the GPU"
        if cuda
        else "# Trial without a GPU: the figures mean nothing"
    )
    report.part("Machine", lambda report: machine(report, cuda))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        graphs = prepared(asked.model, folder)
        report.part(
            "ONNX Runtime CUDA against PyTorch",
            against_torch(asked.model, asked.weights, asked.duration, bus_id, cuda, graphs),
        )
        report.part(
            f"Calibration of {asked.images} images",
            calibration(graphs["fp32"], folder, cuda, asked.images),
        )
        if cuda:
            report.part(
                "ONNX Runtime CUDA: transfers and streams",
                transfers_and_streams(asked.duration, bus_id, graphs["fp16"]),
            )
            report.part("torch.compile", compiled(asked.duration, bus_id, asked.weights))


if __name__ == "__main__":
    main()
