"""Find the stage after which the builder refuses a model."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from trtforge.backends.options import BuildOptions
from trtforge.bundle.prepared import Prepared, Target
from trtforge.errors import BuildError, ForgeError
from trtforge.pipeline.build import engine_request
from trtforge.stages import build

REPORT = "please report what `trtforge reduce` leaves of the graph that `trtforge prepare` writes"
HINTS = {
    "adapt": "check the patches of the recipe",
    "fold": "please report the model",
    "cast": f"name the node with --keep, or build with --fp32; {REPORT}",
    "quantize": f"name the node with --keep, or build with --fp16; {REPORT}",
    "patch": "build with --nms none",
}


def with_blame(
    error: BuildError, prepared: Prepared, target: Target, options: BuildOptions
) -> BuildError:
    """Return the builder's refusal of a graph, with the stage that is to blame for it.

    The builder is given the user's model, then what each stage made of it, up to the first graph
    that it refuses. The error stays as it is where these graphs are not known or can't be tried.
    """
    if isinstance(error, build.UnservedError):
        return error
    inputs, engine = engine_request(prepared, target, options)
    if engine.backend == "tensorrt":  # at higher levels it times kernels for minutes
        engine = replace(engine, options=replace(engine.options, opt_level=0))
    taken = ""
    for form in prepared.forms.get(engine.backend, ()):
        name = f"the result of `{form.stage}`" if form.stage else "the original file"
        try:
            refused = _refuses(replace(inputs, model=form.model), engine)
        except ForgeError:
            return error
        if refused:
            return _blamed(error, form.stage, taken)
        taken = name
    return _blamed(error, "patch", taken) if taken else error


def _blamed(error: BuildError, stage: str, taken: str) -> BuildError:
    if not taken:
        return BuildError(f"{error.problem}; the original file is refused, too", error.hint)
    return BuildError(f"{error.problem}; it takes {taken}: `{stage}` is to blame", HINTS[stage])


def _refuses(inputs: build.EngineInputs, engine: build.EngineOptions) -> bool:
    """Tell whether the builder refuses a graph.

    Raises:
        ForgeError: the graph can't be tried.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            build.run(Path(folder), inputs, engine)
        except BuildError:
            return True
    return False
