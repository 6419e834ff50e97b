"""Commands for single stages, in the order in which a model passes them."""

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

    The current folder comes first on Python's path. Without --size, images are 640x640. Outputs are
    called after their keys where the model returns a dict, and output0, output1 ... where it
    returns a tuple or list.

    Example: trtforge export mymodels.yolo:build --weights best.pt --dynamic batch -o yolo.onnx
    """
    return f"{result.out}\n{result.summary}"


@command("graphs.fold")
def fold(result: "FileResult[object]") -> str:
    """Fold constants and shape arithmetic; the results stay the same, and are compared.

    Example: trtforge fold yolov7.onnx -o clean.onnx --size 640x640 --batch 1
    """
    return f"{result.out}: {result.summary}"


@command("calibrate.calibrate")
def calibrate(result: "FileResult[object]") -> str:
    """Find the ranges that INT8 has to represent, on a folder of photographs.

    Example: trtforge calibrate clean.onnx --calib photos/ -o calibration.json

    On two machines: trtforge calibrate clean.onnx --calib photos/ --shard 1/2 -o one.json,
    the same with 2/2, then trtforge calibrate --merge one.json two.json -o calibration.json

    On all nodes of a Ray cluster: trtforge calibrate clean.onnx --calib photos/ --on ray://head:10001
    """
    return f"{result.out}: {result.summary}"


@command("graphs.quantize")
def quantize(result: "FileResult[object]") -> str:
    """Put Q/DQ nodes where TensorRT's INT8 fusions want them.

    Example: trtforge quantize clean.onnx --calibration calibration.json --calib photos/ -o
    int8.onnx
    """
    return f"{result.out}: {result.summary}"


@command("graphs.cast")
def cast(result: "FileResult[object]") -> str:
    """Cast what is float to FP16; inputs, outputs and decode stay FP32.

    Example: trtforge cast clean.onnx -o fp16.onnx
    """
    return f"{result.out}: {result.summary}"


@custom_command("graphs.patch")
def patch(
    call: "Run[FileResult[EditFacts]]",
    *,
    list_: Annotated[
        bool, Option(("--list",), help="Show what is there, and write nothing.")
    ] = False,
    as_json: bool = False,
) -> None:
    """Edit a graph: NMS in the form that the target reads, preprocessing, and a recipe's own
    patches.

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
