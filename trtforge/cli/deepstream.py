"""``trtforge deepstream``: configuration, pipelines, and what is wrong with either."""

from pathlib import Path
from typing import Annotated, Optional

import typer

from trtforge.cli.arguments import AsJson
from trtforge.cli.output import result

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Write and check what DeepStream reads.\n\nExample: trtforge deepstream config out/ -o pipeline",
)

Out = Annotated[Path, typer.Option("-o", "--out", help="Folder for the files.")]
Version = Annotated[
    Optional[str], typer.Option("--deepstream", help="Version that will read the files, e.g. 9.1.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace files that are there.")]
Bundle = Annotated[Path, typer.Argument(help="Folder made by `trtforge build` or `prepare`.")]


@app.command()
def config(
    model: Annotated[Path, typer.Argument(help="BUNDLE, ENGINE or MODEL.onnx.")],
    out: Out,
    sgie: Annotated[
        bool, typer.Option("--sgie", help="Secondary: looks at objects, not at frames.")
    ] = False,
    on_gie: Annotated[
        int, typer.Option(help="With --sgie: unique id of the network that finds them.")
    ] = 1,
    on_classes: Annotated[
        Optional[str], typer.Option(help="With --sgie: class ids, e.g. 0,2.")
    ] = None,
    least_object: Annotated[
        Optional[str], typer.Option(help="With --sgie: smallest object, WxH in pixels.")
    ] = None,
    unique_id: Annotated[
        Optional[int], typer.Option(help="gie-unique-id; 1, or 2 with --sgie.")
    ] = None,
    network: Annotated[
        Optional[str],
        typer.Option(
            help="detector, classifier, segmentation or instance-segmentation, "
            "where the outputs don't show it."
        ),
    ] = None,
    tensor_meta: Annotated[
        bool, typer.Option("--tensor-meta", help="Hand out raw tensors for own parsing.")
    ] = False,
    parser: Annotated[
        Optional[str], typer.Option(help="Function that parses the outputs; needs --parser-lib.")
    ] = None,
    parser_lib: Annotated[
        Optional[str], typer.Option(help="Library with it, as the target has it.")
    ] = None,
    cluster: Annotated[
        bool, typer.Option("--cluster", help="With --parser: nvinfer suppresses the boxes.")
    ] = False,
    batch: Annotated[Optional[int], typer.Option(help="Largest batch.")] = None,
    score: Annotated[Optional[float], typer.Option(help="Least score, 0 to 1.")] = None,
    threshold: Annotated[Optional[list[str]], typer.Option(help="CLASS=SCORE, repeatable.")] = None,
    calibration: Annotated[
        Optional[Path], typer.Option(help="calibration.cache: INT8 of the FP32 graph.")
    ] = None,
    rest: Annotated[
        str, typer.Option(help="With --calibration: what is not INT8: fp16 or fp32.")
    ] = "fp16",
    labels: Annotated[Optional[Path], typer.Option(help="Text file with one class a line.")] = None,
    recipe: Annotated[
        Optional[str], typer.Option(help="Recipe, by name or file: preprocessing.")
    ] = None,
    deepstream: Version = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Write nvinfer's configuration for a model, in both dialects, with its labels.

    Example: trtforge deepstream config resnet.onnx --sgie --on-classes 0,2 -o pipeline
    """
    from trtforge.deepstream import files, request

    wish = request.wish(
        sgie=sgie,
        on_gie=on_gie,
        on_classes=on_classes,
        least_object=least_object,
        unique_id=unique_id,
        network=network,
        tensor_meta=tensor_meta,
        parser=parser,
        parser_lib=parser_lib,
        cluster=cluster,
        batch=batch,
        score=score,
        thresholds=threshold or [],
        calibration=calibration,
        rest=rest,
    )
    found = request.model(model, recipe, labels)
    version = request.version(deepstream, found.deepstream)
    made = files.network(found, wish, out, version, "sgie" if sgie else "pgie", force)
    result(as_json, made, files.said(made))


@app.command("app")
def pipeline(
    primary: Annotated[Path, typer.Argument(help="pgie_config.txt or .yml.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="File to write.")] = Path(
        "deepstream_app.txt"
    ),
    streams: Annotated[Optional[Path], typer.Option(help="Text file with a camera a line.")] = None,
    stream: Annotated[
        Optional[list[str]], typer.Option(help="URI, file, usb:0 or csi:0; repeatable.")
    ] = None,
    sgie: Annotated[
        Optional[list[Path]], typer.Option(help="Secondary's configuration, repeatable.")
    ] = None,
    tracker: Annotated[
        Optional[str], typer.Option(help="iou, nvsort, nvdcf-perf or nvdcf-accuracy.")
    ] = None,
    sink: Annotated[
        Optional[list[str]], typer.Option(help="display, file, rtsp or fake; repeatable.")
    ] = None,
    frame: Annotated[str, typer.Option(help="Size of the muxer's frames, WxH.")] = "1920x1080",
    interval: Annotated[int, typer.Option(help="Frames that the primary network skips.")] = 0,
    output: Annotated[str, typer.Option(help="With --sink file: video to write.")] = "out.mp4",
    port: Annotated[int, typer.Option(help="With --sink rtsp: its port.")] = 8554,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Write a whole pipeline for deepstream-app. Passwords of cameras stand in that file and
    nowhere else.

    Example: trtforge deepstream app pgie_config.txt --streams cameras.txt --tracker nvdcf-perf
    --sink rtsp
    """
    from trtforge.deepstream import files, request

    cameras = request.streams(streams, stream or [])
    made = files.pipeline(
        primary,
        sgie or [],
        cameras,
        streams,
        out,
        tracker=tracker,
        sinks=tuple(sink or ["display"]),
        frame=request.pair(frame, "--frame"),
        interval=request.at_least(interval, 0, "--interval"),
        output=output,
        port=request.port(port),
        force=force,
    )
    result(as_json, made, files.said(made))


@app.command()
def lint(
    paths: Annotated[list[Path], typer.Argument(help="Files of nvinfer or deepstream-app.")],
    deepstream: Version = None,
    recipe: Annotated[
        Optional[str], typer.Option(help="Recipe the model was trained and calibrated with.")
    ] = None,
    fix: Annotated[bool, typer.Option("--fix", help="Write the corrected lines.")] = False,
    form: Annotated[str, typer.Option("--format", help="text, json or sarif.")] = "text",
) -> None:
    """Find what DeepStream ignores, refuses, or silently does otherwise.

    Example: trtforge deepstream lint pgie_config.txt deepstream_app.txt --deepstream 7.1
    """
    from trtforge.deepstream import request
    from trtforge.deepstream.lint import run

    form = request.one_of(form, ("text", "json", "sarif"), "--format")
    report = run.lint(paths, request.version(deepstream, None), request.recipe(recipe), fix)
    print(report.shown(form))
    report.gate()


@app.command()
def preview(
    bundle: Bundle,
    images: Annotated[
        list[Path],
        typer.Argument(help="Images, or folders of them; each is one frame of the muxer."),
    ],
    out: Out,
    as_json: AsJson = False,
) -> None:
    """Draw what DeepStream will show, without DeepStream: nvinfer's arithmetic as pgie_config.txt
    says, on the CPU.

    Example: trtforge deepstream preview out/ street.jpg -o pictures
    """
    from trtforge import summary
    from trtforge.stages.preview import run

    found = run(bundle, images, out)
    result(as_json, found.document(), summary.detected(found, out))


@app.command()
def parser(
    model: Annotated[
        Path, typer.Argument(help="Folder made with --nms none, or an ONNX file without NMS.")
    ],
    out: Out,
    as_json: AsJson = False,
) -> None:
    """Write a C++ output parser and its Makefile, for DeepStream's clustering instead of NMS in the
    graph.

    Example: trtforge deepstream parser out/ -o parser
    """
    from trtforge.deepstream.parser.source import write

    facts = write(model, out)
    lines = [
        line
        for group, keys in facts["keys"].items()
        for line in (f"  [{group}]", *(f"  {key}={value}" for key, value in keys.items()))
    ]
    told = [
        "Run make in it on the target, copy the library beside the configuration, and set there:",
        *lines,
    ]
    result(
        as_json, facts, "\n".join([facts["why"], f"{facts['source']}, {facts['makefile']}", *told])
    )


@app.command()
def triton(
    bundle: Bundle,
    out: Out,
    backend: Annotated[
        str, typer.Option(help="auto, tensorrt (the bundle's engine) or onnxruntime.")
    ] = "auto",
    instances: Annotated[int, typer.Option(min=1, help="Copies of the model on each GPU.")] = 1,
    gpu: Annotated[
        Optional[list[int]], typer.Option(min=0, help="Number of a GPU, repeatable; 0 by default.")
    ] = None,
    delay: Annotated[
        int, typer.Option(min=0, help="Microseconds that Triton waits for a fuller batch.")
    ] = 100,
    grpc: Annotated[
        Optional[str], typer.Option(help="HOST:PORT of a Triton server for DeepStream to ask.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a Triton model repository, and the nvinferserver configuration that uses it.

    Example: trtforge deepstream triton out/ -o repository
    """
    from trtforge.deepstream.triton.repository import Serving, write

    facts = write(bundle, out, backend, Serving(instances, tuple(gpu or [0]), delay, grpc))
    result(
        as_json,
        facts,
        f"{facts['config']}: {facts['backend']}\n{facts['nvinferserver']}: for nvinferserver "
        "(plugin-type=1 in deepstream-app)",
    )
