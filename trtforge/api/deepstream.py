"""Write and check configuration for DeepStream."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional, Union

from trtforge.options.option import Argument, Option
from trtforge.options.values import (
    Names,
    PathLike,
    Size,
    check_at_least,
    check_range,
    names_of,
    parse_width_height,
    path_of,
    paths_of,
)
from trtforge.present import ProgressCallback, listening

if TYPE_CHECKING:
    from trtforge.deepstream.files import NetworkJson, PipelineJson
    from trtforge.deepstream.lint.report import LintReport
    from trtforge.deepstream.parser.source import ParserJson
    from trtforge.deepstream.triton.repository import TritonJson
    from trtforge.stages.preview import Preview

OutFolder = Annotated[PathLike, Option(("-o", "--out"), help="Folder for the files.", reads=Path)]
Version = Annotated[
    Optional[str],
    Option(("--deepstream",), help="Version that will read the files, e.g. 9.1."),
]
Force = Annotated[bool, Option(("--force",), help="Replace files that are there.")]
Bundle = Annotated[
    PathLike, Argument(help="Folder made by `trtforge build` or `prepare`.", reads=Path)
]


def deepstream_config(
    model: Annotated[PathLike, Argument(help="BUNDLE, ENGINE or MODEL.onnx.", reads=Path)],
    out: OutFolder,
    *,
    sgie: Annotated[
        bool, Option(("--sgie",), help="Secondary: looks at objects, not at frames.")
    ] = False,
    on_gie: Annotated[
        int, Option(help="With --sgie: unique id of the network that finds them.")
    ] = 1,
    on_classes: Annotated[
        Union[str, Sequence[int], None],
        Option(help="With --sgie: class ids, e.g. 0,2.", reads=str),
    ] = None,
    least_object: Annotated[
        Optional[Size], Option(help="With --sgie: smallest object, WxH in pixels.", reads=str)
    ] = None,
    unique_id: Annotated[Optional[int], Option(help="gie-unique-id; 1, or 2 with --sgie.")] = None,
    network: Annotated[
        Optional[str],
        Option(
            help="detector, classifier, segmentation or instance-segmentation, where the outputs "
            "don't show it."
        ),
    ] = None,
    tensor_meta: Annotated[
        bool, Option(("--tensor-meta",), help="Hand out raw tensors for own parsing.")
    ] = False,
    parser: Annotated[
        Optional[str], Option(help="Function that parses the outputs; needs --parser-lib.")
    ] = None,
    parser_lib: Annotated[
        Optional[str], Option(help="Library with it, as the target has it.")
    ] = None,
    cluster: Annotated[
        bool, Option(("--cluster",), help="With --parser: nvinfer suppresses the boxes.")
    ] = False,
    batch: Annotated[Optional[int], Option(help="Largest batch.")] = None,
    score: Annotated[Optional[float], Option(help="Least score, 0 to 1.")] = None,
    threshold: Annotated[
        Names, Option(help="CLASS=SCORE, repeatable.", reads=str, repeated=True)
    ] = (),
    calibration: Annotated[
        Optional[PathLike],
        Option(help="calibration.cache: INT8 of the FP32 graph.", reads=Path),
    ] = None,
    rest: Annotated[
        str, Option(help="With --calibration: what is not INT8: fp16 or fp32.")
    ] = "fp16",
    labels: Annotated[
        Optional[PathLike], Option(help="Text file with one class a line.", reads=Path)
    ] = None,
    recipe: Annotated[
        Optional[PathLike], Option(help="Recipe, by name or file: preprocessing.", reads=str)
    ] = None,
    deepstream: Version = None,
    force: Force = False,
) -> "NetworkJson":
    """Write a model's nvinfer configuration, in INI and YAML, and its labels.

    Args:
        model: bundle, engine or ONNX file.
        out: folder for the files.
        sgie: a secondary network, which looks at objects, not at frames.
        on_gie: unique id of the network that detects these objects.
        on_classes: ids of the classes that it looks at.
        least_object: width and height in pixels of the smallest object that it looks at.
        unique_id: id of the network itself; None: 1, or 2 for a secondary one.
        network: "detector", "classifier", "segmentation" or "instance-segmentation", where the
            outputs don't show it.
        tensor_meta: hand out raw tensors, for a parser of your own.
        parser: name of the function that parses the outputs.
        parser_lib: library that has it, as the target names it.
        cluster: nvinfer suppresses the boxes that the parser hands out.
        batch: largest batch.
        score: lowest score of a detection.
        threshold: "CLASS=SCORE", one or several.
        calibration: calibration cache, for INT8 of the FP32 graph.
        rest: precision of what is not INT8: "fp16" or "fp32".
        labels: text file with one class a line.
        recipe: name or file.
        deepstream: version that will read the files.
        force: replace files that are there.

    Raises:
        ForgeError: an input is wrong, or a file is there already.
    """
    from trtforge.api.network import (
        NetworkOptions,
        deepstream_version,
        network_request,
        open_model,
    )
    from trtforge.deepstream import files

    request = network_request(
        NetworkOptions(
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
            threshold=threshold,
            calibration=calibration,
            rest=rest,
        )
    )
    found = open_model(model, recipe, labels)
    version = deepstream_version(deepstream, found.deepstream)
    prefix = "sgie" if sgie else "pgie"
    return files.network(found, request, Path(out), version, prefix, force)


def deepstream_app(
    primary: Annotated[PathLike, Argument(help="pgie_config.txt or .yml.", reads=Path)],
    out: Annotated[PathLike, Option(("-o", "--out"), help="File to write.", reads=Path)] = Path(
        "deepstream_app.txt"
    ),
    *,
    streams: Annotated[
        Optional[PathLike], Option(help="Text file with a camera a line.", reads=Path)
    ] = None,
    stream: Annotated[
        Names, Option(help="URI, file, usb:0 or csi:0; repeatable.", reads=str, repeated=True)
    ] = (),
    sgie: Annotated[
        Union[PathLike, Sequence[PathLike]],
        Option(help="Secondary's configuration, repeatable.", reads=Path, repeated=True),
    ] = (),
    tracker: Annotated[
        Optional[str], Option(help="iou, nvsort, nvdcf-perf or nvdcf-accuracy.")
    ] = None,
    sink: Annotated[
        Names, Option(help="display, file, rtsp or fake; repeatable.", reads=str, repeated=True)
    ] = (),
    frame: Annotated[
        Size, Option(help="Size of the muxer's frames, WxH.", reads=str)
    ] = "1920x1080",
    interval: Annotated[int, Option(help="Frames that the primary network skips.")] = 0,
    output: Annotated[str, Option(help="With --sink file: video to write.")] = "out.mp4",
    port: Annotated[int, Option(help="With --sink rtsp: its port.")] = 8554,
    force: Force = False,
) -> "PipelineJson":
    """Write the configuration of a whole pipeline for deepstream-app.

    Args:
        primary: configuration of the primary network.
        out: file to write.
        streams: text file with one camera a line.
        stream: a URI, a file, "usb:0" or "csi:0", or several.
        sgie: configurations of secondary networks.
        tracker: "iou", "nvsort", "nvdcf-perf" or "nvdcf-accuracy".
        sink: "display" (the default), "file", "rtsp" or "fake", or several.
        frame: width and height of the muxer's frames.
        interval: number of frames that the primary network skips.
        output: video that the sink "file" writes.
        port: port of the sink "rtsp".
        force: replace a file that is there.

    Raises:
        ForgeError: an input is wrong, or the file is there already.
    """
    from trtforge.api.network import cameras
    from trtforge.deepstream import files

    return files.pipeline(
        Path(primary),
        paths_of(sgie),
        cameras(streams, stream),
        path_of(streams),
        Path(out),
        tracker=tracker,
        sinks=tuple(names_of(sink) or ["display"]),
        frame=parse_width_height(frame, "--frame"),
        interval=check_at_least(interval, 0, "--interval"),
        output=output,
        port=check_range(port, 1, 65535, "--port"),
        force=force,
    )


def lint(
    paths: Annotated[
        Union[PathLike, Sequence[PathLike]],
        Argument(help="Files of nvinfer or deepstream-app.", reads=Path, repeated=True),
    ],
    *,
    deepstream: Version = None,
    recipe: Annotated[
        Optional[PathLike],
        Option(help="Recipe the model was trained and calibrated with.", reads=str),
    ] = None,
    fix: Annotated[bool, Option(("--fix",), help="Write the corrected lines.")] = False,
) -> "LintReport":
    """Find lines that DeepStream ignores, refuses, or silently reads in another way.

    Args:
        paths: files of nvinfer or deepstream-app.
        deepstream: version that will read the files.
        recipe: name or file: what the model was trained and calibrated with.
        fix: write the corrected lines.

    Raises:
        ForgeError: a file is no configuration; the error's ``result`` is the report.
        GateError: there are errors; its ``result`` is the report.
    """
    from trtforge import gates
    from trtforge.api.network import deepstream_version
    from trtforge.api.recipes import load_recipe
    from trtforge.deepstream.lint import run

    version = deepstream_version(deepstream, None)
    report = run.lint(paths_of(paths), version, load_recipe(recipe) if recipe else None, fix)
    with gates.carrying(report):
        report.gate()
    return report


def deepstream_preview(
    bundle: Bundle,
    images: Annotated[
        Union[PathLike, Sequence[PathLike]],
        Argument(
            help="Images, or folders of them; each is one frame of the muxer.",
            reads=Path,
            repeated=True,
        ),
    ],
    out: OutFolder,
    *,
    progress: Optional[ProgressCallback] = None,
) -> "Preview":
    """Draw the objects that DeepStream will show: nvinfer's arithmetic, without DeepStream.

    Args:
        bundle: folder made by ``build`` or ``prepare``.
        images: image files, or folders of them; each is one frame of the muxer.
        out: folder for the pictures.
        progress: called with a label and the share that is done.

    Raises:
        ForgeError: an input is wrong.
    """
    from trtforge.stages.preview import run

    with listening(progress):
        return run(Path(bundle), paths_of(images), Path(out))


def deepstream_parser(
    model: Annotated[
        PathLike,
        Argument(help="Folder made with --nms none, or an ONNX file without NMS.", reads=Path),
    ],
    out: OutFolder,
) -> "ParserJson":
    """Write a C++ output parser and its Makefile, for models without NMS in the graph.

    Args:
        model: folder made with NMS "none", or an ONNX file without NMS.
        out: folder for the files.

    Raises:
        ForgeError: an input is wrong.
    """
    from trtforge.deepstream.parser.source import write

    return write(Path(model), Path(out))


def deepstream_triton(
    bundle: Bundle,
    out: OutFolder,
    *,
    backend: Annotated[
        str, Option(help="auto, tensorrt (the bundle's engine) or onnxruntime.")
    ] = "auto",
    instances: Annotated[int, Option(low=1, help="Copies of the model on each GPU.")] = 1,
    gpu: Annotated[
        Sequence[int],
        Option(low=0, help="Number of a GPU, repeatable; 0 by default.", reads=int, repeated=True),
    ] = (),
    delay: Annotated[
        int, Option(low=0, help="Microseconds that Triton waits for a fuller batch.")
    ] = 100,
    grpc: Annotated[
        Optional[str], Option(help="HOST:PORT of a Triton server for DeepStream to ask.")
    ] = None,
) -> "TritonJson":
    """Write a Triton model repository, and the nvinferserver configuration that uses it.

    Args:
        bundle: folder made by ``build`` or ``prepare``.
        out: folder for the repository.
        backend: "auto", "tensorrt" (the bundle's engine) or "onnxruntime".
        instances: copies of the model on each GPU.
        gpu: numbers of GPUs; none: 0.
        delay: microseconds that Triton waits for a fuller batch.
        grpc: "HOST:PORT" of a Triton server for DeepStream to ask.

    Raises:
        ForgeError: an input is wrong.
    """
    from trtforge.deepstream.triton.repository import Serving, write

    serving = Serving(instances, tuple(gpu or [0]), delay, grpc)
    return write(Path(bundle), Path(out), backend, serving)
