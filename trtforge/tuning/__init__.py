"""Mixed precision under an accuracy budget: find the operators that must stay float.

First the harm of each operator is measured as noise in the outputs: with it alone quantized, and
with it alone left float. The operators are ordered by harm per multiply-accumulate. Then accuracy
itself is measured on one half of the images, with the first k operators of that order float, and
the smallest k within the budget is found by bisection. The other half of the images judges the
choice; if it fails there, a larger k is searched. Every measurement goes through the store, so an
interrupted search continues where it stopped.
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
    """An operator that may be INT8.

    Attributes:
        share: its share of all multiply-accumulates.
        alone: noise in the outputs with this operator alone quantized.
        saved: noise that is avoided by leaving this operator alone float.
    """

    name: str
    share: float
    alone: float
    saved: float

    @property
    def rank(self) -> float:
        """The harm per multiply-accumulate."""
        return (self.alone + self.saved) / max(self.share, 1e-9)


@dataclass(frozen=True)
class Trial:
    """A measurement with the first operators of the order float.

    Attributes:
        kept: number of operators that are float.
        share: share of the multiply-accumulates in INT8.
        drop: points lost.
    """

    kept: int
    share: float
    drop: float


@dataclass
class Tuned:
    """The result of a search.

    Attributes:
        keep: operators that stay float.
        share: share of the multiply-accumulates of all learned operators that is INT8.
        blocks: every operator, the most harmful for its cost first; empty if all may be INT8.
        trials: measurements on the half of the images that was searched.
        judged: measurements on the other half; the last one is the choice.
        drop, interval: points lost on the other half, and their 95 % interval.
        accuracy: accuracy on the other half, of float and of the choice.
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
    """Find the operators that have to stay float.

    Args:
        max_drop: points that may be lost.

    Returns:
        The choice with the fewest multiply-accumulates in float that the search found.

    Raises:
        GateError: the time is up, or more is lost even with all candidates float: then it is the
            FP16 of the recipe's rest that loses.
    """
    metric = "top-1" if bench.network.classes is None else "mAP50-95"
    tuned = Tuned(metric if bench.truth is not None else f"{metric} against FP32's results")
    order: list[str] = []
    lost = _Lost(bench, order)
    if lost(0, SEARCHED, tuned.trials) > max_drop:
        tuned.blocks = _blocks(bench)
        order += [block.name for block in tuned.blocks]
    kept = 0
    while True:
        kept = _smallest(
            lambda count: lost(count, SEARCHED, tuned.trials) <= max_drop, kept, len(order)
        )
        if lost(kept, JUDGED, tuned.judged) <= max_drop:
            break
        if not order:
            tuned.blocks = _blocks(bench)
            order += [block.name for block in tuned.blocks]
        if kept >= len(order):
            raise GateError(
                f"{lost(kept, JUDGED):.2f} points are lost with every candidate float, over {max_drop}",
                "the recipe's rest: fp16, or too few images",
            )
        kept += max(1, len(order) // 32)
    tuned.keep = order[:kept]
    tuned.share = bench.share(tuned.keep)
    reference, other = bench.accuracy(None, JUDGED), bench.accuracy(tuned.keep, JUDGED)
    tuned.accuracy = reference(None), other(None)
    tuned.drop = 100 * (tuned.accuracy[0] - tuned.accuracy[1])
    tuned.interval = bootstrap.interval(
        lambda weights: 100 * (reference(weights) - other(weights)), len(bench.files[JUDGED])
    )
    return tuned


class _Lost:
    """Measures the points lost with the first operators of an order float, and remembers them."""

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
    """Return every candidate with its harm, the most harmful for its cost first."""
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


def _smallest(holds: Callable[[int], bool], low: int, high: int) -> int:
    """Return the smallest number from ``low`` to ``high`` for which ``holds``; ``high`` if none.

    It is taken to hold for all larger numbers, too. The search goes up in doubling steps, and then
    by bisection: the first operators of an order save most of the harm, and further on the
    differences are smaller than the noise of the measurement.
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
    """Return the recipe that keeps the operators float, as YAML for ``trtforge build --recipe``.

    Args:
        how: a comment on how it was found.
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
