"""ready + engine -> bundle: what the output folder holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from trtforge.bundle import folder
from trtforge.bundle.facts import BuildFacts, EngineCheck
from trtforge.bundle.folder import Contents
from trtforge.bundle.manifest import Manifest, TargetEntry
from trtforge.bundle.prepared import Prepared, Target
from trtforge.deepstream.app import pipeline as app
from trtforge.deepstream.config import describe, nvinfer
from trtforge.deepstream.config.graph import inspect
from trtforge.deepstream.format import app_keys, config
from trtforge.devices import stacks
from trtforge.names import CACHE, TABLE, Backend
from trtforge.stages.build import ENGINE, LAYERS
from trtforge.stages.calibrate import cache_text
from trtforge.store import Artifact, to_json, version_of
from trtforge.traits import DEEPSTREAM, TRAITS

TOOLS = ("numpy", "onnx", "onnx-graphsurgeon", "onnxruntime", "pillow")


@dataclass(frozen=True)
class _Configured:
    """A network for nvinfer.

    Attributes:
        labels: text of its label file.
        names: names of its classes.
        origins: where the names, and the kind of network, are from.
    """

    network: nvinfer.Network
    labels: str
    names: tuple[str, ...]
    origins: Mapping[str, str]

    @property
    def remarks(self) -> tuple[str, ...]:
        """What the user should know."""
        return tuple(f"{part}: {origin}" for part, origin in self.origins.items())


@dataclass(frozen=True)
class Written:
    """A folder that was made.

    Attributes:
        changed: it had to be written; False if it was there already, with the same contents.
        remarks: what the user should know.
    """

    changed: bool
    remarks: tuple[str, ...]


def write(
    out: Path,
    prepared: Prepared,
    target: Target,
    engine: Artifact[BuildFacts] | None,
    check: EngineCheck | None,
    deepstream: str | None,
    force: bool,
    dla_core: int | None = None,
) -> Written:
    """Write the folder of one target: a bundle, or, without engine, a prepared folder.

    Args:
        check: the engine beside FP32; None where it was not run.
        deepstream: the version that the configuration is for; None is the device's newest.
        dla_core: the DLA core that the engine is for; None is the GPU.

    Raises:
        ForgeError: labels do not fit the model, or the folder can't be used.
    """
    device = target.device
    newest = device.deepstream if device else None
    deepstream = deepstream or prepared.deepstream or newest or stacks.default_deepstream()
    graphs = _graphs(prepared, target)
    contents: Contents = {
        prepared.file_name(backend): prepared.graphs[backend] for backend in graphs
    }
    if prepared.table:
        contents[TABLE] = prepared.table
        tensorrt = _tensorrt(target, engine) or stacks.tensorrt_for(deepstream, device)
        contents[CACHE] = _text(cache_text(prepared.table.path, tensorrt))
    elif engine and prepared.images:
        contents[CACHE] = engine.file(CACHE)  # TensorRT has calibrated itself
    configured = _network(prepared, deepstream, dla_core)
    network = configured.network
    contents |= _deepstream(network, configured.labels)
    if engine:
        contents |= _engine(prepared, target, engine, network.engine)
    manifest = _manifest(prepared, target, engine, check, graphs, configured, deepstream)
    changed = folder.write(out, contents, to_json(manifest), force)
    return Written(changed, configured.remarks)


def _tensorrt(target: Target, engine: Artifact[BuildFacts] | None) -> str | None:
    """Return the TensorRT that has built the engine; None where another builder has, or none."""
    if engine is None or target.backend != DEEPSTREAM:
        return None
    return str(engine.facts.built["version"])


def _graphs(prepared: Prepared, target: Target) -> tuple[Backend, ...]:
    """Return the backends whose graphs the folder holds.

    The DeepStream form is in every folder; the graph that the engine comes from lies beside it.
    """
    if target.backend:
        return tuple(dict.fromkeys((DEEPSTREAM, target.backend)))
    return tuple(prepared.graphs)


def _engine(
    prepared: Prepared, target: Target, engine: Artifact[BuildFacts], tensorrt_name: str
) -> Contents:
    """Return the engine and its report.

    Args:
        tensorrt_name: the name that nvinfer looks for.
    """
    from trtforge.reporting import assemble, model, page
    from trtforge.stages.report import histograms, title

    report = assemble.for_device(
        model.load(engine.file(LAYERS).path),
        target.device,
        model=prepared.name,
        precision=prepared.built_precision,
    )
    context = page.Context(
        title(report), target.device, histograms(prepared.table.path if prepared.table else None)
    )
    contents: Contents = {
        LAYERS: _text(model.to_json(report)),
        "report.html": _text(page.html(report, context)),
    }
    suffix = TRAITS[target.backend].engine_suffix if target.backend else None
    if target.backend == DEEPSTREAM:
        contents[tensorrt_name] = engine.file(ENGINE)
    elif suffix:
        contents[f"{prepared.name}{suffix}"] = engine.file(ENGINE)
    return contents


def _network(prepared: Prepared, deepstream: str, dla_core: int | None) -> _Configured:
    """Return what nvinfer has to know, and the labels in the form that the network wants."""
    graph = inspect(prepared.graphs[DEEPSTREAM].path)
    model = describe.from_prepared(prepared, graph, Path(), dla=dla_core)
    kind = replace(graph, features=(True,)).kind() if prepared.facts.features else graph.kind()
    if kind == "detector" and not graph.fits_stock_parser:
        kind = "tensors"
    names, origin = describe.class_names(model, kind)
    request = describe.NetworkRequest(kind=kind)
    network, labels_text = describe.network(model, request, Path(), deepstream)
    # A folder that is read back has its names in its recipe, and says where they were from.
    origins = {"labels": prepared.origins.get("labels", origin)} if names else {}
    return _Configured(network, labels_text, tuple(names), origins)


def _deepstream(network: nvinfer.Network, labels_text: str) -> Contents:
    """Return the configuration of nvinfer in both dialects, the labels, and a pipeline."""
    sections, comments = nvinfer.config(network)
    pipeline, remarks = app.config(app.Pipeline((), app.Gie("pgie_config.txt", network.batch)))
    return {
        "labels.txt": _text(labels_text),
        "pgie_config.txt": _text(config.write(sections, "ini", comments)),
        "pgie_config.yml": _text(config.write(sections, "yaml", comments)),
        "deepstream_app.txt": _text(config.write(pipeline, "ini", remarks, app_keys.app)),
    }


def _manifest(
    prepared: Prepared,
    target: Target,
    engine: Artifact[BuildFacts] | None,
    check: EngineCheck | None,
    graphs: tuple[Backend, ...],
    configured: _Configured,
    deepstream: str,
) -> Manifest:
    """Return the manifest, without the paths of the user's files in the recipe."""
    calibration = prepared.recipe.calibration.model_copy(update={"images": None})
    recipe = prepared.recipe.model_copy(
        update={
            "model": None,
            "labels": configured.names or None,
            "calibration": calibration,
        }
    )
    device = target.device
    tools = [*TOOLS, *([target.backend] if target.backend else [])]
    return Manifest(
        model=prepared.name,
        precision=prepared.precision,
        implicit=prepared.implicit,
        batch=prepared.batch,
        target=TargetEntry(
            target.backend, device.name if device else None, device.sm if device else None
        ),
        deepstream=deepstream,
        inputs=prepared.sources,
        recipe=recipe,
        origins={**prepared.origins, **configured.origins},
        facts=prepared.facts,
        graphs=graphs,
        patches={backend: prepared.patches[backend] for backend in graphs},
        engine=engine.facts if engine else None,
        check=check,
        tools={tool: version_of(tool) for tool in tools},
    )


def _text(content: str) -> bytes:
    return content.encode("utf-8")
