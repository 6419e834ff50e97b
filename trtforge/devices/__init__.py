"""The devices that engines are built for, and which of them this machine is.

The facts live in ``devices.yaml`` beside this file, each entry with the pages it was read from. A
file of the user's own adds to them (see ``trtforge.devices.file``). Everything here is light to
import: YAML is read on first use, and the GPU is asked through ``nvidia-smi``, not through a CUDA
binding.
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

# The ComputeCapability values that TensorRT-RTX 1.7 can build for. A newer SM is not served because
# an older one is.
RTX_SERVES = frozenset({75, 80, 86, 89, 120, 121})

# Seconds that nvidia-smi may take: a hung driver must not hang us, but eight sleeping GPUs need a
# few seconds to wake.
PATIENCE_S = 10.0

# The first SM on which TensorRT has kernels for a precision, in the order in which precisions are
# listed.
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
    """One entry of the catalogue. What is not publicly known is None.

    Attributes:
        name: how the command line calls it, such as ``orin-nx``.
        title: how people call it.
        kind: jetson, datacenter, geforce or workstation.
        arch: processor of the machine around the GPU.
        compute_capability: CUDA compute capability, such as ``8.7``.
        memory_gib: GPU memory as marketed, shared with the CPU on Jetson and GB10; the driver
            reports a little less.
        bandwidth_gb_s: peak memory bandwidth in 10^9 bytes a second.
        dla_cores: deep learning accelerators on the chip, whether or not the installed TensorRT
            drives them.
        precisions: what TensorRT can use on this compute capability.
        int8_tops: peak dense INT8 tensor operations of the GPU alone, 10^12 a second; never the
            sparse figure.
        fp16_tflops: the same for FP16; on GeForce and RTX PRO with FP16 accumulate.
        ci_label: label of the CI runner that has one.
        deepstream: newest DeepStream that trtforge's configurations were checked against and that
            runs on the device.
        tensorrt: the TensorRT that this DeepStream is built for; a newer one may run beside it.
        cuda: the CUDA toolkit that goes with both.
        jetpack: the JetPack that brings them; None off Jetson.
        gpu_names: shell patterns of the names by which CUDA, NVML or a Jetson's device tree calls
            it; case is ignored.
        source: pages that the facts come from.
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
        """The compute capability as TensorRT writes it: 89 for 8.9, 120 for 12.0."""
        return int(self.compute_capability.replace(".", ""))

    @property
    def typed(self) -> bool:
        """Whether its TensorRT builds strongly typed networks: 10 and newer."""
        return self.tensorrt is None or int(self.tensorrt.split(".")[0]) >= 10

    @property
    def rtx_serves(self) -> bool:
        """Whether TensorRT for RTX can build an engine for this GPU (its own enumeration, not "any
        newer GPU").
        """
        return self.sm in RTX_SERVES


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU as its driver tells of it; what it does not tell is None.

    Attributes:
        name: such as ``NVIDIA L4``.
        compute_capability: such as ``8.9``.
        memory_gib: GPU memory.
        driver: version of the driver, such as ``595.58.03``.
    """

    name: str
    compute_capability: str | None
    memory_gib: float | None
    driver: str | None


@functools.cache
def catalogue() -> dict[str, Device]:
    """All devices by name: the user's own, then those that ship with trtforge.

    Raises:
        ForgeError: the user's device file is wrong.
    """
    from trtforge.devices import file

    return file.load()


def device(name: str) -> Device:
    """The device of that name; case does not matter, and spaces and underscores count as hyphens.

    Raises:
        ForgeError: there is none; the hint has the nearest names.
    """
    known = catalogue()
    wanted = re.sub(r"[\s_]+", "-", name.strip()).lower()
    if wanted in known:
        return known[wanted]
    if wanted in ("cpu", "onnxruntime"):
        raise ForgeError(
            f"{name} is no device", "for the CPU give --backend onnxruntime, and no --device"
        )
    near = difflib.get_close_matches(wanted, known, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"There are {', '.join(known)}."
    raise ForgeError(f"there is no device called {name!r}", hint)


def fits(this: Device, word: str) -> bool:
    """Whether a word fits the device: part of its name or title, its kind, ``sm89``, a precision,
    ``dla``, ``rtx``.

    ``rtx`` is what TensorRT for RTX builds for.
    """
    word = word.lower()
    own = {this.kind, this.arch, f"sm{this.sm}", *this.precisions}
    own |= {"dla"} if this.dla_cores else set()
    if word in ("dla", "rtx") or word in FIRST_SM:
        return word in own | ({"rtx"} if this.rtx_serves else set())
    return word in own or word in this.name or word in this.title.lower()


def precisions_of(sm: int) -> tuple[Precision, ...]:
    """What TensorRT can use on a compute capability, such as 89; INT8 where there are tensor cores
    for it.
    """
    return tuple(precision for precision, first in FIRST_SM.items() if sm >= first)


def this_machine(root: Path = Path("/")) -> Device | None:
    """The device that this machine is, or None without an NVIDIA GPU. Where there are several GPUs,
    the first.

    A GPU that the catalogue lacks gives a device made of its name and compute capability.

    Args:
        root: the machine's root folder.
    """
    return identify(board_names(root), ask_nvidia_smi(root) or listed_gpus(root))


def identify(boards: Iterable[str], gpus: Sequence[Gpu]) -> Device | None:
    """The device of a Jetson's board names or, without one that is known, the first GPU's."""
    # The board first: nvidia-smi on a Jetson says no more than "Orin (nvgpu)", which is three
    # devices.
    if board := _called(boards):
        return board
    if not gpus:
        return None
    return _called([gpus[0].name]) or (
        _uncatalogued(gpus[0]) if gpus[0].compute_capability else None
    )


def _called(names: Iterable[str]) -> Device | None:
    """The catalogue's device that one of the names fits."""
    for name in names:
        for known in catalogue().values():
            # The whole name has to fit: "RTX 3090 Ti", "RTX 4090 Laptop GPU" and "A10G" are other
            # chips.
            if any(fnmatchcase(name.lower(), pattern.lower()) for pattern in known.gpu_names):
                return known
    return None


