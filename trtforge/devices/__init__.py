"""The devices that engines are built for, and which of them this machine is.

``devices.yaml`` beside this file holds the facts, with the pages that each entry was read from.
Users add devices in a file of their own (see ``trtforge.devices.file``). This module is cheap to
import: it reads YAML on first use, and asks ``nvidia-smi`` about GPUs instead of a CUDA binding.
"""

from __future__ import annotations

import difflib
import functools
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from trtforge.errors import ForgeError

Kind = Literal["jetson", "datacenter", "geforce", "workstation"]
Arch = Literal["x86_64", "aarch64"]
Precision = Literal["fp32", "fp16", "bf16", "int8", "fp8", "fp4"]

# The ComputeCapability values that TensorRT-RTX 1.7 can build for. It refuses every other SM, newer
# ones included.
RTX_SERVES = frozenset({75, 80, 86, 89, 120, 121})

# Seconds to wait for nvidia-smi: a driver that hangs must not stop trtforge, but eight sleeping
# GPUs need a few seconds to wake up.
PATIENCE_S = 10.0

# The first SM for which TensorRT has kernels of a precision. Precisions are listed in this order.
FIRST_SM: dict[Precision, int] = {
    "fp32": 0,
    "fp16": 70,
    "bf16": 80,
    "int8": 72,
    "fp8": 89,
    "fp4": 100,
}


@dataclass(frozen=True, slots=True)
class Device:
    """A device of the catalogue. None stands for a fact that is not public.

    Attributes:
        name: name on the command line, such as ``orin-nx``.
        title: name for people.
        kind: jetson, datacenter, geforce or workstation.
        arch: architecture of the machine's processor.
        compute_capability: CUDA compute capability, such as ``8.7``.
        memory_gib: GPU memory in the data sheet, shared with the CPU on Jetson and GB10; the
            driver reports a little less.
        bandwidth_gb_s: peak memory bandwidth in 10^9 bytes per second.
        dla_cores: deep learning accelerators on the chip, even if the installed TensorRT does not
            support them.
        precisions: precisions for which TensorRT has kernels.
        int8_tops: peak dense INT8 tensor operations of the GPU alone in 10^12 per second, never
            the figure with sparsity.
        fp16_tflops: the same for FP16; on GeForce and RTX PRO with FP16 accumulation.
        ci_label: label of a CI runner with this device.
        deepstream: newest DeepStream that runs on the device and whose parsers trtforge knows.
        tensorrt: TensorRT of this DeepStream; a newer one may be installed beside it.
        cuda: CUDA toolkit of both.
        jetpack: JetPack that contains them; None if the device is no Jetson.
        gpu_names: shell patterns of the names that CUDA, NVML or a Jetson's device tree report;
            case is ignored.
        source: pages from which the facts were read.
    """

    name: str
    title: str
    kind: Kind
    arch: Arch
    compute_capability: str
    memory_gib: float | None
    bandwidth_gb_s: float | None
    dla_cores: int
    precisions: tuple[Precision, ...]
    int8_tops: float | None
    fp16_tflops: float | None
    ci_label: str
    tensorrt: str | None
    deepstream: str | None
    cuda: str | None
    jetpack: str | None
    gpu_names: tuple[str, ...]
    source: tuple[str, ...]

    @property
    def sm(self) -> int:
        """The compute capability in TensorRT's notation: 89 for 8.9, 120 for 12.0."""
        return int(self.compute_capability.replace(".", ""))

    @property
    def typed(self) -> bool:
        """True if its TensorRT builds strongly typed networks: version 10 and newer do."""
        return self.tensorrt is None or int(self.tensorrt.split(".")[0]) >= 10

    @property
    def rtx_serves(self) -> bool:
        """True if TensorRT-RTX can build an engine for this GPU."""
        return self.sm in RTX_SERVES


@dataclass(frozen=True, slots=True)
class Gpu:
    """The facts that a driver reports about a GPU; None stands for a missing one.

    Attributes:
        name: for example ``NVIDIA L4``.
        compute_capability: for example ``8.9``.
        memory_gib: GPU memory in GiB.
        driver: version of the driver, for example ``595.58.03``.
    """

    name: str
    compute_capability: str | None
    memory_gib: float | None
    driver: str | None


@functools.cache
def catalogue() -> dict[str, Device]:
    """Return all devices by name: the user's own first, then the built-in ones.

    Raises:
        ForgeError: the user's device file is wrong.
    """
    from trtforge.devices import file

    return file.load()


