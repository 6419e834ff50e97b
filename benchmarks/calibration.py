"""INT8 calibration against its floor and its peers: time and memory, as ratios taken in one run.

    python benchmarks/calibration.py MODEL.onnx ... --images photos/ [--peers PYTHON] [--rounds N]
    [--memory]

The floor is the forward passes that any calibration needs: FP32, ONNX Runtime as it comes, one
image at a time. Peers
run as whole processes beside ours as a whole process: nvidia-modelopt's entropy on all images,
onnxruntime's on 16 (its
memory grows with the images: over 19 GB at 64), of every operator, as it comes, and of convolutions
alone. Ours and
theirs take turns, and medians are compared. onnxruntime reads the photographs as ours does;
modelopt takes ready tensors. ``--peers`` names a Python that has them, and Pillow; modelopt needs
an environment of its own.

Without models it takes the demo detector.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
ORT_IMAGES = 16

ORT = """
import os, sys
import numpy as np
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType, quantize_static
from PIL import Image, ImageOps
model, photos, made, name, height, width, *operators = sys.argv[1:]
class Reader(CalibrationDataReader):
    def __init__(self):
        self.files = iter(sorted(os.listdir(photos)))
    def get_next(self):
        file = next(self.files, None)
        if file is None:
            return None
        photo = Image.open(os.path.join(photos, file)).convert("RGB")
        seen = ImageOps.pad(photo, (int(width), int(height)), Image.Resampling.BILINEAR)
        return {name: np.asarray(seen, np.float32).transpose(2, 0, 1)[None] / 255}
quantize_static(model, made, Reader(), calibrate_method=CalibrationMethod.Entropy, weight_type=QuantType.QInt8,
                activation_type=QuantType.QInt8, op_types_to_quantize=operators or None)
"""


# A process of its own: Linux counts the memory of the process that forked a child as the child's,
# too.
LAUNCH = """
import resource, subprocess, sys, time
started = time.monotonic()
with open(sys.argv[1], "w") as log:
    status = subprocess.call(sys.argv[2:], stdout=log, stderr=log)
