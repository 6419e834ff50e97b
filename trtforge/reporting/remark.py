"""Make remarks: their parts that all kinds of remarks share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Sized

from trtforge.reporting.model import LayerReport, Remark

SHOWN = 5  # names in a sentence
LONGEST, START, END = 80, 60, 15  # letters of a name; a longer name keeps its start and end


def make_remark(
    report: LayerReport, title: str, layers: Sequence[int], why: str, act: str = ""
) -> Remark:
    """Return a remark on some layers, with the bytes that they move."""
    numbers = sorted(set(layers))
    size = sum(report.layers[number].bytes for number in numbers)
    return Remark(title=title, why=why, act=act, layers=numbers, bytes=size)


def number_of(things: Sized, name: str) -> str:
    """Return how many things there are, with their name in singular or plural."""
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"


def some_names(names: Iterable[str], shown: int = SHOWN) -> str:
    """Return the first names of a list, and how many more there are."""
    distinct = list(dict.fromkeys(names))
    more = f" and {len(distinct) - shown} more" if len(distinct) > shown else ""
    return ", ".join(map(short_name, distinct[:shown])) + more


def short_name(name: str) -> str:
    """Return an untrusted name on one line; a long name loses its middle."""
    flat = " ".join(name.split())
    return flat if len(flat) <= LONGEST else f"{flat[:START]}...{flat[-END:]}"
