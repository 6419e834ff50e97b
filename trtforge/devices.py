"""The devices that engines are built for, and which of them this machine is.

The facts live in ``devices.yaml`` beside this file, each entry with the pages it was read from. Everything here is
light to import: YAML is read on first use, and the GPU is asked through ``nvidia-smi``, not through a CUDA binding.
"""

from __future__ import annotations

import difflib
import functools
import math
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args

from trtforge.errors import ForgeError

Kind = Literal["jetson", "datacenter", "geforce", "workstation"]
Arch = Literal["x86_64", "aarch64"]
Precision = Literal["fp32", "fp16", "bf16", "int8", "fp8", "fp4"]

# The ComputeCapability values that TensorRT-RTX 1.7 can build for. A newer SM is not served because an older one is.
RTX_SERVES = frozenset({75, 80, 86, 89, 120, 121})

# Seconds that nvidia-smi may take: a hung driver must not hang us, but eight sleeping GPUs need a few seconds to wake.
PATIENCE_S = 10.0

# The first SM on which TensorRT has kernels for a precision, in the order in which precisions are listed.
FIRST_SM: dict[Precision, int] = {"fp32": 0, "fp16": 70, "bf16": 80, "int8": 72, "fp8": 89, "fp4": 100}


@dataclass(frozen=True, slots=True)
class Device:
    """One entry of the catalogue. What is not publicly known is None.

    Attributes:
        name: how the command line calls it, such as ``orin-nx``.
        title: how people call it.
        kind: jetson, datacenter, geforce or workstation.
        arch: processor of the machine around the GPU.
        compute_capability: CUDA compute capability, such as ``8.7``.
        memory_gib: GPU memory as marketed, shared with the CPU on Jetson and GB10; the driver reports a little less.
        bandwidth_gb_s: peak memory bandwidth in 10^9 bytes a second.
        dla_cores: deep learning accelerators on the chip, whether or not the installed TensorRT drives them.
        precisions: what TensorRT can use on this compute capability.
        int8_tops: peak dense INT8 tensor operations of the GPU alone, 10^12 a second; never the sparse figure.
        fp16_tflops: the same for FP16; on GeForce and RTX PRO with FP16 accumulate.
        ci_label: label of the CI runner that has one.
        deepstream: newest DeepStream that trtforge's configurations were checked against and that runs on the device.
        tensorrt: the TensorRT that this DeepStream is built for; a newer one may run beside it.
        cuda: the CUDA toolkit that goes with both.
        jetpack: the JetPack that brings them; None off Jetson.
        gpu_names: shell patterns of the names by which CUDA, NVML or a Jetson's device tree calls it; case is ignored.
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
        """Whether TensorRT for RTX can build an engine for this GPU (its own enumeration, not "any newer GPU")."""
        return self.sm in RTX_SERVES


@functools.cache
def catalogue() -> dict[str, Device]:
    """All devices that ship with trtforge, by name."""
    return parse(resources.files("trtforge").joinpath("devices.yaml").read_text("utf-8"), "devices.yaml")


def device(name: str) -> Device:
    """The device of that name; case does not matter, and spaces and underscores count as hyphens.

    Raises:
        ForgeError: there is none; the hint has the nearest names.
    """
    known = catalogue()
    wanted = re.sub(r"[\s_]+", "-", name.strip()).lower()
    if wanted in known:
        return known[wanted]
    near = difflib.get_close_matches(wanted, known, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"There are {', '.join(known)}."
    raise ForgeError(f"there is no device called {name!r}", hint)


def precisions_of(sm: int) -> tuple[Precision, ...]:
    """What TensorRT can use on a compute capability, such as 89; INT8 where there are tensor cores for it."""
    return tuple(precision for precision, first in FIRST_SM.items() if sm >= first)


def this_machine(root: Path = Path("/")) -> Device | None:
    """The device that this machine is, or None without an NVIDIA GPU. Where there are several GPUs, the first.

    A GPU that the catalogue lacks gives a device made of its name and compute capability.

    Args:
        root: folder under which ``proc/device-tree`` of a Jetson is read.
    """
    # The board first: nvidia-smi on a Jetson says no more than "Orin (nvgpu)", which is three devices.
    return _board(root) or _first_gpu()


def parse(text: str, origin: str) -> dict[str, Device]:
    """Devices from YAML: a mapping of name to entry, each with every key of :class:`Device` but the name.

    Args:
        text: the YAML.
        origin: name of the file, for messages.

    Raises:
        ForgeError: not YAML, a key missing, unknown or of the wrong form; all faults of an entry at once.
    """
    import yaml  # type: ignore[import-untyped, unused-ignore]

    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ForgeError(f"{origin} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(raw, dict):
        raise ForgeError(f"{origin} holds no devices", "It should map device names to entries.")
    return {str(name): _device(str(name), entry, origin) for name, entry in raw.items()}


def _device(name: str, entry: object, origin: str) -> Device:
    entry = entry if isinstance(entry, dict) else {}
    faults = []
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        faults.append("the name is not lower-case words joined by hyphens")
    if missing := [key for key in _FORMS if key not in entry]:
        faults.append(f"missing: {', '.join(missing)}")
    if unknown := [str(key) for key in entry if key not in _FORMS]:
        faults.append(f"unknown: {', '.join(unknown)}")
    faults += [f"{key} is not {form}" for key, (form, fits) in _FORMS.items() if key in entry and not fits(entry[key])]
    if faults:
        raise ForgeError(f"{origin}: device {name}: {'; '.join(faults)}", "What is not known is written as null.")

    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
    made = Device(name=name, **values)
    if beyond := [precision for precision in made.precisions if precision not in precisions_of(made.sm)]:
        raise ForgeError(f"{origin}: device {name}: SM{made.sm} has no {', '.join(beyond)}")
    return made


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_text, value))


def _figure(value: Any) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf)


def _version(value: Any) -> bool:
    # Unquoted, 10.10 would be read as the number 10.1: only text can hold a version.
    return value is None or (isinstance(value, str) and bool(re.fullmatch(r"\d+(\.\d+)+", value)))


def _one_of(words: Iterable[str]) -> tuple[str, Callable[[Any], bool]]:
    known = tuple(words)
    return f"one of {', '.join(known)}", lambda value: value in known


_KNOWN_PRECISIONS = get_args(Precision)
_FORMS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "title": ("text", _text),
    "kind": _one_of(get_args(Kind)),
    "arch": _one_of(get_args(Arch)),
    "compute_capability": ('text such as "8.9"', lambda v: isinstance(v, str) and bool(re.fullmatch(r"\d+\.\d", v))),
    "memory_gib": ("a positive number or null", _figure),
    "bandwidth_gb_s": ("a positive number or null", _figure),
    "dla_cores": ("a count", lambda v: type(v) is int and v >= 0),
    "precisions": (
        f"a list of {', '.join(_KNOWN_PRECISIONS)}",
        lambda v: _texts(v) and set(v) <= set(_KNOWN_PRECISIONS) and len(set(v)) == len(v),
    ),
    "int8_tops": ("a positive number or null", _figure),
    "fp16_tflops": ("a positive number or null", _figure),
    "ci_label": ("text", _text),
    "tensorrt": ('text such as "10.16" or null', _version),
    "deepstream": ('text such as "9.1" or null', _version),
    "cuda": ('text such as "13.2" or null', _version),
    "jetpack": ('text such as "7.2" or null', _version),
    "gpu_names": ("a list of shell patterns", _texts),
    "source": ("a list of pages", _texts),
}


def _called(names: Iterable[str]) -> Device | None:
    """The catalogue's device that one of the names fits."""
    for name in names:
        for known in catalogue().values():
            # The whole name has to fit: "RTX 3090 Ti", "RTX 4090 Laptop GPU" and "A10G" are other chips.
            if any(fnmatchcase(name.lower(), pattern.lower()) for pattern in known.gpu_names):
                return known
    return None


