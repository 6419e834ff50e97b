"""Whether an engine for a device can be built here, and what stands against it.

It has to say what ``trtforge.pipeline.targets.target`` does when the build is asked for; a test
holds the two together.
"""

from __future__ import annotations

from collections.abc import Iterator

from trtforge.backends.tensorrt import refuses
from trtforge.backends.tensorrt_rtx import INSTALL
from trtforge.devices import Device
from trtforge.devices.machine import Machine
from trtforge.devices.stacks import mismatch, stack
from trtforge.doctor.driver import upgrade
from trtforge.doctor.engines import bindings, imported, sudo, usable
from trtforge.doctor.finding import Finding


def examine(machine: Machine, device: Device | None) -> Iterator[Finding]:
    wanted = device or machine.device
    if wanted is None:
        yield Finding(
            "build",
            "ok",
            "for this processor with onnxruntime; for a GPU name the target with --device",
        )
        return
    yield _build(machine, wanted)
    if machine.device and machine.device.sm == wanted.sm:
        yield from _goes_together(machine, wanted)


def _build(machine: Machine, wanted: Device) -> Finding:
    about = f"build {wanted.name}"
    prepare = f"trtforge prepare MODEL.onnx --device {wanted.name}"
    why = refuses(wanted, machine.device)
    if not wanted.typed:
        return Finding(
            about, "wrong", f"{why}: its own DeepStream builds from what `prepare` writes", prepare
        )
    if not why and (found := usable(machine)):
        return Finding(about, "ok", f"with TensorRT {found.version}, here")
    if not why and imported(machine):
        return Finding(about, "wrong", "TensorRT is here, but does not work: see above")
    if wanted.rtx_serves:
        if rtx := machine.package("tensorrt-rtx"):
            return Finding(about, "ok", f"with TensorRT-RTX {rtx.version}, which needs no GPU")
        return Finding(about, "wrong", "neither TensorRT nor TensorRT-RTX can be imported", INSTALL)
    if why:
        says = f"{why}; TensorRT-RTX does not serve SM{wanted.sm}. Prepare here, and `trtforge build PREPARED/` there"
        return Finding(about, "wrong", says, prepare)
    if machine.libraries:
        says = f"TensorRT {machine.libraries[0].version} is here, but this Python can't import it"
        return Finding(about, "wrong", says, bindings(machine, machine.libraries[0]))
    install = f"{sudo(machine)}apt-get install -y nvidia-jetpack"
    return Finding(
        about,
        "wrong",
        "TensorRT is not installed",
        install if machine.jetson else "pip install 'trtforge[tensorrt]'",
    )


def _goes_together(machine: Machine, wanted: Device) -> Iterator[Finding]:
    """What the catalogue says of the device, beside what is here; engines can be built all the
    same.
    """
    found, there, row = usable(machine), machine.deepstream, stack(wanted)
    if found and wanted.deepstream and (why := mismatch(wanted.deepstream, found.version)):
        yield Finding("tensorrt", "note", why, f"make image DEVICE={wanted.name}")
    if found and not machine.package("pycuda"):
        yield Finding(
            "pycuda",
            "note",
            "none: engines are built, but not run here",
            "pip install 'trtforge[tensorrt]'",
        )
    if there and wanted.deepstream and not _within(there.version, wanted.deepstream):
        says = f"{there.version} is here; configurations for {wanted.name} are written for {wanted.deepstream}"
        here = ".".join(there.version.split(".")[:2])
        yield Finding("deepstream", "note", says, f"trtforge build MODEL.onnx --deepstream {here}")
    if row and row.l4t and machine.l4t and not _within(machine.l4t, row.l4t):
        says = f"Jetson Linux {machine.l4t} is here; the catalogue's {wanted.name} has JetPack {row.jetpack} ({row.l4t})"
        yield Finding("jetpack", "note", f"{says}: describe yours in a device file")
    if row and row.driver and machine.driver and _parts(machine.driver) < _parts(row.driver):
        says = f"{machine.driver} is here; DeepStream {row.deepstream} wants {row.driver} or newer"
        yield Finding(
            "driver", "note", says, upgrade(machine, row.cuda or "13", _parts(row.driver)[0])
        )


def _within(version: str, release: str) -> bool:
    return f"{version}.".startswith(f"{release}.")


def _parts(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]
