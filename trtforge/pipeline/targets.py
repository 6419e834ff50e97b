"""Choose the backend that builds for a device on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from importlib.util import find_spec

from trtforge.backends import tensorrt, tensorrt_rtx
from trtforge.backends.options import PLAIN, BuildOptions
from trtforge.bundle.prepared import Prepared, Target
from trtforge.cluster import Cell, Workers
from trtforge.devices import Device, this_machine
from trtforge.devices.stacks import mismatch
from trtforge.errors import ForgeError, MachineError
from trtforge.names import Backend
from trtforge.pipeline.job import Job
from trtforge.store import Store
from trtforge.traits import ONNXRUNTIME, RTX, TRAITS

NO_GPU = (
    "no GPU here and no --device: building for this CPU with onnxruntime. "
    "For a TensorRT engine name the target, e.g. --device rtx-4090 (see `trtforge devices`)"
)


def target(backend: str, device: Device | None) -> tuple[Target, str]:
    """Choose the backend that builds for a device on this machine.

    Args:
        backend: ``auto``, or the name of a backend.
        device: the device that the user named; None: the device that this machine is.

    Returns:
        The target, and a line for the user where the choice is not obvious.

    Raises:
        ForgeError: there is no backend of that name.
        MachineError: the backend can't build for the device here.
    """
    if backend not in ("auto", *TRAITS):
        raise ForgeError(
            f"there is no backend called {backend!r}", f"one of: auto, {', '.join(TRAITS)}"
        )
    if backend == ONNXRUNTIME:
        return Target(ONNXRUNTIME, device), ""
    here = this_machine()
    device = device or here
    if device is None:
        if backend == "auto":
            return Target(ONNXRUNTIME, None), NO_GPU
        hint = "name the target with --device" if backend == RTX else "run it on the target"
        raise MachineError(f"no GPU on this machine to build for with {backend}", hint)
    if backend == RTX:
        return Target(_rtx(device), device), ""
    reason = tensorrt.why_not(device, here)
    if reason and (backend == "tensorrt" or not device.typed):
        raise MachineError(reason, _elsewhere(device))
    if not reason and (backend == "tensorrt" or find_spec("tensorrt")):
        tensorrt.module()
        return Target("tensorrt", device), ""
    return Target(_rtx(device), device), ""


def targets(
    workers: Workers, backend: str, devices: Sequence[Device | None]
) -> tuple[list[Target], list[str]]:
    """Choose the backend of each device, on the machine that will build for it.

    Returns:
        The targets, and lines for the user.

    Raises:
        ForgeError: a cluster builds, and the devices are not named; see ``target``.
    """
    if not workers.here and None in devices and backend != ONNXRUNTIME:
        raise ForgeError(
            "a cluster has many GPUs",
            "name the targets with --device, or give --backend onnxruntime",
        )
    cells = [
        Cell((backend, device), None if backend == ONNXRUNTIME else device) for device in devices
    ]
    choices = workers.results(_target_in_cell, cells)
    return [choice for choice, _ in choices], [note for _, note in choices if note]


def check(
    workers: Workers,
    targets: Sequence[Target],
    work: Job | Prepared,
    options: BuildOptions,
    deepstream: str | None,
) -> list[str]:
    """Ask each target's builder, before any work, whether it takes the options.

    Args:
        deepstream: the version that the user named.

    Returns:
        Remarks for the user.

    Raises:
        MachineError: a builder lacks what an option needs, or DeepStream can't load its engines.
        ForgeError: ONNX Runtime has no such options.
    """
    backends = [target.backend for target in targets if target.backend]
    if work.implicit and ONNXRUNTIME in backends:
        raise ForgeError(
            "ONNX Runtime takes precisions from the graph alone, not from a builder's choice",
            "give --int8-mode explicit, or no device that ends at TensorRT 8",
        )
    if work.implicit and work.precision == "int8":
        options = replace(options, implicit=work.recipe.precision.rest)
    fp8 = work.precision == "fp8"
    cells = [Cell((target, options, deepstream, fp8), place(target)) for target in targets]
    return [remark for remarks in workers.results(_check_in_cell, cells) for remark in remarks]


def place(target: Target) -> Device | None:
    """Return the device of the machine that must build the target's engine, or time it."""
    on_gpu = target.backend is None or TRAITS[target.backend].on_gpu
    return target.device if on_gpu else None


def _target_in_cell(task: tuple[str, Device | None], store: Store) -> tuple[Target, str]:
    return target(*task)


def _check_in_cell(task: tuple[Target, BuildOptions, str | None, bool], store: Store) -> list[str]:
    target, options, deepstream, fp8 = task
    option = _first_option(options)
    if target.backend == ONNXRUNTIME and option:
        raise ForgeError(
            f"onnxruntime has no builder that takes {option}", "drop it, or build for a GPU"
        )
    if target.backend == RTX:
        tensorrt_rtx.check(options)
    if target.backend != "tensorrt":
        return []
    if option or options.implicit or fp8:
        tensorrt.check(options, fp8)
    return _deepstream_remarks(target, deepstream)


def _first_option(options: BuildOptions) -> str:
    """Return the first option that is not the default, as the command line calls it.

    The workspace does not count: every backend takes it.
    """
    names = {"pools": "memory-pool", "profiles": "profile", "dla_core": "dla"}
    for field in fields(options):
        if field.name in ("workspace", "implicit", "calibrator"):
            continue
        if getattr(options, field.name) != getattr(PLAIN, field.name):
            return f"--{names.get(field.name, field.name.replace('_', '-'))}"
    return ""


def _deepstream_remarks(target: Target, named: str | None) -> list[str]:
    """Tell whether a DeepStream loads what the installed TensorRT builds.

    Args:
        named: the DeepStream that the user named; None: the device's.

    Raises:
        MachineError: the one that the user named does not.
    """
    deepstream = named or (target.device.deepstream if target.device else None)
    why_not = mismatch(deepstream, tensorrt.module().__version__) if deepstream else ""
    if why_not and named:
        raise MachineError(
            f"--deepstream {named}: {why_not}", "build with the TensorRT that it was built for"
        )
    return [why_not] if why_not else []


def _rtx(device: Device) -> Backend:
    """Return TensorRT-RTX, if it builds for a device.

    Raises:
        MachineError: it does not, or is not installed.
    """
    if reason := tensorrt_rtx.why_not(device):
        raise MachineError(reason, _elsewhere(device))
    if find_spec("tensorrt_rtx") is None:
        raise MachineError(
            f"no builder for {device.title} on this machine: TensorRT-RTX is not installed",
            tensorrt_rtx.INSTALL,
        )
    return RTX


def _elsewhere(device: Device) -> str:
    """Return how the user gets an engine for a device that nothing here builds for."""
    if not device.typed:
        return (
            f"`trtforge prepare ... --device {device.name}` writes what its own DeepStream {device.deepstream} "
            "builds from"
        )
    return (
        f"run `trtforge prepare ... --device {device.name}` here, and `trtforge build PREPARED/` on the "
        f"{device.title}"
    )
