"""The versions of DeepStream, TensorRT, CUDA and JetPack that belong together.

``stacks.yaml`` beside this file is the one table of them; every question is answered here.
"""

from __future__ import annotations

import functools
from datetime import date
from importlib import resources
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel

from trtforge.devices import Device

Family = Literal["x86_64", "jetson", "sbsa"]


class Images(BaseModel):
    """Container images, by what they hold. None: no image is known."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    deepstream: str | None = None
    tensorrt: str | None = None


class Stack(BaseModel):
    """One row of the table. What is not publicly known is None.

    Attributes:
        family: the machines that it is for; sbsa are ARM servers and DGX Spark.
        checked: whether trtforge's tables of keys were read from this DeepStream's parsers.
        driver: the oldest driver that NVIDIA names for it.
        l4t: the release of Jetson Linux; what comes after it may differ.
        python: the Python of the images.
        source: the pages that the row was read from.
        read: the day on which they were read.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: Family
    deepstream: str | None
    checked: bool = False
    tensorrt: str | None = None
    cuda: str | None = None
    driver: str | None = None
    jetpack: str | None = None
    l4t: str | None = None
    python: str | None = None
    images: Images = Field(default_factory=Images)
    source: tuple[str, ...]
    read: date


class _Table(RootModel[tuple[Stack, ...]]):
    """The rows of stacks.yaml."""


@functools.cache
def stacks() -> tuple[Stack, ...]:
    """Return all rows, the newest DeepStream first."""
    from trtforge.documents import parse_yaml

    name = "stacks.yaml"
    text = resources.files("trtforge.devices").joinpath(name).read_text("utf-8")
    return parse_yaml(text, name, _Table, "").root


def family(kind: str, arch: str) -> Family:
    """Return the family of a device, from its kind and the processor around its GPU."""
    if kind == "jetson":
        return "jetson"
    return "x86_64" if arch == "x86_64" else "sbsa"


def row(family: Family, deepstream: str | None, jetpack: str | None) -> Stack | None:
    """Return the row of a DeepStream and JetPack on a family of machines, if there is one."""
    for stack in stacks():
        if (stack.family, stack.deepstream, stack.jetpack) == (family, deepstream, jetpack):
            return stack
    return None


def stack(target: Device) -> Stack | None:
    """Return a device's row; None where nothing is known about its DeepStream."""
    return row(family(target.kind, target.arch), target.deepstream, target.jetpack)


def default_deepstream() -> str:
    """Return the DeepStream that is assumed where nothing names one."""
    return next(stack.deepstream for stack in stacks() if stack.checked and stack.deepstream)


def rows_of(deepstream: str) -> list[Stack]:
    """Return the rows of a DeepStream such as ``9``, ``9.0`` or ``9.0.1``.

    A patch release without a row of its own, such as 7.1.1, counts as its minor version.
    """
    parts = [*deepstream.split("."), "0"] if "." not in deepstream else deepstream.split(".")
    for version in (".".join(parts), ".".join(parts[:2])):
        if rows := [stack for stack in stacks() if stack.deepstream == version]:
            return rows
    return []


def tensorrt_of(deepstream: str, target: Device | None = None) -> str | None:
    """Return the TensorRT that a DeepStream loads engines and calibration caches of.

    Args:
        target: the device that it runs on; None is a machine with an x86-64 processor.

    Returns:
        A version such as ``10.3`` or ``8.5.2``; None where it is not known.
    """
    if target is not None and target.deepstream == deepstream and target.tensorrt:
        return target.tensorrt
    target_family = family(target.kind, target.arch) if target else "x86_64"
    rows = rows_of(deepstream)
    same_family = [
        stack.tensorrt for stack in rows if stack.family == target_family and stack.tensorrt
    ]
    return next(iter([*same_family, *(stack.tensorrt for stack in rows if stack.tensorrt)]), None)


def tensorrt_for(deepstream: str, target: Device | None) -> str:
    """Return the TensorRT in the header of a calibration cache for a DeepStream on a device.

    A DeepStream that the table lacks is taken for the device's own, else for the default one.
    """
    known = tensorrt_of(deepstream, target) or (target.tensorrt if target else None)
    newest = next(stack.tensorrt for stack in stacks() if stack.checked and stack.tensorrt)
    return known or newest


def tensorrts(deepstream: str) -> tuple[str, ...]:
    """Return the major and minor versions of TensorRT in a DeepStream, on whatever machine."""
    versions = [stack.tensorrt for stack in rows_of(deepstream) if stack.tensorrt]
    return tuple(dict.fromkeys(".".join(version.split(".")[:2]) for version in versions))


def mismatch(deepstream: str, tensorrt: str) -> str:
    """Return why a DeepStream can't load an engine of a TensorRT, in one sentence; empty if it can.

    An engine loads only in the TensorRT that made it, so what counts is which TensorRT a
    DeepStream was built for.
    """
    versions = tensorrts(deepstream)
    if not versions:
        known = ", ".join(dict.fromkeys(stack.deepstream for stack in stacks() if stack.deepstream))
        return (
            f"it is not known which TensorRT DeepStream {deepstream} loads engines of "
            f"(known are {known})"
        )
    if any(f"{tensorrt}.".startswith(f"{version}.") for version in versions):
        return ""
    return (
        f"DeepStream {deepstream} loads engines of TensorRT {' or '.join(versions)}, "
        f"not of {tensorrt}"
    )
