"""Read files of devices: the one of trtforge, and one in which the user adds devices.

The user's file is ``$TRTFORGE_DEVICES``, else ``trtforge/devices.yaml`` in ``$XDG_CONFIG_HOME``
(``~/.config``). An entry there may take all facts of another device with ``like: NAME``, and then
has only the keys that differ, such as for a Jetson with an older JetPack::

    orin-nx-jp6: {like: orin-nx, jetpack: "6.1", deepstream: "7.1"}

TensorRT and CUDA follow from DeepStream and JetPack (``stacks.yaml``) where an entry does not name
them.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, RootModel, StringConstraints

from trtforge.devices import Arch, Device, Kind, Precision, precisions_of
from trtforge.documents import MAX_YAML_BYTES, parse_document, validate
from trtforge.errors import ForgeError

HINT = "write null for a fact that is not known; trtforge's own devices.yaml shows every key"


def _quoted(value: object) -> object:
    # YAML reads an unquoted 10.10 as the number 10.1, so a version has to be text.
    if isinstance(value, int | float):
        raise ValueError(f'not text: write it in quotes, "{value}"')
    return value


def _positive(value: object) -> object:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is not None and not (number and 0 < float(str(value)) < math.inf):
        raise ValueError("not a positive number, or null")
    return value


def _distinct(value: object) -> object:
    if isinstance(value, list) and len(set(map(str, value))) < len(value):
        raise ValueError("a value occurs twice")
    return value


Text = Annotated[str, StringConstraints(min_length=1, strict=True)]
Version = Annotated[
    str, BeforeValidator(_quoted), StringConstraints(pattern=r"^\d+(\.\d+)+$", strict=True)
]
TensorRT = Annotated[  # its bindings' version may end in .post1
    str,
    BeforeValidator(_quoted),
    StringConstraints(pattern=r"^\d+(\.\d+)+(\.post\d+)?$", strict=True),
]
Capability = Annotated[
    str, BeforeValidator(_quoted), StringConstraints(pattern=r"^\d+\.\d$", strict=True)
]
Figure = Annotated[int | float, BeforeValidator(_positive)]


class Entry(BaseModel):
    """One device of a file; see :class:`trtforge.devices.Device` for the keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    like: Text | None = None
    title: Text | None = None
    kind: Kind | None = None
    arch: Arch | None = None
    compute_capability: Capability | None = None
    memory_gib: Figure | None = None
    bandwidth_gb_s: Figure | None = None
    dla_cores: Annotated[int, Field(ge=0, strict=True)] | None = None
    precisions: (
        Annotated[tuple[Precision, ...], BeforeValidator(_distinct), Field(min_length=1)] | None
    ) = None
    int8_tops: Figure | None = None
    fp16_tflops: Figure | None = None
    ci_label: Text | None = None
    tensorrt: TensorRT | None = None
    deepstream: Version | None = None
    cuda: Version | None = None
    jetpack: Version | None = None
    gpu_names: Annotated[tuple[Text, ...], Field(min_length=1)] | None = None
    source: Annotated[tuple[Text, ...], Field(min_length=1)] | None = None


class _DeviceFile(RootModel[dict[str, Entry]]):
    """Device names, each with its entry."""


# Keys that an entry without `like` must have, and whose value can't be null.
NOT_NULL = (
    "title", "kind", "arch", "compute_capability", "dla_cores", "precisions", "ci_label", "gpu_names",
    "source",
)  # fmt: skip
# Keys that an entry without `like` must have; the value of the others may be null.
REQUIRED = (
    *NOT_NULL,
    "memory_gib",
    "bandwidth_gb_s",
    "int8_tops",
    "fp16_tflops",
    "deepstream",
    "jetpack",
)


def load() -> dict[str, Device]:
    """Return the user's devices, then those that ship with trtforge.

    The order counts: ``identify`` takes the first device that matches a GPU.

    Raises:
        ForgeError: the user's file can't be read, is wrong, or gives a shipped device another
            meaning.
    """
    name = "devices.yaml"
    shipped = parse(resources.files("trtforge.devices").joinpath(name).read_text("utf-8"), name)
    file = users_file()
    if file is None:
        return shipped
    users = parse(_read(file), str(file), shipped)
    if names_of_both := users.keys() & shipped.keys():
        raise ForgeError(
            f"{file}: {', '.join(sorted(names_of_both))}: trtforge has a device of that name",
            "give yours another name, with `like:`",
        )
    return users | shipped


