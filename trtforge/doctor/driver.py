"""Check whether the driver supports the CUDA of the installed packages."""

from __future__ import annotations

from trtforge.devices.machine import Machine
from trtforge.devices.machine.files import Component

# The first driver branch that runs programs of a CUDA major version. Within a major version, an
# older driver also runs newer minor versions:
# https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html
FIRST_BRANCH = {13: 580, 12: 525, 11: 450, 10: 410}
# Jetson's driver comes with Jetson Linux, and its CUDA with JetPack. This maps the major version of
# Jetson Linux to the major version of CUDA.
JETSON_CUDA = {39: 13, 38: 13, 36: 12, 35: 11, 34: 11, 32: 10}


def cuda_served(machine: Machine) -> int | None:
    """Return the newest CUDA major version that the driver supports; None if it is unknown."""
    if machine.l4t:
        return JETSON_CUDA.get(_major(machine.l4t))
    branches = [_major(version) for version in (machine.driver, _compat(machine)) if version]
    return next(
        (cuda for cuda, first in FIRST_BRANCH.items() if branches and max(branches) >= first), None
    )


def unfit(machine: Machine, found: Component) -> str:
    """Return why the driver can't run a package; empty if it can, or if that is unknown."""
    served = cuda_served(machine)
    if found.cuda is None or served is None or _major(found.cuda) <= served:
        return ""
    made = f"{found.name} {found.version} is made for CUDA {found.cuda}"
    if machine.l4t:
        return f"{made}; Jetson Linux {machine.l4t} runs CUDA {served}"
    needs = FIRST_BRANCH.get(_major(found.cuda))
    return (
        f"{made}, which needs driver {needs or 'of a newer branch'}{' or newer' if needs else ''}; "
        f"this is {machine.driver} (CUDA {served})"
    )


def upgrade(machine: Machine, cuda: str, branch: int = 0) -> str:
    """Return the command that installs a driver for a CUDA, of at least the given branch."""
    if machine.jetson:
        return "flash the JetPack that has it: https://developer.nvidia.com/embedded/jetpack"
    branch = max(branch, FIRST_BRANCH.get(_major(cuda), max(FIRST_BRANCH.values())))
    where = "on the host: " if machine.container else ""
    if machine.system.startswith("ubuntu") or machine.container:
        return f"{where}sudo apt-get install -y nvidia-driver-{branch} && sudo reboot"
    return f"{where}install NVIDIA driver {branch} or newer: https://www.nvidia.com/drivers"


def _compat(machine: Machine) -> str | None:
    """Return the version of cuda-compat, which works on data-centre GPUs only."""
    return machine.compat if machine.device and machine.device.kind == "datacenter" else None


def _major(version: str) -> int:
    return int(version.partition(".")[0])
