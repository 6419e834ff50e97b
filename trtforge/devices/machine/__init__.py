"""What is installed on a machine, read from the files under one root folder.

Nothing is imported, and but for nvidia-smi nothing is run: so a driver that hangs, a package that
crashes when it is imported and the root file system of another machine are all looked at in the
same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trtforge.devices import Device, Gpu, ask_nvidia_smi, board_names, identify, listed_gpus
from trtforge.devices.machine import libraries, packages, system
from trtforge.devices.machine.files import HERE, Found, below, first
from trtforge.devices.machine.packages import OnnxRuntime


@dataclass(frozen=True)
class Machine:
    """What was found. None and empty mean that it was not.

    Attributes:
        arch: x86_64 or aarch64.
        system: of os-release, such as ``ubuntu 24.04``.
        python: version of the Python whose packages were read.
        container: docker, podman, kubernetes, lxc.
        board: a Jetson's board, as its device tree calls it.
        l4t: release of Jetson Linux, such as 39.2.0.
        jetpack: version of the package nvidia-jetpack, such as 7.2.
        device: which of the catalogue's devices, or one made of what the driver says.
        gpus: as nvidia-smi or, without it, the driver's own files list them.
        driver: version of the NVIDIA driver, such as 595.58.03.
        compat: version of the driver libraries of a cuda-compat package, which data-centre GPUs can
            use.
        libcuda: the driver's library for programs.
        devices: GPU device files, such as nvidia0.
        toolkits: CUDA toolkits.
        libraries: TensorRT's libnvinfer outside Python packages, what DeepStream and trtexec load.
        bindings: TensorRT's Python bindings as a Debian package brings them.
        packages: Python packages, those first that Python finds first.
        deepstream: DeepStream.
        memory: bytes of memory that this process may have at most.
        disk: bytes free for the store.
    """

    arch: str
    system: str
    python: str
    container: str | None
    board: str | None
    l4t: str | None
    jetpack: str | None
    device: Device | None
    gpus: tuple[Gpu, ...]
    driver: str | None
    compat: str | None
    libcuda: str | None
    devices: tuple[str, ...]
    toolkits: tuple[Found, ...]
    libraries: tuple[Found, ...]
    bindings: str | None
    packages: tuple[Found, ...]
    onnxruntime: OnnxRuntime | None
    deepstream: Found | None
    memory: int | None
    disk: int | None

    @property
    def jetson(self) -> bool:
        return self.board is not None or self.l4t is not None

    def package(self, name: str) -> Found | None:
        """The Python package of that name that is imported."""
        return next((found for found in self.packages if found.name == name), None)


def probe(root: Path = HERE, store: Path | None = None) -> Machine:
    """Return what is installed under a root folder: of this machine, a disk or an unpacked image.

    Programs run only for this machine: another root may hold anybody's.

    Args:
        store: the folder of this machine's store, whose disk is measured.
    """
    root = root.resolve()
    gpus = (ask_nvidia_smi() if root == HERE else ()) or listed_gpus(root)
    boards = board_names(root)
    debs = libraries.debs(root)
    folders = packages.python_folders(root)
    found = packages.packages(root, folders)
    driver = system.driver(root) or next((gpu.driver for gpu in gpus if gpu.driver), None)
    return Machine(
        arch=system.arch(root),
        system=system.system(root),
        python=packages.python(root, folders),
        container=system.container(root),
        board=next(iter(boards), None),
        l4t=system.l4t(root),
        jetpack=first(r"\d+\.\d+(\.\d+)?", debs.get("nvidia-jetpack", "")),
        device=identify(boards, gpus),
        gpus=gpus,
        driver=driver or libraries.libcuda(root),
        compat=libraries.compat(root),
        libcuda=next(
            (below(root, path) for path in libraries.libraries(root, "libcuda.so.1")), None
        ),
        devices=system.devices(root),
        toolkits=tuple(libraries.toolkits(root)),
        libraries=tuple(libraries.libnvinfer(root, debs)),
        bindings=libraries.bindings(root),
        packages=tuple(found),
        onnxruntime=packages.onnxruntime(root, folders, found),
        deepstream=libraries.deepstream(root),
        memory=system.memory(root),
        disk=system.disk(root, store),
    )
