"""Find out what is installed on a machine, from the files under one root folder.

Nothing is imported, and only nvidia-smi is run. So this works with a driver that hangs, with a
package that crashes on import, and for the root file system of another machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trtforge.devices import Device, Gpu, ask_nvidia_smi, board_names, identify, listed_gpus
from trtforge.devices.machine import libraries, packages, system
from trtforge.devices.machine.files import THIS_MACHINE, Component, first_match, inner_path
from trtforge.devices.machine.packages import OnnxRuntime


@dataclass(frozen=True)
class Machine:
    """A machine and what is installed on it; None or empty stands for a missing part.

    Attributes:
        arch: x86_64 or aarch64.
        system: name and version in os-release, such as ``ubuntu 24.04``.
        python: version of the Python whose packages were read.
        container: docker, podman, kubernetes or lxc.
        board: name of a Jetson's board in its device tree.
        l4t: release of Jetson Linux, such as 39.2.0.
        jetpack: version of the package nvidia-jetpack, such as 7.2.
        device: the device of the catalogue, or one made from the driver's facts.
        gpus: GPUs that nvidia-smi lists or, without it, the driver's own files.
        driver: version of the NVIDIA driver, such as 595.58.03.
        compat: version of a cuda-compat package, whose driver libraries data-centre GPUs can use.
        libcuda: path of the driver's library for programs.
        devices: GPU device files, such as nvidia0.
        toolkits: CUDA toolkits.
        libraries: TensorRT's libnvinfer outside Python packages, which DeepStream and trtexec load.
        bindings: folder of TensorRT's Python bindings from a Debian package.
        packages: Python packages, in the order in which Python finds them.
        onnxruntime: the folder of ONNX Runtime.
        deepstream: the installed DeepStream.
        memory: largest number of bytes that this process may use.
        disk: free bytes on the disk of the store.
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
    toolkits: tuple[Component, ...]
    libraries: tuple[Component, ...]
    bindings: str | None
    packages: tuple[Component, ...]
    onnxruntime: OnnxRuntime | None
    deepstream: Component | None
    memory: int | None
    disk: int | None

    @property
    def jetson(self) -> bool:
        """True if the machine is a Jetson."""
        return self.board is not None or self.l4t is not None

    def package(self, name: str) -> Component | None:
        """Return the Python package that ``import`` finds by this name."""
        return next((package for package in self.packages if package.name == name), None)


def probe(root: Path = THIS_MACHINE, store: Path | None = None) -> Machine:
    """Find what is installed under a root folder: of this machine, a disk or an unpacked image.

    nvidia-smi runs only for this machine: under another root, it may be anybody's program.

    Args:
        store: the folder of this machine's store, whose disk is measured.
    """
    root = root.resolve()
    gpus = (ask_nvidia_smi() if root == THIS_MACHINE else ()) or listed_gpus(root)
    boards = board_names(root)
    debs = libraries.debs(root)
    folders = packages.python_folders(root)
    installed = packages.packages(root, folders)
    drivers = libraries.libraries(root, "libcuda.so.1")
    driver = system.driver(root) or next((gpu.driver for gpu in gpus if gpu.driver), None)
    return Machine(
        arch=system.arch(root),
        system=system.system(root),
        python=packages.python(root, folders),
        container=system.container(root),
        board=next(iter(boards), None),
        l4t=system.l4t(root),
        jetpack=first_match(r"\d+\.\d+(\.\d+)?", debs.get("nvidia-jetpack", "")),
        device=identify(boards, gpus),
        gpus=gpus,
        driver=driver or libraries.libcuda(root),
        compat=libraries.compat(root),
        libcuda=inner_path(root, drivers[0]) if drivers else None,
        devices=system.devices(root),
        toolkits=tuple(libraries.toolkits(root)),
        libraries=tuple(libraries.libnvinfer(root, debs)),
        bindings=libraries.bindings(root),
        packages=tuple(installed),
        onnxruntime=packages.onnxruntime(root, folders, installed),
        deepstream=libraries.deepstream(root),
        memory=system.memory(root),
        disk=system.disk(root, store),
    )
