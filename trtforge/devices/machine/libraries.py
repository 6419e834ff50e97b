"""Find CUDA, TensorRT and DeepStream that were not installed by pip.

The layouts come from the packages of JetPack in dpkg's status file, and from NVIDIA's Dockerfiles
of DeepStream (https://github.com/NVIDIA/DeepStream, deepstream_dockers/).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from trtforge.devices.machine.files import THIS_MACHINE, Component, first_match, inner_path, read

FOLDERS = (
    "usr/lib/x86_64-linux-gnu",
    "usr/lib/aarch64-linux-gnu",
    "usr/lib/aarch64-linux-gnu/tegra",
    "usr/lib/aarch64-linux-gnu/nvidia",
    "usr/lib64",
    "usr/lib",
    "usr/local/lib",
    "usr/local/tensorrt/lib",
    "opt/tensorrt/lib",
    "usr/lib/wsl/lib",
    "usr/local/nvidia/lib64",
    "run/opengl-driver/lib",
)
DEBS = re.compile(
    r"nvidia-jetpack|nvidia-l4t-core|libnvinfer\d+|python3-libnvinfer|deepstream-\d.*"
)


def toolkits(root: Path) -> Iterator[Component]:
    """Yield the installed CUDA toolkits."""
    for folder in sorted((root / "usr/local").glob("cuda-*.*")):
        version = re.search(
            r'"cuda"\s*:\s*\{[^}]*"version"\s*:\s*"([\d.]+)"', read(root, folder / "version.json")
        )
        yield Component(
            "cuda",
            version[1] if version else folder.name.removeprefix("cuda-"),
            inner_path(root, folder),
        )


def libnvinfer(root: Path, debs: dict[str, str]) -> Iterator[Component]:
    """Yield TensorRT's libraries, such as ``libnvinfer.so.10.16.1``.

    The version of a library's Debian package has all four numbers, and names the CUDA.
    A library that is only called ``libnvinfer.so.10`` is asked for its version, on this machine.
    """
    seen = set()
    for file in libraries(root, "libnvinfer.so.[0-9]*"):
        target = file.resolve()
        if target in seen or not target.is_relative_to(root):
            continue
        seen.add(target)
        version = target.name.removeprefix("libnvinfer.so.")
        if version.isdigit() and root == THIS_MACHINE:
            version = _own_version(target) or version
        if not re.fullmatch(r"\d+(\.\d+)*", version):
            continue
        deb = debs.get(f"libnvinfer{version.split('.')[0]}", "")  # 10.16.1.11-1+cuda13.2
        if f"{deb}.".startswith(f"{version}."):
            version = deb.partition("-")[0]
        cuda = first_match(r"(?<=\+cuda)[\d.]+", deb)
        yield Component("libnvinfer", version, inner_path(root, file), cuda)


def _own_version(library: Path) -> str:
    """Return what a libnvinfer says of itself, such as 10.6.0; empty where it does not load.

    It is loaded in a process of its own, which it may end.
    """
    ask = "import ctypes, sys; print(ctypes.CDLL(sys.argv[1]).getInferLibVersion())"
    command = [sys.executable, "-c", ask, str(library)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    number = int(done.stdout) if done.stdout.strip().isdigit() else 0
    # TensorRT 10 changed the number's form (NV_TENSORRT_VERSION in NvInferVersion.h).
    major, rest = divmod(number, 10_000 if number >= 100_000 else 1_000)
    return f"{major}.{rest // 100}.{rest % 100}" if number else ""


def bindings(root: Path) -> str | None:
    """Return the folder of TensorRT's Python bindings from a Debian package.

    A virtual environment sees it only if it was made with ``--system-site-packages``.
    """
    files = sorted((root / "usr/lib").glob("python3*/dist-packages/tensorrt/__init__.py"))
    return inner_path(root, files[0].parent) if files else None


def deepstream(root: Path) -> Component | None:
    """Return the installed DeepStream."""
    for folder in (
        root / "opt/nvidia/deepstream/deepstream",
        *(root / "opt/nvidia/deepstream").glob("deepstream-*"),
    ):
        version = first_match(r"\d+\.\d+(\.\d+)?", read(root, folder / "version"))
        if version := version or first_match(r"(?<=^deepstream-)\d+\.\d+$", folder.name):
            return Component("deepstream", version, inner_path(root, folder))
    return None


def libraries(root: Path, pattern: str, folders: Sequence[str] = ()) -> list[Path]:
    """Return the files that match a pattern.

    Args:
        folders: folders below the root; by default those of the loader and ``FOLDERS``.
    """
    if not folders:
        loader_path = (
            os.environ.get("LD_LIBRARY_PATH", "").split(":") if root == THIS_MACHINE else []
        )
        files = [root / "etc/ld.so.conf", *sorted((root / "etc/ld.so.conf.d").glob("*.conf"))]
        configured = [
            line.strip().lstrip("/")
            for file in files
            for line in read(root, file).splitlines()
            if line[:1] == "/"
        ]
        # cuda-compat is not a driver: it only replaces the libraries of an installed one.
        folders = [
            folder
            for folder in (*loader_path, *FOLDERS, *configured)
            if folder and "compat" not in folder
        ]
    paths = dict.fromkeys(root / folder for folder in folders)
    inside = [path for path in paths if path.resolve().is_relative_to(root)]
    return [file for path in inside for file in sorted(path.glob(pattern))]


def libcuda(root: Path, folders: Sequence[str] = ()) -> str | None:
    """Return the version in the name of the driver's library, such as libcuda.so.595.58.03."""
    versions = [
        first_match(r"\d{3}\.\d+(\.\d+)?$", file.name)
        for file in libraries(root, "libcuda.so.*", folders)
    ]
    return next(filter(None, versions), None)


def compat(root: Path) -> str | None:
    """Return the version of cuda-compat."""
    folders = [str(folder.relative_to(root)) for folder in root.glob("usr/local/cuda-*/compat")]
    return libcuda(root, folders) if folders else None


def debs(root: Path) -> dict[str, str]:
    """Return the versions of NVIDIA's installed Debian packages by name."""
    versions = {}
    for block in read(root, "var/lib/dpkg/status", max_bytes=1 << 26).split("\n\n"):
        name, version = (re.search(rf"(?m)^{key}: (.+)$", block) for key in ("Package", "Version"))
        if (
            name
            and version
            and DEBS.fullmatch(name[1])
            and re.search(r"(?m)^Status: .* installed$", block)
        ):
            versions[name[1]] = version[1]
    return versions
