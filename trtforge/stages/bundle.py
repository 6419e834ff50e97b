"""ready + engine -> bundle: what the output folder holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trtforge.bundle import manifest
from trtforge.bundle.prepared import Prepared, Target
from trtforge.deepstream.app import pipeline as app
from trtforge.deepstream.config import describe, nvinfer
from trtforge.deepstream.config.graph import inspect
from trtforge.deepstream.format import app_keys, config
from trtforge.deepstream.format.labels import labels
from trtforge.devices import stacks
from trtforge.stages import calibrate
from trtforge.stages.build import ENGINE, LAYERS
from trtforge.store import Artifact, version_of

TOOLS = ("numpy", "onnx", "onnx-graphsurgeon", "onnxruntime", "pillow")


def write(
    out: Path,
    ready: Prepared,
    target: Target,
    engine: Artifact | None,
    deepstream: str | None,
    force: bool,
    dla_core: int | None = None,
) -> tuple[bool, list[str]]:
    """The folder of one target; without engine, a prepared one.

    Args:
        deepstream: version the configuration is for; None is the device's newest.
        dla_core: that the engine is for; None is the GPU.

    Returns:
        Whether anything had to be written, and remarks for the user.

    Raises:
        ForgeError: labels do not fit the model, or the folder can't be used.
    """
    device = target.device
    own = device.deepstream if device else None
    deepstream = deepstream or ready.deepstream or own or stacks.default_deepstream()
    patch = ready.patches["tensorrt"]
    names, origin = labels(ready.recipe.labels, patch.get("classes"))
    contents: manifest.Contents = {}
    graphs = _graphs(ready, target)
    contents |= {ready.file_name(backend): ready.graphs[backend] for backend in graphs}
    if ready.table:
        tensorrt = stacks.tensorrt_for(deepstream, device)
        contents |= {
            calibrate.TABLE: ready.table,
            calibrate.CACHE: _text(calibrate.cache_text(ready.table.path, tensorrt)),
        }
    elif engine and ready.images:
        contents[calibrate.CACHE] = engine.file(calibrate.CACHE)  # TensorRT has calibrated itself
    network, labelled = _network(ready, deepstream, dla_core)
    contents |= _deepstream(network, labelled)
    if engine:
        contents |= _engine(ready, target, engine, network.engine)
    wrote = manifest.write(
        out, contents, _manifest(ready, target, engine, graphs, names, deepstream), force
    )
    return wrote, [f"labels: {origin}"] if patch.get("classes") else []


def _graphs(ready: Prepared, target: Target) -> list[str]:
    """The DeepStream form is for every bundle; the target's own graph lies beside it."""
    return (
        list(dict.fromkeys(["tensorrt", target.backend])) if target.backend else list(ready.graphs)
    )


def _engine(ready: Prepared, target: Target, engine: Artifact, name: str) -> manifest.Contents:
    from trtforge.reporting import assemble, model, page
    from trtforge.stages.report import beside, title

    names = {
        "tensorrt": name,
        "tensorrt-rtx": f"{ready.name}.rtx.engine",
    }
    report = assemble.for_device(
        model.load(engine.file(LAYERS).path),
        target.device,
        model=ready.name,
        precision=_precision(ready),
    )
    context = page.Context(
        title(report), target.device, beside(ready.table.path if ready.table else None)
    )
    contents: manifest.Contents = {
        LAYERS: _text(model.to_json(report)),
        "report.html": _text(page.html(report, context)),
    }
    if target.backend and target.backend in names:  # ONNX Runtime's engine is the .ort.onnx
        contents[names[target.backend]] = engine.file(ENGINE)
    return contents


def _network(ready: Prepared, deepstream: str, dla_core: int | None) -> tuple[nvinfer.Network, str]:
    """What nvinfer has to know, and the labels in the form that the network wants."""
    patch, graph = ready.patches["tensorrt"], inspect(ready.graphs["tensorrt"].path)
    model = describe.Model(
        Path(ready.file_name("tensorrt")),
        graph,
        ready.recipe,
        ready.batch[2],
        _precision(ready),
        patch.get("classes"),
        score=ready.recipe.nms.score if patch.get("parser") else None,
        weak=ready.implicit,
        cache=Path(calibrate.CACHE) if ready.implicit and ready.precision == "int8" else None,
        dla=dla_core,
    )
    kind = graph.kind()
    unread = kind == "detector" and not graph.stock
    return describe.network(
        model, describe.Wish(kind="tensors" if unread else kind), Path(), deepstream
    )


def _deepstream(network: nvinfer.Network, names: str) -> manifest.Contents:
    """Configuration of nvinfer in both dialects, labels, and a pipeline."""
    sections, comments = nvinfer.config(network)
    pipeline, remarks = app.config(app.Pipeline((), app.Gie("pgie_config.txt", network.batch)))
    return {
        "labels.txt": _text(names),
        "pgie_config.txt": _text(config.write(sections, "ini", comments)),
        "pgie_config.yml": _text(config.write(sections, "yaml", comments)),
        "deepstream_app.txt": _text(config.write(pipeline, "ini", remarks, app_keys.app)),
    }


def _precision(ready: Prepared) -> str:
    """What the graph holds: one that came with Q/DQ or FP16 inside is typed, whatever was asked
    for.
    """
    return "mixed" if ready.precision == "fp32" and ready.facts.get("typed") else ready.precision


def _manifest(
    ready: Prepared,
    target: Target,
    engine: Artifact | None,
    graphs: list[str],
    names: list[str],
    deepstream: str,
) -> dict[str, Any]:
    """Everything that decided the contents, and nothing that differs between two equal runs: no
    times, no paths.
    """
    recipe = ready.recipe.model_copy(
        update={
            "model": None,
            "labels": tuple(names) or None,
            "calibration": ready.recipe.calibration.model_copy(update={"images": None}),
        }
    )
    return {
        "model": ready.name,
        "precision": ready.precision,
        "weak": ready.implicit,
        "batch": list(ready.batch),
        "target": {
            "backend": target.backend,
            "device": target.device.name if target.device else None,
            "sm": target.device.sm if target.device else None,
        },
        "deepstream": deepstream,
        "inputs": ready.inputs,
        "recipe": recipe.model_dump(mode="json"),
        "facts": ready.facts,
        "graphs": graphs,
        "patches": {backend: ready.patches[backend] for backend in graphs},
        "engine": engine.facts if engine else None,
        "tools": {
            tool: version_of(tool)
            for tool in (*TOOLS, *([target.backend] if target.backend else []))
        },
    }


def _text(content: str) -> bytes:
    return content.encode("utf-8")
