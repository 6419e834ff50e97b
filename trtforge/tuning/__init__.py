"""Mixed precision under an accuracy budget: which operators stay float so that the rest may be
INT8.

First each operator's harm is measured in the outputs' noise: quantized alone, and as the only one
left float. The operators are ordered by harm for the multiply-accumulates that keeping them float
gives up. Then accuracy itself is measured, on one half of the images, with the first k of that
order float, and k found by bisection. The other half judges the choice; where it falls through, a
larger k is searched. Every measurement goes through the store, so an interrupted search goes on
where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from trtforge import present
from trtforge.errors import GateError
from trtforge.evaluate import bootstrap
from trtforge.evaluate.variant import escape_pattern
from trtforge.recipe import Recipe
from trtforge.tuning.bench import JUDGED, SEARCHED, Bench


@dataclass(frozen=True)
class Block:
    """An operator: its share of the multiply-accumulates, and its harm alone and as what leaving it
    float saves.
    """

    name: str
    share: float
    alone: float
    saved: float

    @property
    def rank(self) -> float:
        return (self.alone + self.saved) / max(self.share, 1e-9)


@dataclass(frozen=True)
class Trial:
    """The first ``kept`` operators float: the share of multiply-accumulates in INT8, and the points
    lost.
    """

    kept: int
    share: float
    drop: float


@dataclass
class Tuned:
    """The outcome.

    Attributes:
        keep: operators that stay float.
        share: of the multiply-accumulates of all learned operators that is INT8.
        blocks: every operator, the most harmful for its cost first; empty if all may be INT8.
        trials: on the half of the images that was searched.
        judged: those that were tried on the other half, the choice last.
        drop, interval: points lost on the other half, and its 95 % interval.
        accuracy: there, of float and of the choice.
    """

    metric: str
    keep: list[str] = field(default_factory=list)
    share: float = 0.0
    blocks: list[Block] = field(default_factory=list)
    trials: list[Trial] = field(default_factory=list)
    judged: list[Trial] = field(default_factory=list)
    drop: float = 0.0
    interval: tuple[float, float] = (0.0, 0.0)
    accuracy: tuple[float, float] = (0.0, 0.0)


def tune(bench: Bench, max_drop: float) -> Tuned:
    """Find what has to stay float.

    Args:
        max_drop: points that may be lost.

    Returns:
        The choice with the least multiply-accumulates in float that the search found.

    Raises:
        GateError: the time is up, or even all candidates float lose more: the rest of the recipe
            does.
    """
    labelled = bench.truth is not None
    metric = ("top-1" if bench.network.classes is None else "mAP50-95") + (
        "" if labelled else " against FP32's results"
    )
    tuned = Tuned(metric)
    order: list[str] = []
    lost = _Lost(bench, order)
    if lost(0, SEARCHED, tuned.trials) > max_drop:
        tuned.blocks = _blocks(bench)
        order += [block.name for block in tuned.blocks]
    least = 0
    while True:
        least = _least(
            lambda kept: lost(kept, SEARCHED, tuned.trials) <= max_drop, least, len(order)
        )
        if lost(least, JUDGED, tuned.judged) <= max_drop:
            break
        if not order:
            tuned.blocks = _blocks(bench)
            order += [block.name for block in tuned.blocks]
        if least >= len(order):
            raise GateError(
                f"{lost(least, JUDGED):.2f} points are lost with every candidate float, over {max_drop}",
                "the recipe's rest: fp16, or too few images",
            )
        least += max(1, len(order) // 32)
    tuned.keep = order[:least]
    tuned.share = bench.share(tuned.keep)
    reference, other = bench.accuracy(None, JUDGED), bench.accuracy(tuned.keep, JUDGED)
    tuned.accuracy = reference(None), other(None)
    tuned.drop = 100 * (tuned.accuracy[0] - tuned.accuracy[1])
    tuned.interval = bootstrap.interval(
        lambda weights: 100 * (reference(weights) - other(weights)), len(bench.files[JUDGED])
    )
    return tuned


class _Lost:
    """Points lost with the first operators of an order float, remembered."""

    def __init__(self, bench: Bench, order: list[str]) -> None:
        self._bench, self._order = bench, order
        self._known: dict[tuple[int, int], float] = {}

    def __call__(self, kept: int, part: slice, trials: list[Trial] | None = None) -> float:
        if (kept, part.start) not in self._known:
            keep = self._order[:kept]
            reference, other = self._bench.accuracy(None, part), self._bench.accuracy(keep, part)
            drop = self._known[kept, part.start] = 100 * (reference(None) - other(None))
            if trials is not None:
                trials.append(Trial(kept, self._bench.share(keep), drop))
        return self._known[kept, part.start]


def _blocks(bench: Bench) -> list[Block]:
    """Every candidate with its harm, the most harmful for its cost first."""
    total = sum(bench.macs.values())
    blocks = []
    with present.progress("harm of each operator", len(bench.candidates)) as done:
        everything = bench.harm([])
        for number, name in enumerate(bench.candidates, 1):
            alone = bench.harm([other for other in bench.candidates if other != name])
            saved = max(0.0, everything - bench.harm([name]))
            blocks.append(Block(name, bench.macs[name] / total, alone, saved))
            done(number)
    return sorted(blocks, key=lambda block: (-block.rank, block.name))


def _least(holds: Callable[[int], bool], low: int, high: int) -> int:
    """The least number of [low, high] for which ``holds``, taken to hold from some number on; high
    if none does.

    In doubling steps from below, then by bisection: the first operators of an order save most of
    the harm, and
    further on differences drown in the noise of the measurement.
    """
    step = 1
    while low < high and not holds(low):
        last, low, step = low, min(high, low + step), 2 * step
        if low == high or holds(low):
            return _bisected(holds, last + 1, low)
    return low


def _bisected(holds: Callable[[int], bool], low: int, high: int) -> int:
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def fragment(recipe: Recipe, tuned: Tuned, how: str) -> str:
    """The recipe that keeps these operators float, as YAML that ``trtforge build --recipe`` reads.

    Args:
        how: a line on where it comes from.
    """
    import yaml

    precision = recipe.precision.model_copy(
        update={
            "keep": tuple(
                sorted({*recipe.precision.keep, *(escape_pattern(name) for name in tuned.keep)})
            )
        }
    )
    changed = recipe.model_copy(
        update={
            "precision": precision,
            "model": None,
            "labels": recipe.labels and _absolute(recipe.labels),
            "calibration": recipe.calibration.model_copy(update={"images": None}),
        }
    )
    content = changed.model_dump(mode="json", exclude_defaults=True)
    return f"# {how}\n" + yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def _absolute(labels: Path | tuple[str, ...]) -> Path | tuple[str, ...]:
    return labels.absolute() if isinstance(labels, Path) else labels
