"""Python packages, read from what pip and Debian wrote about them, and not by importing them."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

from trtforge.devices.machine.files import HERE, Found, below, first, read

PYTHON_FOLDERS = (
    "usr/local/lib/python3*/dist-packages",
    "usr/lib/python3/dist-packages",
    "usr/lib/python3.*/dist-packages",
    "usr/local/lib/python3*/site-packages",
    "usr/lib/python3*/site-packages",
    "opt/*/lib/python3*/site-packages",
)
# Distributions that all install the folder `onnxruntime`.
ONNXRUNTIMES = re.compile(
    r"(onnxruntime|ort-nightly)(-(gpu|openvino|rocm|migraphx|qnn|training|directml))?"
)
PACKAGES = re.compile(
    r"tensorrt(-rtx)?(-cu\d+)?(-libs|-bindings)?|torch|numpy|onnx|pycuda|cuda-python|nvidia-ml-py|ray|"
    + ONNXRUNTIMES.pattern
)


@dataclass(frozen=True)
class OnnxRuntime:
    """The folder ``onnxruntime`` and who claims it.

    Attributes:
        owner: the distribution whose files are there; None where they are too damaged to tell.
        version: of those files.
        providers: lower-case names, such as cpu, cuda, tensorrt.
        claims: every distribution that installed into that folder.
    """

    owner: str | None
    version: str | None
    providers: tuple[str, ...]
    claims: tuple[Found, ...]


def python_folders(root: Path) -> list[Path]:
    """Where packages lie: this Python's own path, or of another root what is usual there."""
    if root == HERE:
        return [Path(entry) for entry in sys.path if entry and Path(entry).is_dir()]
    return [folder for pattern in PYTHON_FOLDERS for folder in sorted(root.glob(pattern))]


def python(root: Path, folders: Sequence[Path]) -> str:
    if root == HERE:
        return platform.python_version()
    versions = [
        first(r"(?<=python)3\.\d+", file.name)
        for file in sorted((root / "usr/bin").glob("python3.*"))
    ]
    versions += [first(r"(?<=/python)3\.\d+", str(folder)) for folder in folders]
    return next(filter(None, versions), "")


def packages(root: Path, folders: Sequence[Path]) -> list[Found]:
    """Those that matter here, of which the first of a name is the one that Python imports."""
    found = []
    for each in (each for folder in folders for each in distributions(path=[str(folder)])):
        # An interrupted pip leaves halves behind, without name or version.
        told = {
            key: str(each.metadata[key] or "") if each.metadata else ""
            for key in ("Name", "Version")
        }
        name = re.sub(r"[-_.]+", "-", told["Name"]).lower()
        if PACKAGES.fullmatch(name) and told["Version"]:
            folder = Path(str(each.locate_file("")))
            found.append(
                Found(name, told["Version"], below(root, folder), _cuda(root, name, folder))
            )
    return list(dict.fromkeys(found))


def _cuda(root: Path, name: str, folder: Path) -> str | None:
    """The CUDA that a package was made for: its name has it, or a file of it."""
    if name == "torch":
        made = re.search(
            r"(?m)^cuda\b[^'\"\n]*['\"]([\d.]+)", read(root, folder / "torch/version.py")
        )
        return made[1] if made else None
    if ONNXRUNTIMES.fullmatch(name) and name.endswith("gpu"):
        told = read(root, folder / "onnxruntime/capi/build_and_package_info.py")
        return first(r"(?<=cuda_version = ['\"])[\d.]+", told)
    return first(r"(?<=-cu)\d+", name)


def onnxruntime(root: Path, folders: Sequence[Path], found: Sequence[Found]) -> OnnxRuntime | None:
    """Each distribution writes a file that names it: the one that was installed last is what is
    there.
    """
    claims = [each for each in found if ONNXRUNTIMES.fullmatch(each.name)]
    capi = next(
        (folder / "onnxruntime/capi" for folder in folders if (folder / "onnxruntime").is_dir()),
        None,
    )
    if capi is None:
        return OnnxRuntime(None, None, (), tuple(claims)) if claims else None
    claims = [each for each in claims if each.where == below(root, capi.parent.parent)]
    told = read(root, capi / "build_and_package_info.py")
    owner = first(r"(?<=package_name = ['\"])[\w-]+", told)
    core = any(capi.glob("onnxruntime_pybind11_state*"))
    own = [
        first(r"(?<=libonnxruntime_providers_)\w+(?=\.so)", file.name)
        for file in sorted(capi.glob("lib*.so*"))
    ]
    # The build for processors alone loads none, but leaves the libraries that another build has
    # brought.
    providers = (
        "cpu",
        *(name for name in own if name and name != "shared" and owner != "onnxruntime"),
    )
    version = first(r"(?<=__version__ = ['\"])[\w.]+", told)
    return OnnxRuntime(
        owner if core else None, version, providers if core else (), tuple(dict.fromkeys(claims))
    )
