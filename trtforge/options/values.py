"""Parse values as people write them: 4GiB, 30m, 1:4:8, 640x640.

Every function also takes the value that such a text stands for: ``parse_batch(8)`` is
``parse_batch("8")``. Each raises ``ForgeError``, which names the option, if the value is wrong.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, TypeVar

from trtforge.errors import ForgeError

PathLike = str | os.PathLike[str]
Batch = int | str | Sequence[int]
Size = str | Sequence[int]
Memory = int | str
Duration = float | str
Numbers = int | str | Sequence[int]
Names = str | Sequence[str]
Shape = tuple[int, ...]
Profile = dict[str, tuple[Shape, Shape, Shape]]
Number = TypeVar("Number", int, float)
Word = TypeVar("Word", bound=str)

LARGEST_BATCH = 1024  # nvinfer takes no larger one
LARGEST_MEMORY = 2**60  # bytes; builders count in 64 bits
AMOUNT = r"\d{1,30}(?:\.\d{1,30})?"
SIZE = r"([1-9]\d{0,4})x([1-9]\d{0,4})"
KWARGS_HINT = """for example --kwargs '{"classes": 10}'"""
BYTES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}
SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def parse_batch(value: Batch | None) -> tuple[int, int, int] | None:
    """Return the smallest, best and largest batch of ``N`` or ``MIN:OPT:MAX``.

    ``N`` is ``1:N:N``, which is what nvinfer builds.
    """
    if value is None:
        return None
    text = _joined(value, ":")
    parts = text.split(":")
    numbers = all(re.fullmatch("0*[1-9][0-9]{0,30}", part) for part in parts)
    if len(parts) not in (1, 3) or not numbers:
        raise ForgeError(
            f"--batch {text}: neither N nor MIN:OPT:MAX", "for example --batch 8, or --batch 1:8:16"
        )
    low, best, high = (1, int(text), int(text)) if len(parts) == 1 else map(int, parts)
    if high > LARGEST_BATCH:
        raise ForgeError(f"--batch {text}: over {LARGEST_BATCH}", "nvinfer's own limit is 1024")
    if not low <= best <= high:
        raise ForgeError(
            f"--batch {text}: not in order", "MIN <= OPT <= MAX, for example --batch 1:8:16"
        )
    return low, best, high


def parse_size(value: Size | None) -> tuple[int, int] | None:
    """Return height and width in pixels of ``HxW``."""
    if value is None:
        return None
    text = _joined(value, "x")
    match = re.fullmatch(SIZE, text.lower())
    if not match:
        raise ForgeError(f"--size {text}: not HxW", "for example --size 640x640")
    return int(match[1]), int(match[2])


def parse_width_height(value: Size, option: str) -> tuple[int, int]:
    """Return width and height in pixels of ``WxH``."""
    text = _joined(value, "x")
    match = re.fullmatch(SIZE, text.lower())
    if not match:
        raise ForgeError(f"{option} {text}: not WxH", f"for example {option} 64x64")
    return int(match[1]), int(match[2])


def parse_memory(value: Memory | None, option: str = "--workspace ") -> int | None:
    """Return the bytes of ``4GiB``, ``512MB`` or ``1000000``."""
    if value is None:
        return None
    text = str(value)
    match = re.fullmatch(rf"({AMOUNT})\s*([kmg]?i?)b?", text.lower())
    count = float(match[1]) * BYTES.get(match[2], 0) if match else 0.0
    if not 1 <= count <= LARGEST_MEMORY:
        raise ForgeError(f"{option}{text}: not an amount of memory", f"for example {option}4GiB")
    return int(count)


def parse_seconds(value: Duration, option: str = "--time") -> float:
    """Return the seconds of ``200ms``, ``90s``, ``30m``, ``2h``, ``30d`` or ``4w``."""
    text = value if isinstance(value, str) else f"{value:.6f}s"
    match = re.fullmatch(rf"({AMOUNT})(ms|[smhdw])", text.lower())
    if not match or not float(match[1]):
        raise ForgeError(f"{option} {value}: not a time", f"for example {option} 30s")
    return float(match[1]) * SECONDS[match[2]]


def parse_timeout(value: Duration | None) -> float | None:
    """Return the seconds of ``10m``, or None without a timeout."""
    return None if value is None else parse_seconds(value, "--timeout")


def parse_numbers(value: Numbers, option: str, largest: int, smallest: int = 1) -> list[int]:
    """Return the whole numbers in smallest..largest of ``1,8,16``, without repetitions."""
    text = _joined(value, ",")
    parts = [part.strip() for part in text.split(",")]
    if not all(
        re.fullmatch(r"\d{1,9}", part) and smallest <= int(part) <= largest for part in parts
    ):
        raise ForgeError(
            f"{option} {text}: not numbers of {smallest} to {largest}",
            f"for example {option} 1,{min(8, largest)}",
        )
    return list(dict.fromkeys(map(int, parts)))


def parse_names(value: Names, option: str, allowed: Sequence[Word]) -> list[Word]:
    """Return the names of ``fp32,int8``, without repetitions."""
    parts = [part.strip().lower() for part in _joined(value, ",").split(",")]
    return list(dict.fromkeys(parse_choice(part, allowed, option) for part in parts))


def parse_version(text: str | None) -> str | None:
    """Return a DeepStream version, such as ``9.1``; ``9`` is 9.0."""
    if text is None:
        return None
    if not re.fullmatch(r"\d{1,2}(\.\d{1,2}){0,2}", text):
        raise ForgeError(f"--deepstream {text}: not a version", "for example --deepstream 9.1")
    return text if "." in text else f"{text}.0"


def parse_shard(value: str | tuple[int, int]) -> tuple[int, int]:
    """Return (I, N) of ``I/N``: the I-th of N parts, counted from 1."""
    text = _joined(value, "/")
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise ForgeError(f"--shard {text}: not I/N with 1 <= I <= N", "for example --shard 2/8")
    return int(match[1]), int(match[2])


def parse_kwargs(value: str | dict[str, object] | None) -> dict[str, object]:
    """Return the arguments that a JSON object holds."""
    if isinstance(value, dict):
        return value
    from trtforge.documents import DocumentError, load_json

    try:
        parsed: object = load_json(value or "{}")
    except DocumentError as error:
        raise ForgeError(f"--kwargs {value}: {error.reason}", KWARGS_HINT) from error
    if not isinstance(parsed, dict):
        raise ForgeError(f"--kwargs {value}: not a JSON object", KWARGS_HINT)
    return parsed


def parse_percent(value: float | str | None, option: str) -> float | None:
    """Return the percentage of ``3%`` or ``3``, 0 or more."""
    if value is None:
        return None
    match = re.fullmatch(rf"({AMOUNT})\s*%?", str(value).strip())
    if not match:
        raise ForgeError(f"{option} {value}: not a percentage", f"for example {option} 3%")
    return float(match[1])


def parse_provider(name: str) -> Literal["auto", "cpu", "cuda"]:
    """Return the name of where ONNX Runtime computes."""
    providers: tuple[Literal["auto", "cpu", "cuda"], ...] = ("auto", "cpu", "cuda")
    return parse_choice(name, providers, "--provider")


def parse_profile(text: str) -> Profile:
    """Return the shapes of ``NAME=MIN:OPT:MAX[,NAME=...]``, each such as ``1x3x640x640``.

    Names may contain ``:`` and ``=``.
    """
    profile: Profile = {}
    for part in text.split(","):
        name, _, words = part.rpartition("=")
        shapes = [
            tuple(int(side) for side in shape.split("x"))
            for shape in words.split(":")
            if re.fullmatch(r"\d{1,9}(x\d{1,9})*", shape)
        ]
        if not name or words.count(":") != 2 or len(shapes) != 3:
            raise ForgeError(
                f"--profile {part}: not NAME=MIN:OPT:MAX",
                "for example --profile images=1x3x640x640:4x3x640x640:8x3x640x640",
            )
        low, best, high = shapes
        same_rank = len(low) == len(best) == len(high)
        sides = zip(low, best, high, strict=False)
        if not same_rank or not all(0 < least <= opt <= most for least, opt, most in sides):
            raise ForgeError(f"--profile {part}: not in order", "each side: MIN <= OPT <= MAX")
        profile[name] = (low, best, high)
    return profile


def parse_pool(text: str, pools: Sequence[str]) -> tuple[str, int]:
    """Return the name and the bytes of ``NAME=SIZE``."""
    name, _, size = text.partition("=")
    known = parse_choice(name, pools, "--memory-pool")
    return known, parse_memory(size, f"--memory-pool {name}=") or 0


def parse_class_ids(value: str | Sequence[int] | None) -> tuple[int, ...]:
    """Return the class ids of ``0,2``."""
    if value is None:
        return ()
    text = _joined(value, ",")
    parts = re.split(r"[,;]", text)
    if not all(part.strip().isdecimal() for part in parts):
        raise ForgeError(f"--on-classes {text}: not class ids", "for example --on-classes 0,2")
    return tuple(int(part) for part in parts)


def parse_threshold(text: str) -> tuple[str, float]:
    """Return the class and the score of ``CLASS=SCORE``."""
    name, _, number = text.rpartition("=")
    try:
        score = float(number)
    except ValueError as error:
        raise ForgeError(
            f"--threshold {text}: not CLASS=SCORE", "for example --threshold car=0.5"
        ) from error
    return name, check_share(score, f"--threshold {name}=")


def parse_choice(value: str, allowed: Sequence[Word], option: str) -> Word:
    """Return the word of ``allowed`` that ``value`` is."""
    for word in allowed:
        if word == value:
            return word
    raise ForgeError(f"{option} {value}: not known", f"one of: {', '.join(allowed)}")


def check_range(value: Number, low: float, high: float, option: str) -> Number:
    """Return the number if it is in low..high; NaN is in no range."""
    if not low <= value <= high:
        shown = value if isinstance(value, int) else f"{value:g}"
        raise ForgeError(f"{option} {shown}: not from {low:g} to {high:g}")
    return value


def check_at_least(value: int, low: int, option: str) -> int:
    """Return the number if it is ``low`` or more."""
    if value < low:
        raise ForgeError(f"{option} {value}: under {low}")
    return value


def check_share(value: float, option: str) -> float:
    """Return the number if it is in 0..1, without 1."""
    if not 0 <= value < 1:
        raise ForgeError(f"{option} {value:g}: not from 0 to 1")
    return value


def names_of(value: Names | None) -> list[str]:
    """Return the list that one name, several names, or none are."""
    if value is None:
        return []
    return [value] if isinstance(value, str) else list(value)


def path_of(value: PathLike | None) -> Path | None:
    """Return the path, if there is one."""
    return None if value is None else Path(value)


def paths_of(value: PathLike | Iterable[PathLike]) -> list[Path]:
    """Return the paths that one path or several are."""
    if isinstance(value, (str, os.PathLike)):
        return [Path(value)]
    return [Path(path) for path in value]


def _joined(value: object, separator: str) -> str:
    """Return the words for a value: ``8`` and ``"8"`` are ``8``, ``(1, 8)`` is ``1:8``."""
    if isinstance(value, (list, tuple)):
        return separator.join(map(str, value))
    return str(value)
