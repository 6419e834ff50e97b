"""Choose the container image in which to build a device's engines.

    python -m trtforge.devices.image orin-nx

prints the image and its platform on stdout, and the reasons on stderr; ``make image`` uses it.
"""

from __future__ import annotations

import sys
from typing import Literal, get_args

from trtforge.devices import Device, device
from trtforge.devices.stacks import Stack, stack
from trtforge.errors import ForgeError, MachineError

Contents = Literal["deepstream", "tensorrt"]
PYTHON = (3, 10)  # the oldest that trtforge runs on


def base(target: Device, contents: Contents = "deepstream") -> tuple[str, list[str]]:
    """Return the image in which to build the device's engines, and the reasons as lines.

    Raises:
        MachineError: no image is known, or trtforge can't be installed in it.
    """
    versions = stack(target)
    images: dict[str, str | None] = dict(versions.images) if versions else {}
    image = images.get(contents)
    if versions is None or image is None:
        raise _unknown(target, contents, [name for name, other in images.items() if other])
    prepare = f"run `trtforge prepare ... --device {target.name}` anywhere"
    if not target.typed:
        raise MachineError(
            f"{target.title} ends at TensorRT {target.tensorrt}, with which trtforge builds nothing",
            f"{prepare}; its own {image} builds from that folder",
        )
    if versions.python and tuple(map(int, versions.python.split("."))) < PYTHON:
        needed = ".".join(map(str, PYTHON))
        raise MachineError(
            f"{image} has Python {versions.python}; trtforge needs {needed}", prepare
        )
    driver = []
    if versions.driver:
        driver = [f"the machine's driver has to be {versions.driver} or newer"]
    return image, [
        f"{target.title} has {_list_versions(versions)}: one set",
        _advice(contents, versions),
        *driver,
        *(f"see {page}" for page in versions.source),
    ]


def _unknown(target: Device, contents: Contents, others: list[str]) -> MachineError:
    hint = "give one yourself: docker build --build-arg BASE=IMAGE ."
    if others:
        hint = f"take {others[0]}: make image DEVICE={target.name} HOLDS={others[0]}"
    about = f"{target.title} (DeepStream {target.deepstream or 'unknown'})"
    return MachineError(f"no image with {contents} is known for {about}", hint)


def _list_versions(versions: Stack) -> str:
    parts = [
        ("JetPack", versions.jetpack),
        ("Jetson Linux", versions.l4t),
        ("DeepStream", versions.deepstream),
        ("TensorRT", versions.tensorrt),
        ("CUDA", versions.cuda),
        ("Python", versions.python),
    ]
    return ", ".join(f"{name} {version}" for name, version in parts if version)


def _advice(contents: Contents, versions: Stack) -> str:
    if contents == "deepstream":
        return (
            "an engine loads only in the TensorRT that made it: build in the image that will run it"
        )
    return (
        f"TensorRT alone; DeepStream {versions.deepstream} loads its engines only if the whole "
        "version is equal"
    )


def _note(text: str) -> None:
    print(text, file=sys.stderr)


def main(arguments: list[str]) -> int:
    """Print the image for ``DEVICE [deepstream|tensorrt]``; return the exit code."""
    if not 1 <= len(arguments) <= 2 or (arguments[1:] and arguments[1] not in get_args(Contents)):
        _note("usage: python -m trtforge.devices.image DEVICE [deepstream|tensorrt]")
        return ForgeError.code
    try:
        target = device(arguments[0])
        image, why = base(target, "tensorrt" if "tensorrt" in arguments[1:] else "deepstream")
    except ForgeError as error:
        _note(f"error: {error.problem}\n hint: {error.hint}")
        return error.code
    _note("\n".join([f"{target.name}: {image}", *(f"  {line}" for line in why)]))
    platform = "linux/arm64" if target.arch == "aarch64" else "linux/amd64"
    print(f"{image} {platform}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
