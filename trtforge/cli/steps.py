"""Commands that run a single stage, in the order in which a model passes the stages."""

from typing import TYPE_CHECKING, Annotated

from trtforge.cli.expand import Run, command, custom_command
from trtforge.cli.output import show
from trtforge.options.option import Option

if TYPE_CHECKING:
    from trtforge.api.results import FileResult
    from trtforge.stages.patch import EditFacts


@command("graphs.export")
def export(result: "FileResult[object]") -> str:
    """Export a PyTorch model to ONNX, and compare it with PyTorch.

    The current folder comes first on Python's path. Without --size, images are 640x640. Outputs
    are named after the keys if the model returns a dict, and output0, output1 ... if it returns a
    tuple or list.

    Example: trtforge export mymodels.yolo:build --weights best.pt --dynamic batch -o yolo.onnx
    """
    return f"{result.out}\n{result.summary}"


@command("graphs.fold")
def fold(result: "FileResult[object]") -> str:
    """Fold constants and shape arithmetic, and check that the results stay the same.

    Example: trtforge fold yolov7.onnx -o clean.onnx --size 640x640 --batch 1
    """
    return f"{result.out}: {result.summary}"


@command("calibrate.calibrate")
def calibrate(result: "FileResult[object]") -> str:
    """Find the range of values that INT8 represents in each tensor, from a folder of images.

    Example: trtforge calibrate clean.onnx --calib photos/ -o calibration.json

    On two machines: trtforge calibrate clean.onnx --calib photos/ --shard 1/2 -o one.json,
    the same with 2/2, then trtforge calibrate --merge one.json two.json -o calibration.json

    On all nodes of a Ray cluster: trtforge calibrate clean.onnx --calib photos/ --on ray://head:10001
    """
    return f"{result.out}: {result.summary}"


@command("graphs.quantize")
def quantize(result: "FileResult[object]") -> str:
    """Insert Q/DQ nodes at the places that TensorRT's INT8 fusions need.

    Example: trtforge quantize clean.onnx --calibration calibration.json --calib photos/ -o
    int8.onnx
    """
    return f"{result.out}: {result.summary}"


@command("graphs.cast")
def cast(result: "FileResult[object]") -> str:
    """Cast float tensors to FP16; inputs, outputs and the decoding of boxes stay FP32.

    Example: trtforge cast clean.onnx -o fp16.onnx
    """
    return f"{result.out}: {result.summary}"


@custom_command("graphs.patch")
def patch(
    call: "Run[FileResult[EditFacts]]",
    *,
    list_: Annotated[
        bool, Option(("--list",), help="Show what can be edited, and write nothing.")
    ] = False,
    as_json: bool = False,
) -> None:
    """Edit a graph: NMS in the form that the target reads, preprocessing, a recipe's patches.

    Example: trtforge patch int8.onnx --nms onnx -o ready.onnx
    """
    from trtforge.api import graphs
    from trtforge.cli.text.graphs import describe_feed, summarize_graph

    if list_:
        listing = call.instead(graphs.describe_graph)
        show(as_json, listing, lambda: summarize_graph(listing))
        return
    result = call()
    show(
        as_json,
        result,
        lambda: f"{result.out}: {result.summary}; {describe_feed(result.facts.feed)}",
    )