def _read(file: Path) -> str:
    try:
        if file.stat().st_size > MAX_YAML_BYTES:
            raise ForgeError(f"{file}: larger than 1 MiB, so not a device file", "")
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ForgeError(
            f"{file}: the device file can't be read ({error})", "correct $TRTFORGE_DEVICES"
        ) from error


def users_file() -> Path | None:
    """Return the path of the user's device file; None if the user has none."""
    if path := os.environ.get("TRTFORGE_DEVICES"):
        return Path(path).expanduser()
    settings = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    default = settings / "trtforge" / "devices.yaml"
    return default if default.is_file() else None


def parse(text: str, origin: str, models: Mapping[str, Device] | None = None) -> dict[str, Device]:
    """Return the devices in a YAML text, which maps names to entries.

    Args:
        text: the YAML.
        origin: name of the file, for messages.
        models: devices that an entry may name with ``like``; None if every entry must be complete.

    Raises:
        ForgeError: the text is not YAML, or a key is missing, unknown or of the wrong form; the
            message lists every error with its line.
    """
    document = parse_document(text, origin, HINT)
    if not isinstance(document.content, dict) or not document.content:
        raise ForgeError(f"{origin} holds no devices", "it should map device names to entries")
    entries = validate(document, origin, _DeviceFile, HINT).root
    faults = [fault for name in entries for fault in _faults(name, entries[name], models)]
    if faults:
        lines = [f"{origin}:{document.lines.get((name,), 1)}: {why}" for name, why in faults]
        raise ForgeError("\n".join(lines), HINT)
    return {name: _device(name, entry, models or {}) for name, entry in entries.items()}


def _faults(name: str, entry: Entry, models: Mapping[str, Device] | None) -> list[tuple[str, str]]:
    """Return the faults of an entry as a whole: pairs of the entry's name and a reason."""
    faults = []
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        faults.append("the name is not lower-case words joined by hyphens")
    if entry.like is None or models is None:
        missing = [key for key in REQUIRED if key not in entry.model_fields_set]
        empty = [key for key in NOT_NULL if key not in missing and getattr(entry, key) is None]
        faults += [f"missing: {', '.join(missing)}"] if missing else []
        faults += [f"null is no value for {', '.join(empty)}"] if empty else []
    elif entry.like not in models:
        faults.append(
            f"like: there is no device called {entry.like!r}; `trtforge devices` lists them"
        )
    capability = entry.compute_capability
    if capability is None and entry.like and models and entry.like in models:
        capability = models[entry.like].compute_capability
    if capability and entry.precisions:
        sm = int(capability.replace(".", ""))
        supported = precisions_of(sm)
        unsupported = [precision for precision in entry.precisions if precision not in supported]
        faults += [f"SM{sm} has no {', '.join(unsupported)}"] if unsupported else []
    return [(name, f"device {name}: {fault}") for fault in faults]


def _device(name: str, entry: Entry, models: Mapping[str, Device]) -> Device:
    """Return the device of an entry in which ``_faults`` found nothing."""
    from trtforge.devices import stacks

    facts = {key: getattr(entry, key) for key in entry.model_fields_set - {"like"}}
    if entry.like:
        device = replace(models[entry.like], **{"ci_label": f"gpu-{name}"} | facts, name=name)
        if not facts.keys() & {"deepstream", "jetpack"}:
            return device
    else:
        device = Device(**{"tensorrt": None, "cuda": None} | facts, name=name)
    # Another DeepStream or JetPack brings another TensorRT and CUDA.
    stack = stacks.stack(device)
    return replace(
        device,
        tensorrt=facts.get("tensorrt", stack.tensorrt if stack else None),
        cuda=facts.get("cuda", stack.cuda if stack else None),
    )