def device(name: str) -> Device:
    """Return a device by name; case is ignored, and spaces and underscores count as hyphens.

    Raises:
        ForgeError: there is no such device; the hint lists similar names.
    """
    known = catalogue()
    wanted = re.sub(r"[\s_]+", "-", name.strip()).lower()
    if wanted in known:
        return known[wanted]
    if wanted in ("cpu", "onnxruntime"):
        raise ForgeError(
            f"{name} is not a device", "for the CPU, use --backend onnxruntime without --device"
        )
    near = difflib.get_close_matches(wanted, known, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"There are {', '.join(known)}."
    raise ForgeError(f"there is no device called {name!r}", hint)


def fits(this: Device, word: str) -> bool:
    """Return whether a word describes the device.

    Args:
        word: a part of the device's name or title, its kind or architecture, ``sm89``, a
            precision, ``dla``, or ``rtx`` for devices that TensorRT-RTX builds for.
    """
    word = word.lower()
    properties = {this.kind, this.arch, f"sm{this.sm}", *this.precisions}
    if this.dla_cores:
        properties.add("dla")
    if this.rtx_serves:
        properties.add("rtx")
    # "rtx" is also a part of most titles, so these words are looked up among the properties alone.
    if word in ("dla", "rtx") or word in FIRST_SM:
        return word in properties
    return word in properties or word in this.name or word in this.title.lower()


def precisions_of(sm: int) -> tuple[Precision, ...]:
    """Return the precisions for which TensorRT has kernels on an SM such as 89.

    INT8 counts where the GPU has tensor cores for it.
    """
    return tuple(precision for precision, first in FIRST_SM.items() if sm >= first)


def this_machine(root: Path = Path("/")) -> Device | None:
    """Return the device of this machine, or of its first GPU; None without an NVIDIA GPU.

    For a GPU that is not in the catalogue, the device has its name and compute capability.

    Args:
        root: root folder of the machine.
    """
    return identify(board_names(root), ask_nvidia_smi(root) or listed_gpus(root))


def identify(boards: Iterable[str], gpus: Sequence[Gpu]) -> Device | None:
    """Return the device with one of a Jetson's board names, else the device of the first GPU."""
    # The board comes first: on a Jetson, nvidia-smi reports only "Orin (nvgpu)", which can be
    # three devices.
    if board := _called(boards):
        return board
    if not gpus:
        return None
    return _called([gpus[0].name]) or (
        _uncatalogued(gpus[0]) if gpus[0].compute_capability else None
    )


def _called(names: Iterable[str]) -> Device | None:
    """Return the device of the catalogue whose patterns match one of the names."""
    for name in names:
        for known in catalogue().values():
            # The pattern must match the whole name: "RTX 3090 Ti", "RTX 4090 Laptop GPU" and "A10G"
            # are other chips.
            if any(fnmatchcase(name.lower(), pattern.lower()) for pattern in known.gpu_names):
                return known
    return None


def board_names(root: Path) -> tuple[str, ...]:
    """Return the names in a Jetson's device tree.

    ``model`` names the board, ``compatible`` also the module on it. A container may hide both.
    """
    from trtforge.devices.machine.files import read

    texts = [read(root, f"proc/device-tree/{leaf}") for leaf in ("model", "compatible")]
    return tuple(name.strip() for text in texts for name in text.split("\0") if name.strip())


def ask_nvidia_smi(root: Path = Path("/")) -> tuple[Gpu, ...]:
    """Return the GPUs that nvidia-smi lists; none if it is missing, fails or does not answer.

    Args:
        root: folder that holds the folders of ``$PATH``.
    """
    folders = [
        str(root / folder.lstrip("/"))
        for folder in os.environ.get("PATH", os.defpath).split(os.pathsep)
    ]
    program = shutil.which("nvidia-smi", path=os.pathsep.join(folders))
    if program is None:
        return ()
    command = [
        program,
        "--query-gpu=driver_version,memory.total,compute_cap,name",
        "--format=csv,noheader,nounits",
    ]
    try:
        answer = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ()
    rows = [[part.strip() for part in line.split(",", 3)] for line in answer.stdout.splitlines()]
    return tuple(_gpu(*row) for row in rows if len(row) == 4 and row[3])


def listed_gpus(root: Path = Path("/")) -> tuple[Gpu, ...]:
    """Return the names in the driver's own list, which a container without nvidia-smi still has."""
    from trtforge.devices.machine.files import read

    files = sorted((root / "proc/driver/nvidia/gpus").glob("*/information"))
    names = [re.search(r"(?m)^Model:\s+(.+?)\s*$", read(root, file)) for file in files]
    return tuple(Gpu(name[1], None, None, None) for name in names if name)


def _gpu(driver: str, mebibytes: str, capability: str, name: str) -> Gpu:
    """Return the GPU in a row of nvidia-smi; memory is ``[N/A]`` if the processor shares it."""
    return Gpu(
        name,
        capability if re.fullmatch(r"\d+\.\d", capability) else None,
        int(mebibytes) / 1024 if mebibytes.isdigit() else None,
        driver if re.fullmatch(r"[\d.]+", driver) else None,
    )


def _uncatalogued(gpu: Gpu) -> Device:
    name, capability = gpu.name, gpu.compute_capability or ""
    sm = int(capability.replace(".", ""))
    slug = "-".join(re.findall(r"[a-z0-9]+", name.lower().removeprefix("nvidia "))) or f"sm{sm}"
    return Device(
        name=slug,
        title=name,
        kind=_kind(name, sm),
        arch="aarch64" if platform.machine().lower() in ("aarch64", "arm64") else "x86_64",
        compute_capability=capability,
        memory_gib=gpu.memory_gib,
        bandwidth_gb_s=None,
        dla_cores=0,
        precisions=precisions_of(sm),
        int8_tops=None,
        fp16_tflops=None,
        ci_label=f"gpu-{slug}",
        tensorrt=None,
        deepstream=None,
        cuda=None,
        jetpack=None,
        gpu_names=(name,),
        source=(),
    )


def _kind(name: str, sm: int) -> Kind:
    if sm in (53, 62, 72, 87, 110):  # the chips of the Jetson modules
        return "jetson"
    if "GeForce" in name or "TITAN" in name.upper():
        return "geforce"
    return "workstation" if "RTX" in name or "Quadro" in name else "datacenter"


def no_kernels(device: Device, precision: str) -> str:
    """Return why TensorRT can't compute in a precision on a device; empty if it can."""
    if precision in device.precisions:
        return ""
    has = ", ".join(device.precisions).upper()
    return f"{device.title} (SM{device.sm}) has no {precision.upper()} kernels, only {has}"
