"""Find the kind of machine, its memory and disk, and its GPU's driver.

The facts come from /etc/nv_tegra_release and the device files of Jetson Linux, and from
/proc/driver/nvidia of the desktop driver.
"""

from __future__ import annotations

import platform
import re
import shutil
from pathlib import Path

from trtforge.devices.machine.files import THIS_MACHINE, first_match, read


def arch(root: Path) -> str:
    """Return the architecture of the processor."""
    if root == THIS_MACHINE:
        return platform.machine()
    loader, libraries = root / "lib/ld-linux-aarch64.so.1", root / "usr/lib/aarch64-linux-gnu"
    return "aarch64" if loader.exists() or libraries.is_dir() else "x86_64"


def system(root: Path) -> str:
    """Return the name and version of the system, such as ``ubuntu 24.04``."""
    text = read(root, "etc/os-release")
    parts = [re.search(rf"(?m)^{key}=\"?([^\"\n]+)", text) for key in ("ID", "VERSION_ID")]
    return " ".join(part[1] for part in parts if part)


def container(root: Path) -> str | None:
    """Return the kind of container that the root belongs to; None if it is no container.

    Docker and Podman create a file, Kubernetes mounts a folder. Control groups of version 1 contain
    the name of the container's kind.
    """
    marks = {
        ".dockerenv": "docker",
        "run/.containerenv": "podman",
        "run/secrets/kubernetes.io": "kubernetes",
        "var/run/secrets/kubernetes.io": "kubernetes",
    }
    control_group = first_match(r"kubepods|docker|containerd|lxc", read(root, "proc/1/cgroup"))
    kinds = [kind for path, kind in marks.items() if (root / path).exists()]
    # Kubernetes runs its containers with another kind, whose marks they can have as well.
    if "kubernetes" in kinds or control_group == "kubepods":
        return "kubernetes"
    return next(iter(kinds), control_group)


def l4t(root: Path) -> str | None:
    """Return the release of Jetson Linux: ``# R36 (release), REVISION: 4.3, ...`` is 36.4.3."""
    text = read(root, "etc/nv_tegra_release")
    match = re.search(r"# R(\d+) \(release\), REVISION: ([\d.]+\d)", text)
    return f"{match[1]}.{match[2]}" if match else None


def memory(root: Path) -> int | None:
    """Return the bytes of memory of the machine, or of the container if that has fewer."""
    total = re.search(r"MemTotal:\s+(\d+) kB", read(root, "proc/meminfo"))
    limits = [int(total[1]) * 1024] if total else []
    # The limit of a container, in control groups of version 2 and 1.
    for file in ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes"):
        limits += [int(text)] if (text := read(root, file).strip()).isdigit() else []
    return min(limits, default=None)


def disk(root: Path, folder: Path | None = None) -> int | None:
    """Return the free bytes on the disk of a folder, which need not exist yet.

    Args:
        folder: a folder of this machine. Without it, or if the root belongs to another machine,
            the disk of the root is measured.
    """
    if root == THIS_MACHINE and folder is not None:
        path = folder.absolute()
        root = next(parent for parent in (path, *path.parents) if parent.exists())
    try:
        return shutil.disk_usage(root).free
    except OSError:
        return None


def driver(root: Path) -> str | None:
    """Return the version of the kernel module, which a container shows without driver libraries."""
    for file in ("sys/module/nvidia/version", "proc/driver/nvidia/version"):
        if version := first_match(r"\b\d{3}\.\d+(\.\d+)?\b", read(root, file)):
            return version
    return None


def devices(root: Path) -> tuple[str, ...]:
    """Return the names of the GPU device files."""
    names = ["nvhost-gpu", "dxg", *(f"nvidia{number}" for number in range(64)), "nvgpu"]
    return tuple(name for name in names if (root / "dev" / name).exists())
