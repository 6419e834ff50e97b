"""Ask the installed TensorRT what it has: by name, not by its version number."""

from __future__ import annotations

from typing import Any

from trtforge.errors import MachineError


def title(trt: Any) -> str:
    """Return name and version for people, such as ``TensorRT 10.3.0`` or ``TensorRT-RTX 1.7.1.116``."""
    return f"{'TensorRT-RTX' if is_rtx(trt) else 'TensorRT'} {trt.__version__}"


def is_rtx(trt: Any) -> bool:
    return bool(trt.__name__.startswith("tensorrt_rtx"))


def has(trt: Any, name: str) -> bool:
    """Tell whether the bindings have a name such as ``BuilderFlag.REFIT``."""
    value: Any = trt
    for part in name.split("."):
        value = getattr(value, part, None)
    return value is not None


def need(trt: Any, what: str, *names: str) -> None:
    """Refuse what these bindings can't do.

    Args:
        what: the option that needs them.
        names: names in the bindings that it needs.

    Raises:
        MachineError: it names the version and what is missing.
    """
    missing = [name for name in names if not has(trt, name)]
    if missing:
        option = what.partition(" ")[0]
        raise MachineError(
            f"{title(trt)} has no {missing[0]}, which {what} needs",
            f"drop {option}, or build with another version of TensorRT",
        )
