"""Reduce a model that fails to the nodes that a bug report needs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

from trtforge.options.builder import Builder
from trtforge.options.option import Argument, Group, Option
from trtforge.options.shared import BackendName, BatchRange, InputSize, LoadInputs, OutFile
from trtforge.options.values import (
    Batch,
    Duration,
    PathLike,
    Size,
    check_range,
    parse_batch,
    parse_seconds,
    parse_size,
    path_of,
)
from trtforge.present import ProgressCallback, listening, note

if TYPE_CHECKING:
    from trtforge.api.results import ReduceResult
    from trtforge.reducing.checks import Check, Tolerance

MIN_SQNR = 20.0  # dB: INT8 itself is computed alike on both sides, and FP16 is over 40 dB


def reduce(
    model: Annotated[PathLike, Argument(help="MODEL.onnx.", reads=Path)],
    out: OutFile,
    *,
    differs: Annotated[
        bool,
        Option(
            ("--differs/--refused",),
            help="The fault: an engine that leaves FP32, or a model that the builder refuses.",
        ),
    ] = False,
    min_sqnr: Annotated[
        Optional[float],
        Option(
            ("--min-sqnr",), help="With --differs: smallest signal to noise in dB. Default: 20."
        ),
    ] = None,
    min_pearson: Annotated[
        Optional[float],
        Option(("--min-pearson",), help="With --differs: smallest correlation, 0 to 1."),
    ] = None,
    load_inputs: LoadInputs = None,
    device: Annotated[Optional[str], Option(help="Target; see `trtforge devices`.")] = None,
    backend: BackendName = "auto",
    batch: BatchRange = None,
    size: InputSize = None,
    builder: Annotated[Builder, Group(Builder, without=("profile",))] = Builder(),
    time: Annotated[
        Duration,
        Option(help="After that the smallest so far is written: 90s, 30m, 2h.", reads=str),
    ] = "30m",
    progress: Optional[ProgressCallback] = None,
) -> "ReduceResult":
    """Find the smallest part of a model that fails as the whole does, for a bug report.

    Graphs are checked in a process of their own, so that a builder that crashes is a fault, too. In a
    script, call it under ``if __name__ == "__main__":``.

    Args:
        model: ONNX file.
        out: ONNX file to write; with ``differs``, its inputs are written beside it, with the suffix
            .inputs.json.
        differs: the fault is an engine whose outputs leave ONNX Runtime's in FP32, or are NaN;
            otherwise a model that the builder refuses. In both, a crash is one, too.
        min_sqnr: smallest ratio of signal to noise in dB, for ``differs``; 20 if no limit is given.
        min_pearson: smallest correlation of an output, for ``differs``.
        load_inputs: inputs in Polygraphy's JSON, for ``differs``; None: noise.
        device: name of the target; None: this machine.
        backend: "auto", "tensorrt", "tensorrt-rtx" or "onnxruntime".
        batch: of a dynamic batch.
        size: height and width of a dynamic input.
        builder: options of TensorRT; the optimisation level is 0 if none is given.
        time: after that the smallest part so far is written.
        progress: called with a label and the share that is done.

    Raises:
        ForgeError: an input is wrong, or the model does not fail.
        MachineError: the builder or the driver is missing.
    """
    from trtforge import outfile
    from trtforge.api.results import reduce_result
    from trtforge.errors import ForgeError
    from trtforge.evaluate import runs
    from trtforge.graph.model import save
    from trtforge.reducing import reduce as run
    from trtforge.reducing.checks import Tolerance

    source, result, inputs = Path(model), Path(out), path_of(load_inputs)
    if source.is_dir():
        raise ForgeError(f"{source}: is a folder", "give the ONNX file in it")
    tolerance = Tolerance(min_sqnr, min_pearson)
    if not differs and (tolerance != Tolerance() or inputs):
        raise ForgeError(
            "--min-sqnr, --min-pearson and --load-inputs are for engines that run", "add --differs"
        )
    if min_pearson is not None:
        check_range(min_pearson, 0, 1, "--min-pearson")
    if tolerance == Tolerance():
        tolerance = Tolerance(sqnr=MIN_SQNR)
    beside = result.with_suffix(".inputs.json")
    for file in (result, beside) if differs else (result,):
        outfile.check(file, source, inputs)
    check = _check(backend, device, batch, size, builder, tolerance if differs else None)
    fed = runs.load_inputs(inputs)[0] if inputs else None
    with listening(progress):
        reduced = run(source, check, fed, parse_seconds(time))

    def write(draft: Path) -> None:
        save(reduced.part.model, draft / result.name)
        if differs:
            text = runs.inputs_text([reduced.part.fed])
            (draft / beside.name).write_text(text, encoding="utf-8")

    outfile.single(write, result.name, result, beside=beside.name if differs else "")
    return reduce_result(reduced, result, beside if differs else None, check.backend)


def _check(
    backend: str,
    device: str | None,
    batch: Batch | None,
    size: Size | None,
    builder: Builder,
    tolerance: "Tolerance | None",
) -> "Check":
    """Return what is done with each graph.

    Raises:
        ForgeError: an option is wrong.
        MachineError: nothing here builds for the device, or runs its engines.
    """
    from dataclasses import replace

    from trtforge.api.jobs import build_options
    from trtforge.devices import device as find_device
    from trtforge.errors import ForgeError, MachineError
    from trtforge.options.precision import Precision
    from trtforge.pipeline import targets
    from trtforge.pipeline.prepare import DEFAULT_SIZE
    from trtforge.reducing.checks import Check
    from trtforge.traits import ONNXRUNTIME, RTX

    target, text = targets.target(backend, find_device(device) if device else None)
    if text:
        note(text)
    chosen = target.backend or ONNXRUNTIME
    if tolerance and chosen == RTX:
        raise MachineError(
            "--differs runs engines of TensorRT and ONNX Runtime, not of TensorRT-RTX",
            "give --refused, or --backend tensorrt on the target",
        )
    if chosen == ONNXRUNTIME and builder != Builder():
        raise ForgeError("onnxruntime has no builder that takes options", "drop them")
    options = build_options(builder, Precision())
    if chosen == "tensorrt" and options.opt_level is None:
        # At higher levels it times kernels for minutes.
        options = replace(options, opt_level=0)
    return Check(
        backend=chosen,
        sm=target.device.sm if target.device else None,
        batch=parse_batch(batch) or (1, 1, 1),
        size=parse_size(size) or DEFAULT_SIZE,
        options=options,
        tolerance=tolerance,
    )
