"""What an installed TensorRT has: probed by name, never guessed from its version number."""

from __future__ import annotations

from typing import Any

from trtforge.errors import MachineError


def title(trt: Any) -> str:
    """Name and version for people, such as ``TensorRT 10.3.0`` or ``TensorRT-RTX 1.7.1.116``."""
    return f"{'TensorRT-RTX' if is_rtx(trt) else 'TensorRT'} {trt.__version__}"


def is_rtx(trt: Any) -> bool:
    return bool(trt.__name__.startswith("tensorrt_rtx"))


def has(trt: Any, name: str) -> bool:
    """Tell whether the bindings have a name such as ``BuilderFlag.REFIT``."""
    found: Any = trt
    for part in name.split("."):
        found = getattr(found, part, None)
    return found is not None


def need(trt: Any, what: str, *names: str) -> None:
    """Refuse what these bindings can't do.

    Args:
        what: the option that asks for it.
        names: of the bindings, without which it can't be done.

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
