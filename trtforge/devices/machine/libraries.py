"""CUDA, TensorRT and DeepStream, as far as they were not installed by pip.

Sources of the layouts: the packages of JetPack in dpkg's status file, and NVIDIA's own Dockerfiles
of DeepStream
(https://github.com/NVIDIA/DeepStream, deepstream_dockers/).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from trtforge.devices.machine.files import HERE, Found, below, first, read

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


def toolkits(root: Path) -> Iterator[Found]:
    for folder in sorted((root / "usr/local").glob("cuda-*.*")):
        version = re.search(
            r'"cuda"\s*:\s*\{[^}]*"version"\s*:\s*"([\d.]+)"', read(root, folder / "version.json")
        )
        yield Found(
            "cuda",
            version[1] if version else folder.name.removeprefix("cuda-"),
            below(root, folder),
        )


def libnvinfer(root: Path, debs: dict[str, str]) -> Iterator[Found]:
    """``libnvinfer.so.10.16.1``; of the package it came from, the whole version and its CUDA are
    known.
    """
    seen = set()
    for file in libraries(root, "libnvinfer.so.*.*"):
        version = file.name.removeprefix("libnvinfer.so.")
        if not re.fullmatch(r"\d+(\.\d+)+", version) or file.resolve() in seen:
            continue
        seen.add(file.resolve())
        deb = debs.get(f"libnvinfer{version.split('.')[0]}", "")  # 10.16.1.11-1+cuda13.2
        whole = deb.partition("-")[0] if f"{deb}.".startswith(f"{version}.") else version
        yield Found("libnvinfer", whole, below(root, file), first(r"(?<=\+cuda)[\d.]+", deb))


def bindings(root: Path) -> str | None:
    """Debian's Python bindings of TensorRT, which a virtual environment sees only if it was made
    to.
    """
    found = sorted((root / "usr/lib").glob("python3*/dist-packages/tensorrt/__init__.py"))
    return below(root, found[0].parent) if found else None


def deepstream(root: Path) -> Found | None:
    for folder in (
        root / "opt/nvidia/deepstream/deepstream",
        *(root / "opt/nvidia/deepstream").glob("deepstream-*"),
    ):
        told = first(r"\d+\.\d+(\.\d+)?", read(root, folder / "version"))
        if version := told or first(r"(?<=^deepstream-)\d+\.\d+$", folder.name):
            return Found("deepstream", version, below(root, folder))
    return None


def libraries(root: Path, pattern: str, folders: Sequence[str] = ()) -> list[Path]:
    """Files of that name in the folders or, without them, wherever the loader looks and libraries
    usually lie.
    """
    if not folders:
        own = os.environ.get("LD_LIBRARY_PATH", "").split(":") if root == HERE else []
        files = sorted((root / "etc/ld.so.conf.d").glob("*.conf"))
        told = [
            line.strip().lstrip("/")
            for file in files
            for line in read(root, file).splitlines()
            if line[:1] == "/"
        ]
        # cuda-compat is no driver: it stands in for one that is there.
        folders = [
            folder for folder in (*own, *FOLDERS, *told) if folder and "compat" not in folder
        ]
    places = dict.fromkeys(root / folder for folder in folders)
    inside = [place for place in places if place.resolve().is_relative_to(root)]
    return [file for place in inside for file in sorted(place.glob(pattern))]


def libcuda(root: Path, folders: Sequence[str] = ()) -> str | None:
    """The version in the name of the driver's library, such as libcuda.so.595.58.03."""
    found = [
        first(r"\d{3}\.\d+(\.\d+)?$", file.name)
        for file in libraries(root, "libcuda.so.*", folders)
    ]
    return next(filter(None, found), None)


def compat(root: Path) -> str | None:
    """The version of cuda-compat."""
    folders = [str(folder.relative_to(root)) for folder in root.glob("usr/local/cuda-*/compat")]
    return libcuda(root, folders) if folders else None


def debs(root: Path) -> dict[str, str]:
    """Versions of the Debian packages that matter here."""
    found = {}
    for block in read(root, "var/lib/dpkg/status", most=1 << 26).split("\n\n"):
        name, version = (re.search(rf"(?m)^{key}: (.+)$", block) for key in ("Package", "Version"))
        if (
            name
            and version
            and DEBS.fullmatch(name[1])
            and re.search(r"(?m)^Status: .* installed$", block)
        ):
            found[name[1]] = version[1]
    return found
