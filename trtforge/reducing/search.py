"""Search for the fewest units that still fail: ends first by bisection, then chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable, Sequence

Fails = Callable[[Sequence[int]], bool]


def smallest(units: Sequence[int], fails: Fails) -> list[int]:
    """Return units of which none can be left out; all of them together must fail.

    What lies behind the fault goes first, then what lies before it: two bisections, as in
    Polygraphy's ``debug reduce``. They suppose one fault in one place. What remains is tried without
    each chunk, of ever smaller size (Zeller and Hildebrandt, "Simplifying and Isolating
    Failure-Inducing Input", 2002), which supposes nothing.

    Args:
        units: numbers in the order of the graph.
        fails: tells whether a graph of these units fails.
    """
    count = _bisect(len(units), lambda count: fails(units[:count]))
    rest = list(units[:count])
    count = _bisect(len(rest), lambda count: fails(rest[-count:]))
    return _without_chunks(rest[-count:], fails)


def _bisect(largest: int, fails: Callable[[int], bool]) -> int:
    """Return a count that fails while the count below it does not; the largest is known to fail."""
    passing, failing = 0, largest
    while failing - passing > 1:
        middle = (passing + failing) // 2
        if fails(middle):
            failing = middle
        else:
            passing = middle
    return failing


def _without_chunks(units: list[int], fails: Fails) -> list[int]:
    """Leave out chunks while the rest fails; single units until none of them can go."""
    size = max(1, len(units) // 2)
    while True:
        before = len(units)
        start = 0
        while start < len(units):
            rest = units[:start] + units[start + size :]
            if rest and fails(rest):
                units = rest
            else:
                start += size
        if size > 1:
            size //= 2
        elif len(units) == before:
            return units