def _board(root: Path) -> Device | None:
    """The Jetson whose device tree this is: ``model`` names the board, ``compatible`` also the module on it."""
    names: list[str] = []
    for leaf in ("model", "compatible"):
        try:
            text = (root / "proc" / "device-tree" / leaf).read_text("utf-8", errors="replace")
        except OSError:  # no device tree, or a container that hides it
            continue
        names += [name.strip() for name in text.split("\0") if name.strip()]
    return _called(names)


def _first_gpu() -> Device | None:
    """The first GPU that nvidia-smi lists; None where there is no such program, no driver or no answer."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command = [program, "--query-gpu=name,compute_cap", "--format=csv,noheader"]
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=PATIENCE_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    line = next(iter(answer.stdout.splitlines()), "")
    name, capability = (part.strip() for part in line.rpartition(",")[::2])
    if known := _called([name]):
        return known
    return _uncatalogued(name, capability) if name and re.fullmatch(r"\d+\.\d", capability) else None


def _uncatalogued(name: str, capability: str) -> Device:
    sm = int(capability.replace(".", ""))
    slug = "-".join(re.findall(r"[a-z0-9]+", name.lower().removeprefix("nvidia "))) or f"sm{sm}"
    return Device(
        name=slug,
        title=name,
        kind=_kind(name, sm),
        arch="aarch64" if platform.machine().lower() in ("aarch64", "arm64") else "x86_64",
        compute_capability=capability,
        memory_gib=None,
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