def board_names(root: Path) -> tuple[str, ...]:
    """What a Jetson's device tree calls it: ``model`` names the board, ``compatible`` also the
    module on it.
    """
    from trtforge.devices.machine.files import read

    texts = [
        read(root, f"proc/device-tree/{leaf}") for leaf in ("model", "compatible")
    ]  # a container may hide them
    return tuple(name.strip() for text in texts for name in text.split("\0") if name.strip())


def ask_nvidia_smi(root: Path = Path("/")) -> tuple[Gpu, ...]:
    """The GPUs that nvidia-smi lists; none where there is no such program, no driver or no answer.

    Args:
        root: folder under which the program is looked for, along ``$PATH``.
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
    """The driver's own list, by name alone: what is left in a container that has no nvidia-smi."""
    from trtforge.devices.machine.files import read

    files = sorted((root / "proc/driver/nvidia/gpus").glob("*/information"))
    names = [re.search(r"(?m)^Model:\s+(.+?)\s*$", read(root, file)) for file in files]
    return tuple(Gpu(name[1], None, None, None) for name in names if name)


def _gpu(driver: str, mebibytes: str, capability: str, name: str) -> Gpu:
    """A row of nvidia-smi's; memory is ``[N/A]`` where GPU and processor share it."""
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
    if sm in (53, 62, 72, 87, 110):  # chips with a processor of their own, which is a Jetson to us
        return "jetson"
    if "GeForce" in name or "TITAN" in name.upper():
        return "geforce"
    return "workstation" if "RTX" in name or "Quadro" in name else "datacenter"


def no_kernels(device: Device, precision: str) -> str:
    """Why TensorRT can't compute in that precision on a device; empty if it can."""
    if precision in device.precisions:
        return ""
    has = ", ".join(device.precisions).upper()
    return f"{device.title} (SM{device.sm}) has no {precision.upper()} kernels, only {has}"
