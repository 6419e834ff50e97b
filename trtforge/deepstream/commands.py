"""The commands under `trtforge deepstream`. Heavy imports live inside command bodies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

app = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="What DeepStream needs to run a model, and what it will make of it.\n\n"
    "Example: trtforge deepstream preview out/ street.jpg -o pictures",
)

Bundle = Annotated[Path, typer.Argument(help="Folder made by `trtforge build` or `prepare`.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
OutFolder = Annotated[Path, typer.Option("-o", "--out", help="Output folder.")]


@app.command()
def preview(
    bundle: Bundle,
    images: Annotated[list[Path], typer.Argument(help="Images, or folders of them; each is one frame of the muxer.")],
    out: OutFolder,
    as_json: AsJson = False,
) -> None:
    """Draw what DeepStream will show, without DeepStream: nvinfer's arithmetic as pgie_config.txt says, on the CPU.

    Example: trtforge deepstream preview out/ street.jpg -o pictures
    """
    from trtforge import summary
    from trtforge.stages.preview import run

    found = run(bundle, images, out)
    _result(as_json, found, summary.detected(found, out))


@app.command()
def parser(
    model: Annotated[Path, typer.Argument(help="Folder made with --nms none, or an ONNX file without NMS.")],
    out: OutFolder,
    as_json: AsJson = False,
) -> None:
    """Write a C++ output parser and its Makefile, for DeepStream's clustering instead of NMS in the graph.

    Example: trtforge deepstream parser out/ -o parser
    """
    from trtforge.deepstream.parser_cpp import write

    facts = write(model, out)
    lines = [line for group, keys in facts["keys"].items()
             for line in (f"  [{group}]", *(f"  {key}={value}" for key, value in keys.items()))]  # fmt: skip
    told = ["Run make in it on the target, copy the library beside the configuration, and set there:", *lines]
    _result(as_json, facts, "\n".join([facts["why"], f"{facts['source']}, {facts['makefile']}", *told]))


@app.command()
def triton(
    bundle: Bundle,
    out: OutFolder,
    backend: Annotated[str, typer.Option(help="auto, tensorrt (the bundle's engine) or onnxruntime.")] = "auto",
    instances: Annotated[int, typer.Option(min=1, help="Copies of the model on each GPU.")] = 1,
    gpu: Annotated[Optional[list[int]], typer.Option(min=0, help="Number of a GPU, repeatable; 0 by default.")] = None,
    delay: Annotated[int, typer.Option(min=0, help="Microseconds that Triton waits for a fuller batch.")] = 100,
    grpc: Annotated[Optional[str], typer.Option(help="HOST:PORT of a Triton server for DeepStream to ask.")] = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Write a Triton model repository, and the nvinferserver configuration that uses it.

    Example: trtforge deepstream triton out/ -o repository
    """
    from trtforge.deepstream.triton import Serving, write

    facts = write(bundle, out, backend, Serving(instances, tuple(gpu or [0]), delay, grpc))
    _result(as_json, facts, f"{facts['config']}: {facts['backend']}\n{facts['nvinferserver']}: for nvinferserver "
            "(plugin-type=1 in deepstream-app)")  # fmt: skip


def _result(as_json: bool, document: Any, text: str) -> None:
    print(json.dumps(document) if as_json else text)
