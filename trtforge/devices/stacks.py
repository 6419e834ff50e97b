"""JetPack, DeepStream, TensorRT and CUDA that belong together, and the container image to build a
device's engines in.

    python -m trtforge.devices.stacks orin-nx

prints the image on stdout, and why it is that one on stderr; ``make image`` uses it. The facts live
in ``stacks.yaml``.
"""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass
from importlib import resources
from typing import Literal, get_args

from trtforge.devices import Device, device
from trtforge.errors import ForgeError, MachineError
from trtforge.present import note

Family = Literal["x86_64", "jetson", "sbsa"]
Contents = Literal["deepstream", "tensorrt"]
PYTHON = (3, 10)  # the oldest that trtforge runs on


@dataclass(frozen=True)
class Stack:
    """One row. What is not publicly known is None.

    Attributes:
        family: of machines: sbsa are ARM servers and DGX Spark.
        driver: oldest driver that NVIDIA names for it.
        l4t: release of Jetson Linux; what comes after it may differ.
        python: of the images.
        images: container images by what they hold.
    """

    family: Family
    deepstream: str
    tensorrt: str
    cuda: str | None
    driver: str | None
    jetpack: str | None
    l4t: str | None
    python: str | None
    images: dict[Contents, str | None]
    source: list[str]


@functools.cache
def stacks() -> tuple[Stack, ...]:
    import yaml  # type: ignore[import-untyped, unused-ignore]

    rows = yaml.safe_load(
        resources.files("trtforge.devices").joinpath("stacks.yaml").read_text("utf-8")
    )
    return tuple(Stack(**row) for row in rows)


def family(target: Device) -> Family:
    if target.kind == "jetson":
        return "jetson"
    return "x86_64" if target.arch == "x86_64" else "sbsa"


def stack(target: Device) -> Stack | None:
    """The device's row; None where nothing is known of its DeepStream."""
    for row in stacks():
        if (
            row.family == family(target)
            and row.deepstream == target.deepstream
            and row.jetpack == target.jetpack
        ):
            return row
    return None


def base(target: Device, contents: Contents = "deepstream") -> tuple[str, list[str]]:
    """The image to build the device's engines in, and why, line by line.

    Raises:
        MachineError: none is known, or trtforge can't be installed in it.
    """
    row = stack(target)
    image = row.images[contents] if row else None
    prepare = f"run `trtforge prepare ... --device {target.name}` anywhere"
    if row is None or image is None:
        others = [name for name, known in row.images.items() if known] if row else []
        hint = (
            f"take {others[0]}: make image DEVICE={target.name} HOLDS={others[0]}"
            if others
            else ("give one yourself: docker build --build-arg BASE=IMAGE .")
        )
        raise MachineError(
            f"no image with {contents} is known for {target.title} "
            f"(DeepStream {target.deepstream or 'unknown'})",
            hint,
        )
    if not target.typed:
        raise MachineError(
            f"{target.title} ends at TensorRT {target.tensorrt}, with which trtforge builds nothing",
            f"{prepare}; its own {image} builds from that folder",
        )
    if row.python and tuple(map(int, row.python.split("."))) < PYTHON:
        raise MachineError(
            f"{image} has Python {row.python}; trtforge needs {'.'.join(map(str, PYTHON))}", prepare
        )
    own = [
        ("JetPack", row.jetpack),
        ("Jetson Linux", row.l4t),
        ("DeepStream", row.deepstream),
        ("TensorRT", row.tensorrt),
        ("CUDA", row.cuda),
        ("Python", row.python),
    ]
    why = [
        f"{target.title} has {', '.join(f'{name} {version}' for name, version in own if version)}: one set"
    ]
    if contents == "deepstream":
        why.append(
            "an engine loads only in the TensorRT that made it: build in the image that will run it"
        )
    else:
        why.append(
            f"TensorRT alone; DeepStream {row.deepstream} loads its engines only if all of the version is equal"
        )
    if row.driver:
        why.append(f"the machine's driver has to be {row.driver} or newer")
    return image, [*why, *(f"see {page}" for page in row.source)]


def main(arguments: list[str]) -> int:
    if not 1 <= len(arguments) <= 2 or (arguments[1:] and arguments[1] not in get_args(Contents)):
        note("usage: python -m trtforge.devices.stacks DEVICE [deepstream|tensorrt]")
        return ForgeError.code
    try:
        target = device(arguments[0])
        image, why = base(target, "tensorrt" if arguments[1:] == ["tensorrt"] else "deepstream")
    except ForgeError as error:
        note(f"error: {error.problem}\n hint: {error.hint}")
        return error.code
    note("\n".join([f"{target.name}: {image}", *(f"  {line}" for line in why)]))
    platform = "linux/arm64" if target.arch == "aarch64" else "linux/amd64"
    print(f"{image} {platform}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
