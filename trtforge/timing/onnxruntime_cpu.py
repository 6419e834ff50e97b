"""Time ONNX Runtime on the CPU with its own defaults: one session, whose operators use all cores."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtforge.backends.onnxruntime import PLUGIN_SUFFIX, reason
from trtforge.errors import ForgeError
from trtforge.timing import inputs
from trtforge.timing.measure import Runner

if TYPE_CHECKING:
    import onnxruntime

CLOCK = "wall clock around session.run"


def session(model: Path, providers: list[Any] | None = None) -> onnxruntime.InferenceSession:
    """Open a session with ONNX Runtime's defaults, which users compare with.

    Raises:
        ForgeError: ONNX Runtime can't load the model.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        return ort.InferenceSession(
            os.fspath(model), options, providers=providers or ["CPUExecutionProvider"]
        )
    except Exception as error:  # ONNX Runtime raises classes of its own for every kind of refusal
        hint = ""
        if PLUGIN_SUFFIX in str(error):
            hint = "its plugin runs only in TensorRT: prepare with --nms onnx"
        raise ForgeError(f"{model}: ONNX Runtime can't load it: {reason(error)}", hint) from error


def feeds(
    engine: onnxruntime.InferenceSession, batch: int, size: tuple[int, int] | None
) -> dict[str, Any]:
    """Return an array for each input.

    Raises:
        ForgeError: see ``inputs.shaped``; or an input is not a tensor of numbers.
    """
    shapes, types = {}, {}
    for node in engine.get_inputs():
        if node.type not in inputs.NUMPY:
            problem = f"input {node.name!r} is a {node.type}"
            raise ForgeError(problem, "bench times networks that take numbers")
        shapes[node.name] = inputs.shaped(node.name, node.shape, batch, size)
        types[node.name] = inputs.NUMPY[node.type]
    return inputs.arrays(shapes, types)


def opener(model: Path, batch: int, size: tuple[int, int] | None) -> Callable[[], Runner]:
    """Return a function that opens runners, which share one session.

    Raises:
        ForgeError: the model can't be loaded, or fails at this batch size.
    """
    engine = session(model)
    arrays = feeds(engine, batch, size)
    try:
        engine.run(None, arrays)
    except Exception as error:  # as above
        raise ForgeError(
            f"{model}: fails at batch {batch}: {reason(error)}", "check --batch and --size"
        ) from error

    def passes(count: int) -> float:
        started = time.perf_counter()
        for _ in range(count):
            engine.run(None, arrays)
        return time.perf_counter() - started

    return lambda: Runner(passes, CLOCK, queues=False)
