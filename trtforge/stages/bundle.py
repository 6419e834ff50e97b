"""ready + engine -> bundle: what the output folder holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from trtforge import manifest
from trtforge.deepstream import app, nvinfer
from trtforge.deepstream.labels import labels
from trtforge.job import Ready, Target
from trtforge.stages import calibrate
from trtforge.stages.build import ENGINE, LAYERS
from trtforge.store import Artifact, version_of

TOOLS = ("numpy", "onnx", "onnx-graphsurgeon", "onnxruntime", "pillow")
NEWEST = {"tensorrt": "10.16", "deepstream": "9.1"}  # where no device says otherwise


def write(
    out: Path,
    ready: Ready,
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
    deepstream = deepstream or ready.deepstream or (device and device.deepstream) or NEWEST["deepstream"]
    patch = ready.patches["tensorrt"]
    names, origin = labels(ready.recipe.labels, patch.get("classes"))
    contents: manifest.Contents = {"labels.txt": _text("\n".join(names) + "\n")}
    graphs = _graphs(ready, target)
    contents |= {ready.file_name(backend): ready.graphs[backend] for backend in graphs}
    if ready.table:
        tensorrt = (device and device.tensorrt) or NEWEST["tensorrt"]
        contents |= {
            calibrate.TABLE: ready.table,
            calibrate.CACHE: _text(calibrate.cache_text(ready.table.path, tensorrt)),
        }
    elif engine and ready.images:
        contents[calibrate.CACHE] = engine.file(calibrate.CACHE)  # TensorRT has calibrated itself
    contents |= _deepstream(ready, names, deepstream, dla_core)
    if engine:
        contents |= _engine(ready, target, engine, dla_core)
    wrote = manifest.write(out, contents, _manifest(ready, target, engine, graphs, names, deepstream), force)
    return wrote, [f"labels: {origin}"] if patch.get("classes") else []


def _graphs(ready: Ready, target: Target) -> list[str]:
    """The DeepStream form is for every bundle; the target's own graph lies beside it."""
    return list(dict.fromkeys(["tensorrt", target.backend])) if target.backend else list(ready.graphs)


def _engine(ready: Ready, target: Target, engine: Artifact, dla_core: int | None) -> manifest.Contents:
    from trtforge.report import page

    names = {
        "tensorrt": _engine_name(ready, dla_core),
        "tensorrt-rtx": f"{ready.name}.rtx.engine",
    }
    contents: manifest.Contents = {LAYERS: engine.file(LAYERS)}
    if target.backend and target.backend in names:  # ONNX Runtime's engine is the .ort.onnx
        contents[names[target.backend]] = engine.file(ENGINE)
    layers = json.loads(engine.file(LAYERS).path.read_text(encoding="utf-8"))
    title = f"{ready.name}, {ready.precision.upper()}, {target.device.title if target.device else 'CPU'}"
    contents["report.html"] = _text(page.render(title, target.backend or "", engine.facts, layers["layers"]))
    return contents


def _deepstream(ready: Ready, names: list[str], deepstream: str, dla_core: int | None) -> manifest.Contents:
    sections, comments = nvinfer.config(_primary(ready, names, deepstream))
    if dla_core is not None:
        engine = _engine_name(ready, dla_core)
        sections["property"] |= {"enable-dla": True, "use-dla-core": dla_core, "model-engine-file": engine}
    return {
        "pgie_config.txt": _text(nvinfer.ini(sections, comments)),
        "pgie_config.yml": _text(nvinfer.yaml(sections, comments)),
        "deepstream_app.txt": _text(nvinfer.ini(app.config("pgie_config.txt", ready.batch[2]))),
    }


def _primary(ready: Ready, names: list[str], deepstream: str) -> nvinfer.Primary:
    patch = ready.patches["tensorrt"]
    height, width = ready.facts["size"]
    return nvinfer.Primary(
        onnx=ready.file_name("tensorrt"), labels="labels.txt", precision=_precision(ready), batch=ready.batch[2],
        size=(height, width), preprocess=ready.recipe.preprocess, classes=len(names) or None,
        parser=patch.get("parser"), score=ready.recipe.nms.score, deepstream=deepstream, weak=ready.weak,
        cache=calibrate.CACHE if ready.weak and ready.precision == "int8" else None, rest=ready.recipe.precision.rest,
    )  # fmt: skip


def _engine_name(ready: Ready, dla_core: int | None) -> str:
    """The name that nvinfer looks for."""
    network = _primary(ready, [], NEWEST["deepstream"])
    name = nvinfer.engine_name(network.onnx, network.batch, nvinfer.MODE_NAMES[network.mode])
    return name if dla_core is None else name.replace("_gpu0_", f"_dla{dla_core}_")


def _precision(ready: Ready) -> str:
    """What the graph holds: one that came with Q/DQ or FP16 inside is typed, whatever was asked for."""
    return "mixed" if ready.precision == "fp32" and ready.facts.get("typed") else ready.precision


def _manifest(
    ready: Ready, target: Target, engine: Artifact | None, graphs: list[str], names: list[str], deepstream: str
) -> dict[str, Any]:
    """Everything that decided the contents, and nothing that differs between two equal runs: no times, no paths."""
    recipe = ready.recipe.model_copy(update={
        "model": None, "labels": tuple(names) or None,
        "calibration": ready.recipe.calibration.model_copy(update={"images": None}),
    })  # fmt: skip
    return {
        "model": ready.name,
        "precision": ready.precision,
        "weak": ready.weak,
        "batch": list(ready.batch),
        "target": {"backend": target.backend, "device": target.device.name if target.device else None,
                   "sm": target.device.sm if target.device else None},
        "deepstream": deepstream,
        "inputs": ready.inputs,
        "recipe": recipe.model_dump(mode="json"),
        "facts": ready.facts,
        "graphs": graphs,
        "patches": {backend: ready.patches[backend] for backend in graphs},
        "engine": engine.facts if engine else None,
        "tools": {tool: version_of(tool) for tool in (*TOOLS, *([target.backend] if target.backend else []))},
    }  # fmt: skip


def _text(content: str) -> bytes:
    return content.encode("utf-8")
