"""The commands of ``trtforge deepstream``, which write and check configuration and pipelines."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trtforge.cli.expand import Run, add, command, custom_command
from trtforge.errors import ForgeError
from trtforge.options.option import Option

if TYPE_CHECKING:
    from trtforge.deepstream.files import NetworkJson, PipelineJson
    from trtforge.deepstream.lint.report import LintReport
    from trtforge.deepstream.parser.source import ParserJson
    from trtforge.deepstream.triton.repository import TritonJson
    from trtforge.stages.detect import Detections

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Write and check configuration for DeepStream.\n\n"
    "Example: trtforge deepstream config out/ -o pipeline",
)


@command("deepstream.deepstream_config")
def config(result: "NetworkJson") -> str:
    """Write a model's nvinfer configuration, in INI and YAML, and its labels.

    Example: trtforge deepstream config resnet.onnx --sgie --on-classes 0,2 -o pipeline
    """
    height, width = result["size"]
    network = (
        f"{result['network']}, {height}x{width}, batch {result['batch']}; "
        f"engine: {result['engine']}"
    )
    return "\n".join([*_written(result["files"]), network, *result["remarks"]])


@command("deepstream.deepstream_app")
def pipeline(result: "PipelineJson") -> str:
    """Write the configuration of a whole pipeline for deepstream-app.

    Passwords of cameras are written into that file and nowhere else.

    Example: trtforge deepstream app pgie_config.txt --streams cameras.txt --tracker nvdcf-perf
    --sink rtsp
    """
    return "\n".join([*_written(result["files"]), *result["streams"], *result["remarks"]])


@custom_command("deepstream.lint")
def lint(
    call: "Run[LintReport]",
    *,
    form: Annotated[str, Option(("--format",), help="text, json or sarif.")] = "text",
) -> None:
    """Find lines that DeepStream ignores, refuses, or silently reads in another way.

    Example: trtforge deepstream lint pgie_config.txt deepstream_app.txt --deepstream 7.1
    """
    from trtforge.deepstream.lint.report import LintReport
    from trtforge.options.values import parse_choice

    form = parse_choice(form, ("text", "json", "sarif"), "--format")
    try:
        report = call()
    except ForgeError as error:
        if isinstance(error.result, LintReport):
            print(error.result.render(form))
        raise
    print(report.render(form))


@command("deepstream.deepstream_preview")
def preview(result: "Detections", out: Path) -> str:
    """Draw the objects that DeepStream will show, without DeepStream.

    nvinfer's arithmetic with the settings of pgie_config.txt runs on the CPU.

    Example: trtforge deepstream preview out/ street.jpg -o pictures
    """
    from trtforge.cli.text.detect import summarize

    return summarize(result, out)


@command("deepstream.deepstream_parser")
def parser(result: "ParserJson") -> str:
    """Write a C++ output parser and its Makefile, for models without NMS in the graph.

    DeepStream's clustering then removes duplicate boxes.

    Example: trtforge deepstream parser out/ -o parser
    """
    lines = [
        result["why"],
        f"{result['source']}, {result['makefile']}",
        "Run make in it on the target, copy the library beside the configuration, and set there:",
    ]
    for group, keys in result["keys"].items():
        lines += [f"  [{group}]", *(f"  {key}={value}" for key, value in keys.items())]
    return "\n".join(lines)


@command("deepstream.deepstream_triton")
def triton(result: "TritonJson") -> str:
    """Write a Triton model repository, and the nvinferserver configuration that uses it.

    Example: trtforge deepstream triton out/ -o repository
    """
    return (
        f"{result['config']}: {result['backend']}\n"
        f"{result['nvinferserver']}: for nvinferserver (plugin-type=1 in deepstream-app)"
    )


def _written(files: list[str]) -> list[str]:
    return [f"wrote {name}" for name in files]


add(app, config)
add(app, pipeline, "app")
for other_command in (lint, preview, parser, triton):
    add(app, other_command)