print(time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024, status)
"""


def child(command: list[str], log: Path) -> tuple[float, float, int]:
    """Seconds, peak resident bytes and exit status of a process."""
    launch = [sys.executable, "-c", LAUNCH, os.fspath(log), *command]
    # Modules are compiled once, as they are where trtforge is installed: the peers are.
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    seconds, peak, status = subprocess.run(
        launch, check=True, capture_output=True, text=True, env=kept
    ).stdout.split()
    return float(seconds), float(peak), int(status)


def floor(model: Path, batches: list[np.ndarray]) -> float:
    """Seconds for one plain forward pass of each batch."""
    import onnxruntime as ort

    engine = ort.InferenceSession(os.fspath(model), providers=["CPUExecutionProvider"])
    name = engine.get_inputs()[0].name
    engine.run(None, {name: batches[0]})
    started = time.monotonic()
    for batch in batches:
        engine.run(None, {name: batch})
    return time.monotonic() - started


def ours(model: Path, images: Path, taps: str, folder: Path) -> float:
    """Seconds from the folded model to the table of ranges: session, decoding, network, histograms,
    thresholds.
    """
    from trtforge.graph.quantize.taps import TAPS
    from trtforge.recipe import Preprocess
    from trtforge.stages import calibrate
    from trtforge.stages.observe import ObserveOptions

    observing = ObserveOptions(Preprocess(), next(known for known in TAPS if known == taps))
    choosing = calibrate.CalibrateOptions("entropy", 99.999)
    started = time.monotonic()
    calibrate.calibrate_images(folder, model, images, observing, choosing)
    return time.monotonic() - started


def compare(model: Path, images: Path, peers: str | None, rounds: int, folder: Path) -> None:
    from trtforge.calibration.images import list_images, prepare
    from trtforge.graph.edit.nodes import input_size
    from trtforge.graph.model import graph_of, load
    from trtforge.recipe import Preprocess

    clean = folder / "clean.onnx"
    run = [sys.executable, "-m", "trtforge"]
    subprocess.run([*run, "fold", model, "-o", clean], check=True, stdout=subprocess.DEVNULL)
    graph = graph_of(load(clean))
    size = input_size(graph)
    assert size
    files = list_images(images)
    batches = [prepare(file, Preprocess(), size) for file in files]
    few = folder / "few"
    few.mkdir()
    for file in files[:ORT_IMAGES]:
        (few / file.name).symlink_to(file.resolve())

    # This first run reads libraries and photos from the disk for all later runs.
    ours(clean, few, "explicit", folder)
    turns = [
        (
            floor(clean, batches),
            ours(clean, images, "explicit", folder),
            ours(clean, images, "implicit", folder),
        )
        for _ in range(rounds)
    ]
    passes, explicit, implicit = map(statistics.median, zip(*turns, strict=True))
    print(f"\n{model.name}, {len(files)} images, {os.cpu_count()} cores")
    print(f"  {len(files)} forward passes                {passes:6.2f} s")
    print(
        f"  trtforge, explicit                {explicit:6.2f} s   {explicit / passes:.2f} times the passes"
    )
    print(
        f"  trtforge, implicit                {implicit:6.2f} s   {implicit / passes:.2f} times the passes"
    )

    whole = [*run, "calibrate", os.fspath(clean), "-o", os.fspath(folder / "t.json"), "--calib"]
    if peers is None:
        print_child("whole process", [own_child([*whole, os.fspath(images)], folder / "log")])
        return
    np.save(folder / "all.npy", np.concatenate(batches))
    modelopt = [
        peers,
        "-m",
        "modelopt.onnx.quantization",
        f"--onnx_path={clean}",
        "--quantize_mode=int8",
        f"--calibration_data={folder / 'all.npy'}",
        "--calibration_method=entropy",
        "--calibration_eps",
        "cpu",
        f"--output_path={folder / 'modelopt.onnx'}",
    ]
    (folder / "ort.py").write_text(ORT)
    ort = [
        peers,
        os.fspath(folder / "ort.py"),
        os.fspath(clean),
        os.fspath(few),
        os.fspath(folder / "ort.onnx"),
        graph.inputs[0].name,
        *map(str, size),
    ]
    beside(
        f"{len(files)} images",
        [*whole, os.fspath(images)],
        {"modelopt entropy": modelopt},
        rounds,
        folder / "log",
    )
    others = {"onnxruntime entropy": ort, "  convolutions alone": [*ort, "Conv"]}
    beside(f"{ORT_IMAGES} images", [*whole, os.fspath(few)], others, rounds, folder / "log")


def beside(
    images: str, whole: list[str], peers: dict[str, list[str]], rounds: int, log: Path
) -> None:
    """Peers as whole processes, with ours before and after each run of theirs."""
    own = [own_child(whole, log)]
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in peers}
    failed: dict[str, str] = {}
    for name, command in [*peers.items()] * rounds:
        if name in failed:
            continue
        took, peak, status = child(command, log)
        runs[name].append((took, peak))
        if status:
            failed[name] = (
                f"failed with {status} {log.read_text(errors='replace').strip().splitlines()[-1:]}"
            )
        own += [own_child(whole, log), own_child(whole, log)]
    seconds = print_child(f"whole process, {images}", own)
    for name, theirs in runs.items():
        remark = (
            failed.get(name)
            or f"{statistics.median(took for took, _ in theirs) / seconds:.1f} times ours"
        )
        print_child(f"{name}, {images}", theirs, remark)


def own_child(whole: list[str], log: Path) -> tuple[float, float]:
    seconds, peak, status = child(whole, log)
    assert status == 0, log.read_text()
    return seconds, peak


def print_child(name: str, runs: list[tuple[float, float]], remark: str = "") -> float:
    """Says, and returns, the median of their seconds."""
    seconds = statistics.median(took for took, _ in runs)
    print(
        f"  {name:33} {seconds:6.2f} s   {max(peak for _, peak in runs) / 1e9:.2f} GB   {remark}".rstrip()
    )
    return seconds


def memory(model: Path, images: Path, rounds: int, folder: Path) -> None:
    """Peak memory with 32 and with 512 images: copies of those given, each with a byte more, so
    that all differ.

    Medians, because addresses are random, and the peak with them by 2 %.
    """
    files = sorted(path for path in images.iterdir() if path.suffix == ".jpg")
    clean, peaks = folder / "clean.onnx", {}
    run = [sys.executable, "-m", "trtforge"]
    subprocess.run([*run, "fold", model, "-o", clean], check=True, stdout=subprocess.DEVNULL)
    for count in (32, 512):
        many = folder / f"many{count}"
        many.mkdir()
        for index in range(count):
            (many / f"{index:03}.jpg").write_bytes(
                files[index % len(files)].read_bytes() + index.to_bytes(2, "big")
            )
        command = [
            *run,
            "calibrate",
            os.fspath(clean),
            "--calib",
            os.fspath(many),
            "-o",
            os.fspath(folder / "m.json"),
        ]
        peaks[count] = statistics.median(
            own_child(command, folder / "log")[1] for _ in range(rounds)
        )
    few, lots = peaks[32], peaks[512]
    print(
        f"\n{model.name}: peak {few / 1e9:.3f} GB with 32 images, {lots / 1e9:.3f} GB with 512: {lots / few:.3f} times"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "models", type=Path, nargs="*", default=[ROOT / "recipes" / "demo" / "demo.onnx"]
    )
    parser.add_argument("--images", type=Path, default=ROOT / "calibration" / "demo")
    parser.add_argument(
        "--peers", help="a Python with nvidia-modelopt[onnx], onnxruntime and Pillow"
    )
    parser.add_argument(
        "--rounds", type=int, default=3, help="runs of each, of which the median counts"
    )
    parser.add_argument(
        "--memory", action="store_true", help="peak memory at 32 and 512 images instead"
    )
    asked = parser.parse_args()
    for model in asked.models:
        with tempfile.TemporaryDirectory() as name:
            if asked.memory:
                memory(model, asked.images, asked.rounds, Path(name))
            else:
                compare(model, asked.images, asked.peers, asked.rounds, Path(name))


if __name__ == "__main__":
    main()
