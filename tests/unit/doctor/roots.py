"""Root folders laid out as on a Jetson, in DeepStream's containers, and on a desktop, with as much
as matters here.

The layouts are those of JetPack, of NVIDIA's Dockerfiles of DeepStream 9.1 and of the desktop
driver.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

Layout = Mapping[str, str]

JETSON_NX = "NVIDIA Jetson Orin NX Engineering Reference Developer Kit\0"
DIST = "usr/lib/python3.12/dist-packages"
PIP = "usr/local/lib/python3.12/dist-packages"


def lay(root: Path, *layouts: Layout) -> Path:
    """Writes files; what begins with ``->`` is a link to what follows."""
    for layout in layouts:
        for name, content in layout.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if content.startswith("->"):
                path.symlink_to(content[2:])
            else:
                path.write_text(content)
    return root


def system(memory_kb: int = 16_000_000, version: str = "24.04") -> Layout:
    return {
        "etc/os-release": f'PRETTY_NAME="Ubuntu {version} LTS"\nID=ubuntu\nID_LIKE=debian\nVERSION_ID="{version}"\n',
        "proc/meminfo": f"MemTotal:       {memory_kb} kB\nMemFree: 1 kB\n",
        "usr/bin/python3.12": "",
    }


def dpkg(**packages: str) -> Layout:
    blocks = [
        f"Package: {name.replace('_', '-')}\nStatus: install ok installed\nVersion: {version}\n"
        for name, version in packages.items()
    ]
    return {"var/lib/dpkg/status": "\n".join(blocks)}


def python(folder: str, **packages: str) -> Layout:
    """Packages as pip writes of them: name, and version."""
    return {
        f"{folder}/{name}-{version}.dist-info/METADATA": f"Name: {name}\nVersion: {version}\n\n"
        for name, version in packages.items()
    }


def onnxruntime(folder: str, owner: str, version: str, *providers: str, cuda: str = "") -> Layout:
    """The package's folder as the distribution ``owner`` leaves it."""
    capi = f"{folder}/onnxruntime/capi"
    told = f"package_name = '{owner}'\n__version__ = '{version}'\n" + (
        f"cuda_version = '{cuda}'\n" if cuda else ""
    )
    libraries = [f"libonnxruntime_providers_{name}.so" for name in ("shared", *providers)]
    return {
        f"{capi}/build_and_package_info.py": told,
        f"{capi}/onnxruntime_pybind11_state.cpython-312.so": "",
        **{f"{capi}/{library}": "" for library in libraries},
    }


def libnvinfer(arch: str, version: str) -> Layout:
    folder = f"usr/lib/{arch}-linux-gnu"
    file = f"libnvinfer.so.{version}"
    return {
        f"{folder}/{file}": "",
        f"{folder}/libnvinfer.so.{version.partition('.')[0]}": f"->{file}",
    }


def deepstream(version: str) -> Layout:
    short = ".".join(version.split(".")[:2])
    home = "opt/nvidia/deepstream"
    return {
        f"{home}/deepstream-{short}/version": f"Version: {version}\nGCID: 46117240\n",
        f"{home}/deepstream": f"->/{home}/deepstream-{short}",
    }


def driver(version: str, *gpus: str, libcuda: bool = True) -> Layout:
    """The desktop driver: its kernel module's files and, unless a container lacks them, its
    libraries.
    """
    libraries = {
        "usr/lib/x86_64-linux-gnu/libcuda.so.1": f"->libcuda.so.{version}",
        f"usr/lib/x86_64-linux-gnu/libcuda.so.{version}": "",
    }
    return {
        "proc/driver/nvidia/version": f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {version}  Thu Jan 1 2026\n"
        "GCC version:  gcc version 13.3.0 (Ubuntu 13.3.0-6ubuntu2~24.04)\n",
        **{
            f"proc/driver/nvidia/gpus/0000:0{number}:00.0/information": f"Model: \t\t {name}\nIRQ:   \t\t 190\n"
            for number, name in enumerate(gpus, 1)
        },
        **{f"dev/nvidia{number}": "" for number in range(len(gpus))},
        **(libraries if libcuda else {}),
    }


def jetson(root: Path, board: str | None = JETSON_NX) -> Path:
    """Orin NX with JetPack 7.2 and DeepStream 9.1, flashed and with trtforge installed by the
    system's pip.
    """
    return lay(
        root,
        system(),
        {
            "etc/nv_tegra_release": "# R39 (release), REVISION: 2.0, GCID: 46117240, BOARD: generic, EABI: aarch64\n",
            "usr/local/cuda-13.2/version.json": '{"cuda": {"name": "CUDA SDK", "version": "13.2.1"}}',
            "usr/local/cuda": "->/usr/local/cuda-13.2",
            "usr/lib/aarch64-linux-gnu/nvidia/libcuda.so.1": "",
            f"{DIST}/tensorrt/__init__.py": "",
        },
        {"proc/device-tree/model": board} if board else {},
        dpkg(
            nvidia_jetpack="7.2-b102",
            nvidia_l4t_core="39.2.0-20260601",
            libnvinfer10="10.16.2.10-1+cuda13.2",
            python3_libnvinfer="10.16.2.10-1+cuda13.2",
        ),
        libnvinfer("aarch64", "10.16.2"),
        python(DIST, tensorrt="10.16.2.10"),
        deepstream("9.1.0"),
        python(PIP, onnxruntime="1.23.2", pycuda="2025.1.2"),
        onnxruntime(PIP, "onnxruntime", "1.23.2"),
    )


def container(root: Path) -> Path:
    """DeepStream 9.1's samples container on x86, started with an L4, with trtforge in it."""
    return lay(
        root,
        system(),
        {".dockerenv": "", "sys/fs/cgroup/memory.max": "8589934592\n"},
        driver("595.58.03", "NVIDIA L4"),
        {f"{DIST}/tensorrt/__init__.py": ""},
        dpkg(libnvinfer10="10.16.1.11-1+cuda13.2", python3_libnvinfer="10.16.1.11-1+cuda13.2"),
        libnvinfer("x86_64", "10.16.1"),
        python(DIST, tensorrt="10.16.1.11"),
        deepstream("9.1.0"),
        python(PIP, onnxruntime="1.23.2", pycuda="2025.1.2"),
        onnxruntime(PIP, "onnxruntime", "1.23.2"),
    )


def desktop(root: Path, version: str, gpu: str = "NVIDIA GeForce RTX 4090") -> Path:
    """Ubuntu with a driver, and ONNX Runtime from pip."""
    return lay(
        root,
        system(),
        driver(version, gpu),
        python(PIP, onnxruntime="1.23.2"),
        onnxruntime(PIP, "onnxruntime", "1.23.2"),
    )
