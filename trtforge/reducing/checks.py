"""Check one graph: does the builder refuse it, or does its engine leave FP32?"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from trtforge.backends.options import BuildOptions
from trtforge.errors import BuildError
from trtforge.evaluate.metrics import Difference
from trtforge.names import Backend

if TYPE_CHECKING:
    from polygraphy.backend.base import BaseRunner

Kind = Literal["refused", "crashed", "failed", "not finite", "differs"]
Array = NDArray[Any]  # of any type that a tensor has
Values = Mapping[str, Array]


@dataclass(frozen=True)
class Tolerance:
    """How far an output may be from FP32; None is no limit.

    Attributes:
        sqnr: smallest signal-to-noise ratio in dB.
        pearson: smallest Pearson correlation, 0..1.
    """

    sqnr: float | None = None
    pearson: float | None = None


@dataclass(frozen=True)
class Check:
    """What is done with each graph.

    Attributes:
        sm: compute capability that TensorRT-RTX builds for.
        batch: smallest, best and largest batch of dynamic inputs.
        size: height and width of dynamic inputs in pixels.
        tolerance: for the engine's outputs; None: the engine is built, and not run.
    """

    backend: Backend
    sm: int | None
    batch: tuple[int, int, int]
    size: tuple[int, int]
    options: BuildOptions
    tolerance: Tolerance | None


@dataclass(frozen=True)
class Failure:
    """What is wrong with a graph.

    Attributes:
        kind: "refused" by the parser or the builder, "crashed" (the builder's process), "failed"
            (the engine does not run), "not finite" or "differs" (an output of the engine).
        text: first line of the message, or the figures.
    """

    kind: Kind
    text: str


def run(check: Check, model: Path, fed: Values, right: Values) -> Failure | None:
    """Return what is wrong with a graph; None: nothing.

    Args:
        fed: value of each input.
        right: values of outputs in FP32; outputs that are not among them are not compared.

    Raises:
        ForgeError: the graph can't be tried.
    """
    from polygraphy.exception import PolygraphyException

    try:
        runner = _RUNNERS[check.backend](check, model)
    except BuildError as error:
        return Failure("refused", error.problem.removeprefix(f"{model.name}: "))
    if runner is None or check.tolerance is None:
        return None
    try:
        with runner:
            outputs = runner.infer(dict(fed))
    except PolygraphyException as error:
        return Failure("failed", str(error).strip().splitlines()[0])
    return _worst(outputs, right, check.tolerance)


def _tensorrt(check: Check, model: Path) -> BaseRunner | None:
    """Return a runner of Polygraphy's: unlike ``backends._session``, it feeds inputs of any kind."""
    from trtforge.backends import tensorrt

    engine, _ = tensorrt.build(
        model, batch=check.batch, size=check.size, options=check.options, progress=lambda done: None
    )
    if check.tolerance is None:
        return None
    from polygraphy.backend.trt import TrtRunner

    from trtforge.backends._session import deserialize

    return TrtRunner(deserialize(tensorrt.module(), engine, model.name, trusted=True))


def _tensorrt_rtx(check: Check, model: Path) -> None:
    from trtforge.backends import tensorrt_rtx

    tensorrt_rtx.build(
        model,
        sm=check.sm or 0,
        batch=check.batch,
        size=check.size,
        options=check.options,
        progress=lambda done: None,
    )


def _onnxruntime(check: Check, model: Path) -> BaseRunner:
    from polygraphy.backend.onnxrt import OnnxrtRunner

    from trtforge.backends import onnxruntime
    from trtforge.errors import ForgeError

    try:
        return OnnxrtRunner(onnxruntime.session(model))
    except ForgeError as error:
        raise BuildError(error.problem, error.hint) from error


_RUNNERS = {"tensorrt": _tensorrt, "tensorrt-rtx": _tensorrt_rtx, "onnxruntime": _onnxruntime}


def _worst(outputs: Values, right: Values, tolerance: Tolerance) -> Failure | None:
    """Return the first output that is NaN, or else the one that is farthest off."""
    failures = []
    for name, reference in right.items():
        other = np.asarray(outputs[name])
        if not np.isfinite(other).all():
            return Failure("not finite", f"output {name!r} holds NaN or infinity")
        difference = Difference()
        difference.observe(reference, other)
        figures = (
            (difference.sqnr, tolerance.sqnr),
            (difference.pearson, tolerance.pearson),
        )
        if any(low is not None and not figure >= low for figure, low in figures):
            text = f"output {name!r}: {difference.sqnr:.1f} dB, Pearson {difference.pearson:.5f}"
            failures.append((difference.sqnr, text))
    return Failure("differs", min(failures)[1]) if failures else None


def is_same(first: Failure, part: Failure, names: Collection[str]) -> bool:
    """Tell whether a part of a graph shows the fault that was seen first.

    Of messages, only what does not change as the graph shrinks is compared: neither names of nodes
    and tensors, of which the builder joins some to one, nor numbers. An output that differs may be
    NaN nearer to the fault: what lies behind can hide it.
    """
    if first.kind == "differs" and part.kind == "not finite":
        return True
    if first.kind != part.kind:
        return False
    return first.kind != "refused" or _gist(first.text, names) == _gist(part.text, names)


def _gist(text: str, names: Collection[str]) -> list[str]:
    parts = re.split(r"\.\.\.|[\s+,;()\[\]{}'\"]+", text)
    words = [part.strip(":.") for part in parts]
    return [re.sub(r"\d+", "#", word) for word in words if word not in names and "/" not in word]
