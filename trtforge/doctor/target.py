"""Check whether an engine for a device can be built on a machine.

The result must agree with ``trtforge.pipeline.targets.target``, which decides when the build runs;
a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterator

from trtforge.backends.tensorrt import why_not
from trtforge.backends.tensorrt_rtx import INSTALL
from trtforge.devices import Device
from trtforge.devices.machine import Machine
from trtforge.devices.stacks import mismatch, stack
from trtforge.doctor.diagnosis import Diagnosis
from trtforge.doctor.driver import upgrade
from trtforge.doctor.engines import bindings, imported, sudo, usable


def examine(machine: Machine, device: Device | None) -> Iterator[Diagnosis]:
    """Yield the diagnoses of building for a device; None is the machine's own GPU."""
    target = device or machine.device
    if target is None:
        yield Diagnosis(
            "build",
            "ok",
            "for this processor with onnxruntime; for a GPU name the target with --device",
        )
        return
    yield _build(machine, target)
    if machine.device and machine.device.sm == target.sm:
        yield from _goes_together(machine, target)


def _build(machine: Machine, target: Device) -> Diagnosis:
    about = f"build {target.name}"
    prepare = f"trtforge prepare MODEL.onnx --device {target.name}"
    why = why_not(target, machine.device)
    if not target.typed:
        return Diagnosis(
            about, "wrong", f"{why}: its own DeepStream builds from what `prepare` writes", prepare
        )
    if not why and (found := usable(machine)):
        return Diagnosis(about, "ok", f"with TensorRT {found.version}, here")
    if not why and imported(machine):
        return Diagnosis(about, "wrong", "TensorRT is here, but does not work: see above")
    if target.rtx_serves:
        if rtx := machine.package("tensorrt-rtx"):
            return Diagnosis(about, "ok", f"with TensorRT-RTX {rtx.version}, which needs no GPU")
        return Diagnosis(
            about, "wrong", "neither TensorRT nor TensorRT-RTX can be imported", INSTALL
        )
    if why:
        says = f"{why}; TensorRT-RTX does not serve SM{target.sm}. Prepare here, and `trtforge build PREPARED/` there"
        return Diagnosis(about, "wrong", says, prepare)
    if machine.libraries:
        says = f"TensorRT {machine.libraries[0].version} is here, but this Python can't import it"
        return Diagnosis(about, "wrong", says, bindings(machine, machine.libraries[0]))
    install = f"{sudo(machine)}apt-get install -y nvidia-jetpack"
    return Diagnosis(
        about,
        "wrong",
        "TensorRT is not installed",
        install if machine.jetson else "pip install 'trtforge[tensorrt]'",
    )


def _goes_together(machine: Machine, target: Device) -> Iterator[Diagnosis]:
    """Yield the differences between the catalogue and the machine; they stop no build."""
    found, there, row = usable(machine), machine.deepstream, stack(target)
    if found and target.deepstream and (why := mismatch(target.deepstream, found.version)):
        yield Diagnosis("tensorrt", "note", why, f"make image DEVICE={target.name}")
    if found and not machine.package("pycuda"):
        yield Diagnosis(
            "pycuda",
            "note",
            "none: engines are built, but not run here",
            "pip install 'trtforge[tensorrt]'",
        )
    if there and target.deepstream and not _within(there.version, target.deepstream):
        says = f"{there.version} is here; configurations for {target.name} are written for {target.deepstream}"
        here = ".".join(there.version.split(".")[:2])
        yield Diagnosis(
            "deepstream", "note", says, f"trtforge build MODEL.onnx --deepstream {here}"
        )
    if row and row.l4t and machine.l4t and not _within(machine.l4t, row.l4t):
        says = f"Jetson Linux {machine.l4t} is here; the catalogue's {target.name} has JetPack {row.jetpack} ({row.l4t})"
        yield Diagnosis("jetpack", "note", f"{says}: describe yours in a device file")
    if row and row.driver and machine.driver and _parts(machine.driver) < _parts(row.driver):
        says = f"{machine.driver} is here; DeepStream {row.deepstream} wants {row.driver} or newer"
        yield Diagnosis(
            "driver", "note", says, upgrade(machine, row.cuda or "13", _parts(row.driver)[0])
        )


def _within(version: str, release: str) -> bool:
    return f"{version}.".startswith(f"{release}.")


def _parts(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]
