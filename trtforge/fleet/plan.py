"""Plan a fleet: folders to prepare, a job for each model and device, and the engines left out."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from trtforge import devices
from trtforge.backends import tensorrt_rtx
from trtforge.devices import Device, no_kernels
from trtforge.errors import ForgeError
from trtforge.fleet.schema import HOSTED, LABEL, Fleet, Model, Place, Verify, device_name
from trtforge.names import QUANTIZED, Precision
from trtforge.traits import ONNXRUNTIME, RTX

ON_DLA = ("fp16", "int8")
CONFIGS = ("pgie_config.txt", "pgie_config.yml", "deepstream_app.txt")


@dataclass(frozen=True)
class Prepared:
    """A folder that is prepared without a GPU: one for each model, precision and batch size.

    All devices share it.
    """

    model: str
    folder: str
    command: str


@dataclass(frozen=True)
class Bundle:
    """A folder that a job builds.

    Attributes:
        folder: ``bundles/MODEL/DEVICE/PRECISION``.
        prepared: prepared folder from which the job builds it.
        batch: batch size in the fleet; None is the model's own.
    """

    precision: Precision
    folder: str
    prepared: str
    batch: str | None


@dataclass(frozen=True)
class Job:
    """All precisions of a model on a device.

    Attributes:
        id: ``MODEL.DEVICE``; names contain no dot.
        model, device: their names in the fleet.
        target: name of the device in the catalogue; None is the runner's CPU.
        title: the device's name for people.
        backend: ``auto`` if the target decides.
        runs_on: labels of the runner; empty for the CI service's own runners.
        build, lint, verify, bench, report: commands for a POSIX shell at the root of the checkout.
    """

    id: str
    model: str
    device: str
    target: str | None
    title: str
    backend: str
    runs_on: tuple[str, ...]
    bundles: tuple[Bundle, ...]
    build: tuple[str, ...]
    lint: tuple[str, ...]
    verify: tuple[str, ...]
    bench: tuple[str, ...]
    report: tuple[str, ...]

    @property
    def reports(self) -> str:
        """The folder of its reports."""
        return f"reports/{self.model}/{self.device}"

    @property
    def made(self) -> str:
        """The folder of its bundles."""
        return f"bundles/{self.model}/{self.device}"


@dataclass(frozen=True)
class Skipped:
    """An engine that is not built, and why."""

    model: str
    device: str
    precision: Precision
    why: str

    def __str__(self) -> str:
        return f"{self.model} on {self.device} in {self.precision.upper()}: {self.why}"


@dataclass(frozen=True)
class Plan:
    """All work of the CI."""

    name: str
    prepare: tuple[Prepared, ...]
    jobs: tuple[Job, ...]
    skipped: tuple[Skipped, ...]
    install: tuple[str, ...]
    branches: tuple[str, ...]
    minutes: int

    @property
    def install_command(self) -> str:
        """The command that installs trtforge on a hosted runner."""
        return line("python", "-m", "pip", "install", *self.install)


@dataclass(frozen=True)
class _Pair:
    """A model on a device."""

    name: str
    model: Model
    on: str
    place: Place
    device: Device | None

    @property
    def hosted(self) -> bool:
        runs_on = self.place.runs_on
        return runs_on == (HOSTED,) or (runs_on is None and self.device is None)

    @property
    def backend(self) -> str:
        """The backend; a runner without GPU can only use those that need none."""
        if self.device is None:
            return ONNXRUNTIME
        return RTX if self.hosted and self.place.backend == "auto" else self.place.backend


def plan(fleet: Fleet) -> Plan:
    """Return the jobs of a fleet, in the order of its file.

    Raises:
        ForgeError: no device of the fleet can have any of the engines.
    """
    prepared: dict[str, Prepared] = {}
    jobs, skipped = [], []
    for name, model in fleet.models.items():
        for on, place in fleet.devices.items():
            known = device_name(on, place)
            pair = _Pair(name, model, on, place, devices.device(known) if known else None)
            reasons = {
                each: why_not(pair.place, pair.device, pair.backend, pair.hosted, each)
                for each in fleet.precisions_of(model)
            }
            skipped += [Skipped(name, on, each, why) for each, why in reasons.items() if why]
            if able := [each for each, why in reasons.items() if not why]:
                jobs.append(_job(pair, able))
                prepared |= {
                    each.folder: each for each in (_prepared(pair, precision) for precision in able)
                }
    if not jobs:
        raise ForgeError(f"nothing to build: {skipped[0]}", "change its devices or precisions")
    return Plan(
        fleet.name,
        tuple(prepared.values()),
        tuple(jobs),
        tuple(skipped),
        fleet.install,
        fleet.branches,
        fleet.minutes,
    )


def why_not(
    place: Place, device: Device | None, backend: str, hosted: bool, precision: Precision
) -> str:
    """Return why a device can't have an engine of a precision; empty if it can."""
    if backend == ONNXRUNTIME:
        if place.dla is not None:
            return "ONNX Runtime on a CPU has no DLA"
        return "ONNX Runtime on a CPU has no FP8 operators" if precision == "fp8" else ""
    assert device
    if not device.typed:
        return (
            f"{device.title} ends at TensorRT {device.tensorrt}, with which trtforge builds nothing: `trtforge "
            f"prepare --device {device.name}` writes what its own DeepStream builds from"
        )
    if why := no_kernels(device, precision):
        return why
    if place.dla is not None and (why := _no_dla(device, place.dla, backend, precision)):
        return why
    if backend == RTX:
        return tensorrt_rtx.why_not(device)
    return "TensorRT builds on its own GPU, and hosted runners have none" if hosted else ""


