"""Report the layers of engines, and compare them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional, Union

from trtforge.options.option import Argument, Option
from trtforge.options.values import PathLike, parse_percent, path_of
from trtforge.present import ProgressCallback, listening

if TYPE_CHECKING:
    from trtforge.api.results import ReportResult
    from trtforge.reporting.diff import Diff


def report(
    source: Annotated[
        PathLike,
        Argument(
            help="Bundle, layers.json, trtexec's list of layers, TensorRT-RTX's build log, "
            "TensorRT engine, or ONNX model (run by ONNX Runtime).",
            reads=Path,
        ),
    ],
    *,
    onnx: Annotated[
        Optional[PathLike], Option(help="Graph that the engine was built from.", reads=Path)
    ] = None,
    layers: Annotated[
        Optional[PathLike],
        Option(help="List of layers by trtexec --exportLayerInfo.", reads=Path),
    ] = None,
    profile: Annotated[
        Optional[PathLike],
        Option(help="Times, by trtexec --exportProfile or ONNX Runtime.", reads=Path),
    ] = None,
    accuracy: Annotated[
        Optional[PathLike], Option(help="What `trtforge verify --json` wrote.", reads=Path)
    ] = None,
    device: Annotated[Optional[str], Option(help="Device whose roofline is drawn.")] = None,
    out: Annotated[
        Optional[PathLike],
        Option(("-o", "--out"), help="Folder for JSON, Markdown and HTML.", reads=Path),
    ] = None,
    progress: Optional[ProgressCallback] = None,
) -> "ReportResult":
    """Tell which ONNX nodes became which engine layer, in which precision, and what that costs.

    Args:
        source: bundle, layers.json, list of layers by trtexec, build log of TensorRT-RTX, engine
            of TensorRT, or ONNX model, which ONNX Runtime runs.
        onnx: graph that the engine was built from.
        layers: list of layers by ``trtexec --exportLayerInfo``.
        profile: times by ``trtexec --exportProfile`` or ONNX Runtime.
        accuracy: file that ``trtforge verify --json`` wrote.
        device: name of the device whose roofline is drawn.
        out: folder for JSON, Markdown and HTML; None: nothing is written.
        progress: called with a label and the share that is done.

    Raises:
        ForgeError: an input is wrong.
        MachineError: the engine can't be inspected on this machine.
    """
    from trtforge import devices
    from trtforge.api.results import ReportResult
    from trtforge.stages import report as stage

    folder, engine = path_of(out), Path(source)
    inputs = [path_of(file) for file in (onnx, layers, profile, accuracy)]
    if folder:
        stage.check(folder, engine, *inputs)
    with listening(progress):
        found, context = stage.read(
            engine,
            onnx=inputs[0],
            layers=inputs[1],
            profile=inputs[2],
            accuracy=inputs[3],
            device=devices.device(device) if device else None,
        )
    if folder:
        stage.write(folder, found, context)
    return ReportResult(found, context.title, folder)


def diff(
    one: Annotated[
        PathLike,
        Argument(help="Bundle, layers.json, or whatever `trtforge report` takes.", reads=Path),
    ],
    other: Annotated[PathLike, Argument(help="The engine to hold against it.", reads=Path)],
    *,
    max_slower: Annotated[
        Union[float, str, None],
        Option(
            ("--max-slower",),
            help="Gate: percent that all layers may take longer, e.g. 3%.",
            reads=str,
        ),
    ] = None,
    no_new_reformat: Annotated[
        bool,
        Option(
            ("--no-new-reformat",),
            help="Gate: no layer that only converts or copies comes in.",
        ),
    ] = False,
) -> "Diff":
    """Tell what differs between two engines: layers, precisions, kernels, times and fusions.

    Args:
        one, other: what ``report`` takes.
        max_slower: percent that all layers of the other may take longer.
        no_new_reformat: refuse new layers that only convert or copy.

    Raises:
        ForgeError: an input is wrong.
        GateError: a limit is not met; the error's ``result`` is the difference.
    """
    from trtforge import gates
    from trtforge.reporting.diff import check_limits, compare
    from trtforge.stages.report import read

    limit = parse_percent(max_slower, "--max-slower")
    difference = compare(read(Path(one))[0], read(Path(other))[0])
    with gates.carrying(difference):
        check_limits(difference, limit, no_new_reformat)
    return difference
