"""Values as they stand on the command line: 4GiB, 30m, 1:4:8, 640x640."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from trtforge.errors import ForgeError

MOST_BATCH = 1024  # nvinfer takes no more
MOST_MEMORY = 2**60  # bytes; builders count in 64 bits
AMOUNT = r"\d{1,30}(?:\.\d{1,30})?"
KWARGS_HINT = """for example --kwargs '{"classes": 10}'"""
UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}


def batch(text: str | None) -> tuple[int, int, int] | None:
    """``N`` is 1:N:N, as nvinfer builds it."""
    if text is None:
        return None
    parts = text.split(":")
    if len(parts) not in (1, 3) or not all(
        re.fullmatch("0*[1-9][0-9]{0,30}", part) for part in parts
    ):
        raise ForgeError(
            f"--batch {text}: neither N nor MIN:OPT:MAX", "for example --batch 8, or --batch 1:8:16"
        )
    least, best, most = (1, int(text), int(text)) if len(parts) == 1 else map(int, parts)
    if most > MOST_BATCH:
        raise ForgeError(f"--batch {text}: over {MOST_BATCH}", "nvinfer's own limit is 1024")
    if not least <= best <= most:
        raise ForgeError(
            f"--batch {text}: not in order", "MIN <= OPT <= MAX, for example --batch 1:8:16"
        )
    return least, best, most


def size(text: str | None) -> tuple[int, int] | None:
    """``HxW`` in pixels."""
    if text is None:
        return None
    found = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text.lower())
    if not found:
        raise ForgeError(f"--size {text}: not HxW", "for example --size 640x640")
    return int(found[1]), int(found[2])


def memory(text: str | None, option: str = "--workspace ") -> int | None:
    """Bytes of ``4GiB``, ``512MB`` or ``1000000``."""
    if text is None:
        return None
    found = re.fullmatch(rf"({AMOUNT})\s*([kmg]?i?)b?", text.lower())
    if (
        not found
        or found[2] not in UNITS
        or not 1 <= float(found[1]) * UNITS[found[2]] <= MOST_MEMORY
    ):
        raise ForgeError(f"{option}{text}: not an amount of memory", f"for example {option}4GiB")
    return int(float(found[1]) * UNITS[found[2]])


def seconds(text: str, option: str = "--time") -> float:
    """Seconds of ``200ms``, ``90s``, ``30m``, ``2h``, ``30d`` or ``4w``."""
    found = re.fullmatch(rf"({AMOUNT})(ms|[smhdw])", text.lower())
    if not found or not float(found[1]):
        raise ForgeError(f"{option} {text}: not a time", f"for example {option} 30s")
    return (
        float(found[1])
        * {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}[found[2]]
    )


def timeout(text: str | None) -> float | None:
    """Seconds of ``10m``, or None."""
    return None if text is None else seconds(text, "--timeout")


def numbers(text: str, option: str, most: int) -> list[int]:
    """Whole numbers of ``1,8,16``, each once, in 1..most."""
    parts = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch(r"\d{1,9}", part) and 1 <= int(part) <= most for part in parts):
        raise ForgeError(
            f"{option} {text}: not numbers of 1 to {most}", f"for example {option} 1,8"
        )
    return list(dict.fromkeys(map(int, parts)))


def names(text: str, option: str, allowed: Sequence[str]) -> list[str]:
    """Names of ``fp32,int8``, each once."""
    parts = [part.strip().lower() for part in text.split(",")]
    return list(dict.fromkeys(one_of(part, allowed, option) for part in parts))


def version(text: str | None) -> str | None:
    """Return a DeepStream version, such as ``9.1``; ``9`` is 9.0."""
    if text is None:
        return None
    if not re.fullmatch(r"\d{1,2}(\.\d{1,2}){0,2}", text):
        raise ForgeError(f"--deepstream {text}: not a version", "for example --deepstream 9.1")
    return text if "." in text else f"{text}.0"


def shard(text: str) -> tuple[int, int]:
    """``I/N``: the I-th of N parts, counted from 1."""
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise ForgeError(f"--shard {text}: not I/N with 1 <= I <= N", "for example --shard 2/8")
    return int(found[1]), int(found[2])


def kwargs(text: str | None) -> dict[str, Any]:
    """Return a JSON object of arguments."""
    from trtforge.documents import DocumentError, load_json

    try:
        found = load_json(text or "{}")
    except DocumentError as error:
        raise ForgeError(f"--kwargs {text}: {error.reason}", KWARGS_HINT) from error
    if not isinstance(found, dict):
        raise ForgeError(f"--kwargs {text}: not a JSON object", KWARGS_HINT)
    return found


def percent(text: str | None, option: str) -> float | None:
    """Percent of ``3%`` or ``3``, 0 or more."""
    if text is None:
        return None
    found = re.fullmatch(rf"({AMOUNT})\s*%?", text.strip())
    if not found:
        raise ForgeError(f"{option} {text}: not a percentage", f"for example {option} 3%")
    return float(found[1])


def provider(given: str) -> str:
    """Where ONNX Runtime computes."""
    return one_of(given, ("auto", "cpu", "cuda"), "--provider")


def one_of(value: str, allowed: Sequence[str], option: str) -> str:
    if value not in allowed:
        raise ForgeError(f"{option} {value}: not known", f"one of: {', '.join(allowed)}")
    return value


def in_range(value: int, allowed: range, option: str) -> int:
    if value not in allowed:
        raise ForgeError(f"{option} {value}: not from {allowed[0]} to {allowed[-1]}", "")
    return value
