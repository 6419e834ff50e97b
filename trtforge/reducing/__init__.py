"""Reduce a model to the fewest nodes that still show its fault: what goes into a bug report."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from trtforge import present
from trtforge.errors import ForgeError
from trtforge.graph.fold import fold
from trtforge.graph.model import load
from trtforge.reducing.checks import Check, Failure, Values, is_same
from trtforge.reducing.child import Child, child
from trtforge.reducing.parts import cut, is_dynamic, with_fixed_shapes
from trtforge.reducing.reference import Part, begin, noise, part_of
from trtforge.reducing.search import smallest


@dataclass(frozen=True)
class Reduced:
    """The smallest part that was found.

    Attributes:
        part: it fails as the whole model does.
        failure: what is wrong with it.
        nodes_before: number of nodes of the whole model.
        checks: number of graphs that were tried.
        complete: no unit can be left out; False: the time ended before that was known.
    """

    part: Part
    failure: Failure
    nodes_before: int
    checks: int
    complete: bool


class Trials:
    """Checks parts in a child process until the time is over.

    Attributes:
        best: the smallest part that failed as the first one, and how it failed.
        count: number of checks.
    """

    def __init__(
        self, check: Check, child: Child, file: Path, seconds: float, names: Collection[str]
    ) -> None:
        self.check, self.child, self.file, self.names = check, child, file, names
        self.deadline = time.monotonic() + seconds
        self.best: tuple[Part, Failure] | None = None
        self.count = 0

    def fails(self, part: Part) -> bool:
        """Tell whether a part fails as the first one that failed.

        Raises:
            ForgeError: the first part can't be tried.
            TimeoutError: the time is over.
        """
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        onnx.save(part.model, self.file)
        self.count += 1
        try:
            failure = self.child.check(self.check, self.file, part.fed, part.right, left)
        except ForgeError:
            if self.best is None:
                raise
            return False
        if not failure or (self.best and not is_same(self.best[1], failure, self.names)):
            return False
        self.best = part, failure
        return True


def reduce(path: Path, check: Check, fed: Values | None, seconds: float) -> Reduced:
    """Find the fewest nodes that fail as the whole model does.

    Args:
        fed: values of the inputs; None draws some.
        seconds: after that the smallest part so far is the result.

    Raises:
        ForgeError: the model does not fail, or can't be tried.
    """
    model = load(path)
    nodes = len(model.graph.node)
    with (
        tempfile.TemporaryDirectory() as folder,
        child(Path(folder, "log")) as process,
        present.progress(f"reducing {path.name}", nodes) as done,
    ):
        trials = Trials(check, process, Path(folder, "part.onnx"), seconds, _names(model))
        try:
            _search(model, trials, fed, lambda left: done(nodes - left))
            complete = True
        except TimeoutError as error:
            complete = False
            if trials.best is None:
                raise ForgeError(
                    f"{path}: the first check takes longer than {seconds:g} s", "give more --time"
                ) from error
    if trials.best is None:
        raise ForgeError(f"{path}: does not fail: {_passed(check)}", "there is nothing to reduce")
    part, failure = trials.best
    return Reduced(part, failure, nodes, trials.count, complete)


def _search(
    model: onnx.ModelProto, trials: Trials, fed: Values | None, report: Callable[[int], None]
) -> None:
    """Check the model, then ever smaller parts of it; ``trials`` keeps the smallest that fails."""
    check = trials.check
    fixed = with_fixed_shapes(model, check.batch[1], check.size)
    runs = check.tolerance is not None
    given = (fed or noise(fixed)) if runs else None
    first = begin(model if is_dynamic(model) and not runs else fixed, given)
    if not trials.fails(first.part):
        return
    # Dynamic shapes, and the arithmetic on them, are in the way of cuts; but the fault may need them.
    folded = fold(fixed, opset=None)
    forms = [folded] if len(folded.graph.node) < len(fixed.graph.node) else []
    forms += [fixed] if first.part.model is model else []
    starts = (begin(form, given) for form in forms)
    start = next((start for start in starts if trials.fails(start.part)), first)

    def fails(units: Sequence[int]) -> bool:
        part = part_of(cut(start.whole, units), start.values)
        if part is None or not trials.fails(part):
            return False
        report(len(part.model.graph.node))
        return True

    smallest(start.units, fails)


def _names(model: onnx.ModelProto) -> set[str]:
    graph = model.graph
    tensors = (name for node in graph.node for name in (node.name, *node.input, *node.output))
    return {*tensors, *(tensor.name for tensor in graph.initializer)} - {""}


def _passed(check: Check) -> str:
    if check.tolerance is None:
        return f"{check.backend} builds it"
    return f"its engine of {check.backend} is as near to FP32 as --min-sqnr and --min-pearson ask"
