"""Which backend builds for which device, on this machine."""

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
from trtforge.names import BACKENDS, Backend
from trtforge.pipeline.job import Job
from trtforge.store import Store

NO_GPU = (
    "no GPU here and no --device: building for this CPU with onnxruntime. "
    "For a TensorRT engine name the target, e.g. --device rtx-4090 (see `trtforge devices`)"
)


def target(backend: str, device: Device | None) -> tuple[Target, str]:
    """The target that the options mean, and a line for the user where that is not obvious.

    Args:
        backend: auto, or a backend's name.
        device: the one named, or None: this machine's.

    Raises:
        ForgeError: no backend of that name.
        MachineError: the backend can't build for the device here.
    """
    if backend not in ("auto", *BACKENDS):
        raise ForgeError(
            f"there is no backend called {backend!r}", f"one of: auto, {', '.join(BACKENDS)}"
        )
    if backend == "onnxruntime":
        return Target("onnxruntime", device), ""
    here = this_machine()
    wanted = device or here
    if wanted is None:
        if backend == "auto":
            return Target("onnxruntime", None), NO_GPU
        hint = (
            "name the target with --device" if backend == "tensorrt-rtx" else "run it on the target"
        )
        raise MachineError(f"no GPU on this machine to build for with {backend}", hint)
    if backend == "tensorrt-rtx":
        return Target(_rtx(wanted), wanted), ""
    why = tensorrt.refuses(wanted, here)
    if why and (backend == "tensorrt" or not wanted.typed):
        raise MachineError(why, _elsewhere(wanted))
    if not why and (backend == "tensorrt" or find_spec("tensorrt")):
        tensorrt.module()
        return Target("tensorrt", wanted), ""
    return Target(_rtx(wanted), wanted), ""


def targets(
    workers: Workers, backend: str, devices: Sequence[Device | None]
) -> tuple[list[Target], list[str]]:
    """The target of each device, as the machine says that will build for it, and lines for the
    user.

    Raises:
        ForgeError: the devices are not named, and this machine's GPU is not what counts; see
            ``target``.
    """
    if not workers.here and None in devices and backend != "onnxruntime":
        raise ForgeError(
            "a cluster has many GPUs",
            "name the targets with --device, or give --backend onnxruntime",
        )
    cells = [Cell((backend, each), each if backend != "onnxruntime" else None) for each in devices]
    found = workers.results(_target, cells)
    return [chosen for chosen, _ in found], [note for _, note in found if note]


def check(
    workers: Workers,
    targets: Sequence[Target],
    work: Job | Prepared,
    options: BuildOptions,
    deepstream: str | None,
) -> list[str]:
    """Ask, before any work, whether each target's builder takes the options.

    Args:
        deepstream: version that the user named.

    Returns:
        Remarks for the user.

    Raises:
        MachineError: a builder lacks what is asked for, or DeepStream can't load what it makes.
        ForgeError: ONNX Runtime has no such options.
    """
    if work.implicit and any(target.backend == "onnxruntime" for target in targets):
        raise ForgeError(
            "ONNX Runtime takes precisions from the graph alone, not from a builder's choice",
            "give --int8-mode explicit, or no device that ends at TensorRT 8",
        )
    if work.implicit and work.precision == "int8":
        options = replace(options, implicit=work.recipe.precision.rest)
    cells = [Cell((target, options, deepstream), place(target)) for target in targets]
    return [remark for remarks in workers.results(_check, cells) for remark in remarks]


def place(target: Target) -> Device | None:
    """The device that must be where the target's engine is built, or timed."""
    return target.device if target.backend != "onnxruntime" else None


def _target(asked: tuple[str, Device | None], store: Store) -> tuple[Target, str]:
    return target(*asked)


def _check(asked: tuple[Target, BuildOptions, str | None], store: Store) -> list[str]:
    chosen, options, deepstream = asked
    if chosen.backend == "onnxruntime" and (given := _given(options)):
        raise ForgeError(
            f"onnxruntime has no builder that takes {given}", "drop it, or build for a GPU"
        )
    if chosen.backend == "tensorrt-rtx":
        tensorrt_rtx.check(options)
    if chosen.backend != "tensorrt":
        return []
    if _given(options) or options.implicit:
        tensorrt.check(options)
    return _deepstream(chosen, deepstream)


def _given(options: BuildOptions) -> str:
    """The first option that is not the default, as the command line calls it; workspace aside,
    which any may take.
    """
    names = {"pools": "memory-pool", "profiles": "profile", "dla_core": "dla"}
    return next(
        (
            f"--{names.get(field.name, field.name.replace('_', '-'))}"
            for field in fields(options)
            if field.name not in ("workspace", "implicit", "calibrator")
            and getattr(options, field.name) != getattr(PLAIN, field.name)
        ),
        "",
    )


def _deepstream(chosen: Target, asked: str | None) -> list[str]:
    wanted = asked or (chosen.device and chosen.device.deepstream)
    why = mismatch(wanted, tensorrt.module().__version__) if wanted else ""
    if why and asked:
        raise MachineError(
            f"--deepstream {asked}: {why}", "build with the TensorRT that it was built for"
        )
    return [why] if why else []


def _rtx(device: Device) -> Backend:
    if why := tensorrt_rtx.refuses(device):
        raise MachineError(why, _elsewhere(device))
    if find_spec("tensorrt_rtx") is None:
        raise MachineError(
            f"no builder for {device.title} on this machine: TensorRT-RTX is not installed",
            tensorrt_rtx.INSTALL,
        )
    return "tensorrt-rtx"


def _elsewhere(device: Device) -> str:
    if not device.typed:
        return (
            f"`trtforge prepare ... --device {device.name}` writes what its own DeepStream {device.deepstream} "
            "builds from"
        )
    return (
        f"run `trtforge prepare ... --device {device.name}` here, and `trtforge build PREPARED/` on the "
        f"{device.title}"
    )
