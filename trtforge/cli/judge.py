"""Commands that look at what was made: accuracy, speed, pictures, layers."""

from pathlib import Path
from typing import Annotated, Optional

import typer

from trtforge.cli.arguments import AsJson, Iou, Labels, MaxDet, RecipeName, Score, TruthFile
from trtforge.cli.output import result


def verify(
    engines: Annotated[
        list[Path], typer.Argument(help="One or more: ONNX, engine, prepared folder or bundle.")
    ],
    images: Annotated[Path, typer.Option(help="Folder of images.")],
    labels: TruthFile = None,
    recipe: RecipeName = None,
    score: Score = None,
    iou: Iou = None,
    max_det: MaxDet = None,
    per_layer: Annotated[
        bool, typer.Option("--per-layer", help="Compare each activation that both share.")
    ] = False,
    find_worst: Annotated[
        bool, typer.Option("--find-worst", help="Name the node that adds most noise.")
    ] = False,
    min_map: Annotated[
        Optional[float], typer.Option("--min-map", help="Gate: mAP50-95 (top-1, mIoU), 0 to 1.")
    ] = None,
    max_drop: Annotated[
        Optional[float], typer.Option("--max-drop", help="Gate: points lost from the first.")
    ] = None,
    min_cosine: Annotated[
        Optional[float], typer.Option("--min-cosine", help="Gate: cosine of any output.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure accuracy, and how far other engines are from the first.

    Example: trtforge verify model.onnx out/ --images val/ --labels val/labels.json --max-drop 1
    """

    from trtforge import gates, summary
    from trtforge.options import recipe as recipes
    from trtforge.stages.verify import EVALUATION
    from trtforge.stages.verify import verify as measure

    asked = gates.limits(min_map, max_drop, min_cosine)
    spec = recipes.load(recipe) if recipe else None
    given = {"score": score, "iou": iou, "max_det": max_det}
    given = {name: value for name, value in given.items() if value is not None}
    report = measure(
        engines,
        images,
        labels=labels,
        recipe=spec,
        nms=recipes.nms(EVALUATION, given) if given else None,
        per_layer=per_layer or find_worst,
        limits=asked,
    )
    result(as_json, report.document(), summary.verified(report, find_worst))
    gates.accuracy(report, asked)


def bench(
    engine: Annotated[Path, typer.Argument(help="ONNX, engine, prepared folder or bundle.")],
    batch: Annotated[
        Optional[str], typer.Option(help="Batch sizes, e.g. 1,8. Default: the engine's own.")
    ] = None,
    streams: Annotated[
        str, typer.Option(help="Numbers of streams that run at once, e.g. 1,4.")
    ] = "1",
    against: Annotated[
        Optional[str],
        typer.Option(
            help="Time these too: onnxruntime, onnxruntime-cuda, torch, "
            "torch-half, torch-compile, torch-compile-half."
        ),
    ] = None,
    torch: Annotated[
        Optional[str], typer.Option(help="The PyTorch model: package.module:callable.")
    ] = None,
    weights: Annotated[Optional[Path], typer.Option(help="Checkpoint for it.")] = None,
    provider: Annotated[
        str, typer.Option(help="Where graphs and PyTorch run: auto, cpu or cuda.")
    ] = "auto",
    cuda_graph: Annotated[
        Optional[bool],
        typer.Option(
            "--cuda-graph/--no-cuda-graph", help="Only with, or only without. Default: both."
        ),
    ] = None,
    transfers: Annotated[
        bool, typer.Option("--transfers", help="Also with copies to the GPU and back.")
    ] = False,
    warmup: Annotated[str, typer.Option(help="Before anything counts.")] = "200ms",
    duration: Annotated[str, typer.Option(help="For latency, and again for throughput.")] = "3s",
    csv: Annotated[Optional[Path], typer.Option(help="Write the rows here, too.")] = None,
    max_latency: Annotated[
        Optional[str],
        typer.Option("--max-latency", help="Gate: median of the engine's fastest row, e.g. 5ms."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure latency and throughput, beside other runtimes in the same run.

    Example: trtforge bench out/ --batch 1,8 --against onnxruntime-cuda,torch --torch
    mymodels.yolo:build
    """
    from dataclasses import asdict

    from trtforge import gates, outfile, parse
    from trtforge.options import bench as options
    from trtforge.stages import bench as stage
    from trtforge.timing import table

    asked = options.asked(
        batch, streams, against, torch, weights, provider, cuda_graph, transfers, warmup, duration
    )
    if max_latency:
        parse.seconds(max_latency, "--max-latency")  # a wrong one is said before any work
    if csv:
        outfile.check(csv, engine)
    found = stage.run(stage.subject(engine), asked)
    if csv:
        outfile.write_text(csv, table.as_csv(found.rows))
    result(as_json, asdict(found), table.text(found))
    gates.latency(found, max_latency)


def detect(
    engine: Annotated[Path, typer.Argument(help="ONNX, engine, prepared folder or bundle.")],
    images: Annotated[list[Path], typer.Argument(help="Images, or folders of them.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the pictures.")],
    labels: Labels = None,
    recipe: RecipeName = None,
    score: Score = None,
    iou: Iou = None,
    max_det: MaxDet = None,
    as_json: AsJson = False,
) -> None:
    """Draw what an engine finds on images, and list it.

    Example: trtforge detect out/ street.jpg -o pictures
    """
    from trtforge import summary
    from trtforge.options import recipe as recipes
    from trtforge.recipe import Nms
    from trtforge.stages.detect import detect as run

    spec = recipes.load(recipe) if recipe else None
    given = {"score": score, "iou": iou, "max_det": max_det}
    given = {name: value for name, value in given.items() if value is not None}
    recipes.nms(Nms(), given)  # out of range is said before any work
    found = run(engine, images, out, spec, labels, given)
    result(as_json, found.document(), summary.detected(found, out))


def report(
    source: Annotated[
        Path,
        typer.Argument(
            help="Bundle, layers.json, trtexec's list of layers, TensorRT-RTX's build "
            "log, TensorRT engine, or ONNX model (run by ONNX Runtime)."
        ),
    ],
    onnx: Annotated[
        Optional[Path], typer.Option(help="Graph that the engine was built from.")
    ] = None,
    layers: Annotated[
        Optional[Path], typer.Option(help="List of layers by trtexec --exportLayerInfo.")
    ] = None,
    profile: Annotated[
        Optional[Path], typer.Option(help="Times, by trtexec --exportProfile or ONNX Runtime.")
    ] = None,
    accuracy: Annotated[
        Optional[Path], typer.Option(help="What `trtforge verify --json` wrote.")
    ] = None,
    device: Annotated[Optional[str], typer.Option(help="Device whose roofline is drawn.")] = None,
    out: Annotated[
        Optional[Path], typer.Option("-o", "--out", help="Folder for JSON, Markdown and HTML.")
    ] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Markdown on stdout, for a pull request.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Tell which ONNX nodes became which engine layer, in which precision, and what that costs.

    Example: trtforge report out/ --profile profile.json -o report
    """
    from trtforge import devices
    from trtforge.reporting.markdown import markdown as written
    from trtforge.reporting.text import text
    from trtforge.stages import report as stage

    if out:
        stage.check(out, source, onnx, layers, profile, accuracy)
    found, context = stage.read(
        source,
        onnx=onnx,
        layers=layers,
        profile=profile,
        accuracy=accuracy,
        device=devices.device(device) if device else None,
    )
    if out:
        stage.write(out, found, context)
    if markdown and not as_json:
        print(written(found, context.title), end="")
    else:
        result(as_json, found.model_dump(mode="json"), text(found, context.title, out))


def diff(
    one: Annotated[
        Path, typer.Argument(help="Bundle, layers.json, or whatever `trtforge report` takes.")
    ],
    other: Annotated[Path, typer.Argument(help="The engine to hold against it.")],
    max_slower: Annotated[
        Optional[str],
        typer.Option(
            "--max-slower", help="Gate: percent that all layers may take longer, e.g. 3%."
        ),
    ] = None,
    no_new_reformat: Annotated[
        bool,
        typer.Option(
            "--no-new-reformat", help="Gate: no layer that only converts or copies comes in."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Tell what differs between two engines: layers, precisions, kernels, times and fusions.

    Example: trtforge diff fp16/ int8/ --no-new-reformat
    """
    from trtforge import parse
    from trtforge.reporting import diff as diffs
    from trtforge.stages.report import read

    limit = parse.percent(max_slower, "--max-slower")
    found = diffs.compare(read(one)[0], read(other)[0])
    result(as_json, found.document(), diffs.summarize(found))
    diffs.check_limits(found, limit, no_new_reformat)
