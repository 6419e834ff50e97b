"""Commands that build engines, prepare the build, or search for the best settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trtforge.cli.expand import command

if TYPE_CHECKING:
    from trtforge.api.results import BuildResult, SweepResult, TuneResult


@command(
    "make.build",
    before={"workspace": "nms", "int8_mode": "on", "calibrator": "on", "provider": "on"},
)
def build(result: BuildResult) -> str:
    """Build engines, and a folder that DeepStream runs, for one or more devices.

    Example: trtforge build yolov7.onnx --int8 --calib photos/ --device rtx-4090 -o out

    On the machines that have the GPUs: trtforge build yolov7.onnx --fp16 --device orin-nx
    --device l4 --on ray://head:10001
    """
    from trtforge.cli.text.build import summarize

    return summarize(result)


@command("make.prepare", before={"int8_mode": "out", "provider": "out"})
def prepare(result: BuildResult) -> str:
    """Do everything that needs no GPU: `build` then takes the folder on each target.

    Example: trtforge prepare yolov7.onnx --int8 --calib photos/ --device orin-nx -o prepared
    """
    from trtforge.cli.text.build import summarize

    return summarize(result)


@command("search.sweep")
def sweep(result: SweepResult) -> str:
    """Build engines over workspace, precision, batch and optimisation level, and compare them.

    An engine that can't be built has a row in the table as well.

    Example: trtforge sweep yolov8n.onnx --workspace 32MiB,64MiB,1GiB --precision fp16,int8
    --calib photos/ --device rtx-4090 --pick memory -o sweep
    """
    from trtforge.cli.text.search import summarize_sweep

    return summarize_sweep(result)


@command("search.tune")
def tune(result: TuneResult) -> str:
    """Find which operators must stay float for INT8 to lose no more than a budget.

    The result is a recipe for `build`. A picture beside it, with the suffix .svg, shows accuracy
    against the share of INT8.

    Example: trtforge tune yolov7.onnx --calib photos/ --images val/ --val val.json --max-drop 0.3
    -o tuned.yaml
    """
    from trtforge.cli.text.search import summarize_tuning

    return summarize_tuning(result)
