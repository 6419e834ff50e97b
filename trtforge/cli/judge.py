"""Commands that measure and show engines: accuracy, speed, pictures, layers."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from trtforge.cli.expand import Run, command, custom_command
from trtforge.options.option import Option

if TYPE_CHECKING:
    from trtforge.api.results import ReduceResult, ReportResult
    from trtforge.evaluate.verification import Verification
    from trtforge.reporting.diff import Diff
    from trtforge.stages.detect import Detections
    from trtforge.timing.table import BenchResult


@command("measure.verify")
def verify(result: "Verification", find_worst: bool) -> str:
    """Measure accuracy, and how far other engines are from the first.

    Example: trtforge verify model.onnx out/ --images val/ --labels val/labels.json --max-drop 1
    """
    from trtforge.cli.text.verify import summarize

    return summarize(result, find_worst)


@command("measure.bench")
def bench(result: "BenchResult") -> str:
    """Measure latency and throughput, beside other runtimes in the same run.

    Example: trtforge bench out/ --batch 1,8 --against onnxruntime-cuda,torch --torch
    mymodels.yolo:build
    """
    from trtforge.cli.text.bench import summarize

    return summarize(result)


@command("measure.detect")
def detect(result: "Detections", out: Path) -> str:
    """Draw and list the objects that an engine detects on images.

    Example: trtforge detect out/ street.jpg -o pictures
    """
    from trtforge.cli.text.detect import summarize

    return summarize(result, out)


@custom_command("layers.report")
def report(
    call: "Run[ReportResult]",
    *,
    markdown: Annotated[
        bool, Option(("--markdown",), help="Markdown on stdout, for a pull request.")
    ] = False,
    as_json: bool = False,
) -> None:
    """Tell which ONNX nodes became which engine layer, in which precision, and what that costs.

    Example: trtforge report out/ --profile profile.json -o report
    """
    from trtforge.cli.output import show
    from trtforge.cli.text.report import text

    result = call()
    if markdown and not as_json:
        print(result.markdown(), end="")
    else:
        show(as_json, result, lambda: text(result.layers, result.title, result.out))


@command("layers.diff")
def diff(result: "Diff") -> str:
    """Tell what differs between two engines: layers, precisions, kernels, times and fusions.

    Example: trtforge diff fp16/ int8/ --no-new-reformat
    """
    from trtforge.reporting.diff import summarize

    return summarize(result)


@command("reduce.reduce")
def reduce(result: "ReduceResult") -> str:
    """Find the smallest part of a model that fails as the whole does, for a bug report.

    A model fails if the builder refuses it (--refused, the default) or ends in a crash, or if its
    engine's outputs leave those of ONNX Runtime in FP32 (--differs).

    Example: trtforge reduce prepared/yolov7.onnx --backend tensorrt -o refused.onnx
    """
    from trtforge.cli.text.reduce import summarize

    return summarize(result)