def _no_dla(device: Device, core: int, backend: str, precision: Precision) -> str:
    if core >= device.dla_cores:
        has = f"{device.dla_cores} DLA cores, numbered from 0" if device.dla_cores else "no DLA"
        return f"{device.title} has {has}"
    if backend == RTX:
        return "TensorRT-RTX builds only for GPUs, not for a DLA"
    return "" if precision in ON_DLA else "a DLA computes only in FP16 and INT8"


def line(*words: object, into: str = "") -> str:
    """Return a command line for a POSIX shell.

    Args:
        into: file that receives the output.
    """
    return shlex.join(map(str, words)) + (f" > {shlex.quote(into)}" if into else "")


def all_of(commands: Sequence[str]) -> str:
    """Return a shell script that runs every command and fails with the last failure.

    So a failed gate does not hide the next one.
    """
    if len(commands) <= 1:
        return "".join(commands)
    return "\n".join(["failed=0", *(f"{each} || failed=$?" for each in commands), 'exit "$failed"'])


def _prepared(pair: _Pair, precision: Precision) -> Prepared:
    model, batch = pair.model, pair.place.batch
    calib = ["--calib", model.calib] if model.calib and precision in QUANTIZED else []
    words = [
        "trtforge",
        "prepare",
        model.model,
        f"--{precision}",
        *calib,
        *_option("--recipe", model.recipe),
        *_option("--labels", model.labels),
        *_option("--size", model.size),
        *_option("--batch", batch),
        "-o",
        _prepared_folder(pair, precision),
    ]
    return Prepared(pair.name, _prepared_folder(pair, precision), line(*words))


def _prepared_folder(pair: _Pair, precision: Precision) -> str:
    batch = f"-b{pair.place.batch.replace(':', '-')}" if pair.place.batch else ""
    return f"prepared/{pair.name}/{precision}{batch}"


def _job(pair: _Pair, precisions: Sequence[Precision]) -> Job:
    bundles = [
        Bundle(
            each,
            f"bundles/{pair.name}/{pair.on}/{each}",
            _prepared_folder(pair, each),
            pair.place.batch,
        )
        for each in precisions
    ]
    timed = not pair.hosted or pair.backend == ONNXRUNTIME
    return Job(
        id=f"{pair.name}.{pair.on}",
        model=pair.name,
        device=pair.on,
        target=pair.device.name if pair.device else None,
        title=pair.device.title if pair.device else "the runner's CPU",
        backend=pair.backend,
        runs_on=_labels(pair),
        bundles=tuple(bundles),
        build=(
            *(_build(pair, each) for each in bundles),
            line("mkdir", "-p", *map(_reports, bundles)),
        ),
        lint=tuple(_lint(pair, each) for each in bundles),
        verify=tuple(_verify(pair, pair.model.verify, each) for each in bundles)
        if pair.model.verify
        else (),
        bench=tuple(_bench(pair, each) for each in bundles) if timed else (),
        report=tuple(_report(pair, each) for each in bundles),
    )


def _labels(pair: _Pair) -> tuple[str, ...]:
    """Return the labels of the runner; none for a hosted runner."""
    if pair.hosted:
        return ()
    if pair.place.runs_on:
        return pair.place.runs_on
    label = pair.device.ci_label if pair.device else ""
    if not re.fullmatch(LABEL, label):  # from a user's device file
        raise ForgeError(
            f"device {pair.on}: ci_label {label!r} is not a label of a runner",
            "name one with runs_on",
        )
    return (label,)


def _build(pair: _Pair, bundle: Bundle) -> str:
    place = pair.place
    return line(
        "trtforge",
        "build",
        bundle.prepared,
        *_option("--device", pair.device and pair.device.name),
        "--backend",
        pair.backend,
        *_option("--workspace", place.workspace),
        *_option("--dla", place.dla),
        *_option("--deepstream", place.deepstream),
        "-o",
        bundle.folder,
    )


def _lint(pair: _Pair, bundle: Bundle) -> str:
    version = pair.place.deepstream or (pair.device and pair.device.deepstream)
    return line(
        "trtforge",
        "deepstream",
        "lint",
        *(f"{bundle.folder}/{name}" for name in CONFIGS),
        *_option("--deepstream", version),
    )


def _verify(pair: _Pair, gate: Verify, bundle: Bundle) -> str:
    model = pair.model
    spec = model.model if model.own_recipe else model.recipe
    words = [
        "trtforge",
        "verify",
        model.onnx,
        bundle.folder,
        "--images",
        gate.images,
        "--labels",
        gate.labels,
        *_option("--recipe", spec),
        *_option("--max-drop", gate.max_drop),
        *_option("--min-map", gate.min_map),
        "--json",
    ]
    return line(*words, into=_accuracy(bundle))


def _bench(pair: _Pair, bundle: Bundle) -> str:
    limit = pair.model.max_latency.get(pair.on)
    words = ["trtforge", "bench", bundle.folder, *_option("--max-latency", limit), "--json"]
    return line(*words, into=f"{_reports(bundle)}/bench.json")


def _report(pair: _Pair, bundle: Bundle) -> str:
    accuracy = _accuracy(bundle) if pair.model.verify else None
    return line(
        "trtforge",
        "report",
        bundle.folder,
        *_option("--accuracy", accuracy),
        "-o",
        _reports(bundle),
    )


def _reports(bundle: Bundle) -> str:
    return bundle.folder.replace("bundles/", "reports/", 1)


def _accuracy(bundle: Bundle) -> str:
    return f"{_reports(bundle)}/verify.json"


def _option(option: str, value: object) -> list[object]:
    """Return an option and its value; nothing without a value."""
    return [] if value is None else [option, value]
