"""Files of devices: the catalogue that ships with trtforge, and one of the user's own that adds to
it.

The user's file is ``$TRTFORGE_DEVICES``, else ``trtforge/devices.yaml`` in ``$XDG_CONFIG_HOME``
(``~/.config``). An entry there may say ``like: NAME`` and then only what differs, such as a Jetson
with an older JetPack::

    orin-nx-jp6: {like: orin-nx, jetpack: "6.1", deepstream: "7.1", tensorrt: "10.3", cuda: "12.6"}
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any, get_args

from trtforge.devices import Arch, Device, Kind, Precision, precisions_of
from trtforge.errors import ForgeError


def load() -> dict[str, Device]:
    """The user's devices, then those that ship with trtforge: what a user says of a GPU goes first.

    Raises:
        ForgeError: the user's file can't be read, is wrong, or gives a shipped device another
            meaning.
    """
    shipped = parse(
        resources.files("trtforge.devices").joinpath("devices.yaml").read_text("utf-8"),
        "devices.yaml",
    )
    file = users_file()
    if file is None:
        return shipped
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ForgeError(
            f"{file}: the device file can't be read ({error})", "correct $TRTFORGE_DEVICES"
        ) from error
    own = parse(text, str(file), shipped)
    if taken := own.keys() & shipped.keys():
        raise ForgeError(
            f"{file}: {', '.join(sorted(taken))}: trtforge has a device of that name",
            "give yours a name of its own, with `like:`",
        )
    return own | shipped


def users_file() -> Path | None:
    """The user's own device file, if there is one."""
    if given := os.environ.get("TRTFORGE_DEVICES"):
        return Path(given).expanduser()
    usual = (
        Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
        / "trtforge"
        / "devices.yaml"
    )
    return usual if usual.is_file() else None


def parse(text: str, origin: str, models: Mapping[str, Device] | None = None) -> dict[str, Device]:
    """Devices from YAML: a mapping of name to entry, each with every key of :class:`Device` but the
    name.

    Args:
        text: the YAML.
        origin: name of the file, for messages.
        models: devices that an entry may be ``like``; None: none, each entry says everything.

    Raises:
        ForgeError: not YAML, a key missing, unknown or of the wrong form; all faults of an entry at
            once.
    """
    import yaml  # type: ignore[import-untyped, unused-ignore]

    try:
        raw = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date that is none
        raise ForgeError(f"{origin} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(raw, dict):
        raise ForgeError(f"{origin} holds no devices", "It should map device names to entries.")
    return {
        str(name): _device(str(name), _whole(str(name), entry, origin, models), origin)
        for name, entry in raw.items()
    }


def _whole(name: str, entry: object, origin: str, models: Mapping[str, Device] | None) -> object:
    """The entry with what it leaves to the device that it is like."""
    if models is None or not isinstance(entry, dict) or "like" not in entry:
        return entry
    if str(entry["like"]) not in models:
        raise ForgeError(
            f"{origin}: device {name}: like: there is no device called {entry['like']!r}",
            "`trtforge devices` lists them",
        )
    model = asdict(models[str(entry["like"])])
    told = {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in model.items()
        if key != "name"
    }
    return (
        told
        | {"ci_label": f"gpu-{name}"}
        | {key: value for key, value in entry.items() if key != "like"}
    )


def _device(name: str, entry: object, origin: str) -> Device:
    entry = entry if isinstance(entry, dict) else {}
    faults = []
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        faults.append("the name is not lower-case words joined by hyphens")
    if missing := [key for key in _FORMS if key not in entry]:
        faults.append(f"missing: {', '.join(missing)}")
    if unknown := [str(key) for key in entry if key not in _FORMS]:
        faults.append(f"unknown: {', '.join(unknown)}")
    faults += [
        f"{key} is not {form}"
        for key, (form, fits) in _FORMS.items()
        if key in entry and not fits(entry[key])
    ]
    if faults:
        raise ForgeError(
            f"{origin}: device {name}: {'; '.join(faults)}", "What is not known is written as null."
        )

    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()
    }
    made = Device(name=name, **values)
    if beyond := [
        precision for precision in made.precisions if precision not in precisions_of(made.sm)
    ]:
        raise ForgeError(f"{origin}: device {name}: SM{made.sm} has no {', '.join(beyond)}")
    return made


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_text, value))


def _figure(value: Any) -> bool:
    return value is None or (
        isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf
    )


def _version(value: Any) -> bool:
    # Unquoted, 10.10 would be read as the number 10.1: only text can hold a version.
    return value is None or (isinstance(value, str) and bool(re.fullmatch(r"\d+(\.\d+)+", value)))


def _one_of(words: Iterable[str]) -> tuple[str, Callable[[Any], bool]]:
    known = tuple(words)
    return f"one of {', '.join(known)}", lambda value: value in known


_KNOWN_PRECISIONS = get_args(Precision)
_FORMS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "title": ("text", _text),
    "kind": _one_of(get_args(Kind)),
    "arch": _one_of(get_args(Arch)),
    "compute_capability": (
        'text such as "8.9"',
        lambda v: isinstance(v, str) and bool(re.fullmatch(r"\d+\.\d", v)),
    ),
    "memory_gib": ("a positive number or null", _figure),
    "bandwidth_gb_s": ("a positive number or null", _figure),
    "dla_cores": ("a count", lambda v: type(v) is int and v >= 0),
    "precisions": (
        f"a list of {', '.join(_KNOWN_PRECISIONS)}",
        lambda v: _texts(v) and set(v) <= set(_KNOWN_PRECISIONS) and len(set(v)) == len(v),
    ),
    "int8_tops": ("a positive number or null", _figure),
    "fp16_tflops": ("a positive number or null", _figure),
    "ci_label": ("text", _text),
    "tensorrt": ('text such as "10.16" or null', _version),
    "deepstream": ('text such as "9.1" or null', _version),
    "cuda": ('text such as "13.2" or null', _version),
    "jetpack": ('text such as "7.2" or null', _version),
    "gpu_names": ("a list of shell patterns", _texts),
    "source": ("a list of pages", _texts),
}
