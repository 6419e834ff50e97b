"""Find Python packages in the metadata that pip and Debian write, without importing them."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import distributions
from itertools import chain
from pathlib import Path

from trtforge.devices.machine.files import THIS_MACHINE, Component, first_match, inner_path, read

PYTHON_FOLDERS = (
    "usr/local/lib/python3*/dist-packages",
    "usr/lib/python3/dist-packages",
    "usr/lib/python3.*/dist-packages",
    "usr/local/lib/python3*/site-packages",
    "usr/lib/python3*/site-packages",
    "opt/*/lib/python3*/site-packages",
)
# All these distributions install the same folder, `onnxruntime`.
ONNXRUNTIMES = re.compile(
    r"(onnxruntime|ort-nightly)(-(gpu|openvino|rocm|migraphx|qnn|training|directml))?"
)
PACKAGES = re.compile(
    r"tensorrt(-rtx)?(-cu\d+)?(-libs|-bindings)?|torch|numpy|onnx|pycuda|nvidia-ml-py|ray|"
    + ONNXRUNTIMES.pattern
)


@dataclass(frozen=True)
class OnnxRuntime:
    """The folder ``onnxruntime`` and the distributions that were installed into it.

    Attributes:
        owner: distribution that the files belong to; None if they are too damaged to tell.
        version: version of the files.
        providers: lower-case names of execution providers, such as cpu, cuda, tensorrt.
        installed: all distributions that were installed into the folder.
    """

    owner: str | None
    version: str | None
    providers: tuple[str, ...]
    installed: tuple[Component, ...]


def python_folders(root: Path) -> list[Path]:
    """Return the folders of packages: this Python's path, or the usual folders of another root."""
    if root == THIS_MACHINE:
        return [Path(entry) for entry in sys.path if entry and Path(entry).is_dir()]
    return [folder for pattern in PYTHON_FOLDERS for folder in sorted(root.glob(pattern))]


def python(root: Path, folders: Sequence[Path]) -> str:
    """Return the version of the machine's Python; empty if it has none."""
    if root == THIS_MACHINE:
        return platform.python_version()
    versions = [
        first_match(r"(?<=python)3\.\d+", file.name)
        for file in sorted((root / "usr/bin").glob("python3.*"))
    ]
    versions += [first_match(r"(?<=/python)3\.\d+", str(folder)) for folder in folders]
    return next(filter(None, versions), "")


def packages(root: Path, folders: Sequence[Path]) -> list[Component]:
    """Return the packages that trtforge uses; Python imports the first of each name."""
    components = []
    searches = (distributions(path=[str(folder)]) for folder in folders)
    for distribution in chain.from_iterable(searches):
        # An interrupted pip leaves distributions behind that have no name or no version.
        metadata = distribution.metadata
        name = re.sub(r"[-_.]+", "-", str(metadata["Name"] or "") if metadata else "").lower()
        version = str(metadata["Version"] or "") if metadata else ""
        if PACKAGES.fullmatch(name) and version:
            folder = Path(str(distribution.locate_file("")))
            components.append(
                Component(name, version, inner_path(root, folder), _cuda(root, name, folder))
            )
    return list(dict.fromkeys(components))


def _cuda(root: Path, name: str, folder: Path) -> str | None:
    """Return the CUDA version that a package was built for, from its name or one of its files."""
    if name == "torch":
        text = read(root, folder / "torch/version.py")
        cuda = re.search(r"(?m)^cuda\b[^'\"\n]*['\"]([\d.]+)", text)
        return cuda[1] if cuda else None
    if ONNXRUNTIMES.fullmatch(name) and name.endswith("gpu"):
        text = read(root, folder / "onnxruntime/capi/build_and_package_info.py")
        return first_match(r"(?<=cuda_version = ['\"])[\d.]+", text)
    return first_match(r"(?<=-cu)\d+", name)


def onnxruntime(
    root: Path, folders: Sequence[Path], packages: Sequence[Component]
) -> OnnxRuntime | None:
    """Return the folder of ONNX Runtime, if there is one.

    Every distribution writes its name into the folder, so the folder names the last one installed.
    """
    installed = [package for package in packages if ONNXRUNTIMES.fullmatch(package.name)]
    capi = next(
        (folder / "onnxruntime/capi" for folder in folders if (folder / "onnxruntime").is_dir()),
        None,
    )
    if capi is None:
        return OnnxRuntime(None, None, (), tuple(installed)) if installed else None
    packages_folder = inner_path(root, capi.parent.parent)
    installed = [package for package in installed if package.where == packages_folder]
    text = read(root, capi / "build_and_package_info.py")
    owner = first_match(r"(?<=package_name = ['\"])[\w-]+", text)
    core = any(capi.glob("onnxruntime_pybind11_state*"))
    provider_names = [
        first_match(r"(?<=libonnxruntime_providers_)\w+(?=\.so)", file.name)
        for file in sorted(capi.glob("lib*.so*"))
    ]
    # The CPU-only distribution loads no other provider, but does not delete the libraries of a
    # distribution that was there before.
    providers = (
        "cpu",
        *(name for name in provider_names if name and name != "shared" and owner != "onnxruntime"),
    )
    version = first_match(r"(?<=__version__ = ['\"])[\w.]+", text)
    return OnnxRuntime(
        owner if core else None, version, providers if core else (), tuple(dict.fromkeys(installed))
    )
