"""engine -> report: write an engine's layers as JSON, Markdown and HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from trtforge import outfile
from trtforge.backends._plan import MAGIC, maker
from trtforge.bundle.folder import MANIFEST, listed_files
from trtforge.devices import Device, catalogue
from trtforge.documents import DocumentError, load_json
from trtforge.errors import ForgeError, MachineError
from trtforge.stages.build import LAYERS
from trtforge.traits import DEEPSTREAM, ONNXRUNTIME, TRAITS

if TYPE_CHECKING:
    from trtforge.evaluate.verification import VerificationJson
    from trtforge.reporting.model import EngineInfo, Layer, LayerReport
    from trtforge.reporting.origin import Origin
    from trtforge.reporting.page import Context, TensorRange

HTML, MARKDOWN = "report.html", "report.md"


def read(
    source: Path,
    *,
    onnx: Path | None = None,
    layers: Path | None = None,
    profile: Path | None = None,
    accuracy: Path | None = None,
    device: Device | None = None,
) -> tuple[LayerReport, Context]:
    """Return the layers of one engine, and what the report shows beside them.

    Args:
        source: a bundle; ``layers.json``; a list of layers by ``trtexec --exportLayerInfo``; a
            build log of TensorRT-RTX; an engine of TensorRT, which needs its GPU; or an ONNX model,
            which ONNX Runtime then optimises and times.
        onnx: the graph that the engine was built from.
        layers: a list of layers to read instead of the source's.
        profile: times, written by ``trtexec --exportProfile`` or by ONNX Runtime's profiler.
        accuracy: the JSON document of ``trtforge verify``.
        device: the device whose roofline is drawn; None uses the device of the bundle.

    Raises:
        ForgeError: a file is missing, or is not what it should be.
        MachineError: the engine can't be inspected on this machine.
    """
    from trtforge.reporting import assemble
    from trtforge.reporting.model import read_text
    from trtforge.reporting.page import Context

    if not source.exists():
        raise ForgeError(
            f"{source}: no such file", "give a bundle, an engine, an ONNX model or layers.json"
        )
    times = _times(read_text(profile), str(profile)) if profile else []
    measured = _accuracy(accuracy) if accuracy else None
    if source.is_dir():
        report, context = _bundle(source)
        if layers or onnx:
            graph = onnx or _bundled_graph(source, report)
            report = _file(layers or source / LAYERS, graph, report)
    else:
        report, context = _file(layers or source, onnx), Context(source.name)
    learned = [node for node in report.nodes if node.learned]
    if onnx and learned and all(node.place == "unaccounted" for node in learned):
        raise ForgeError(
            f"{onnx}: {source} has none of its convolutions",
            "give the graph that it was built from",
        )
    if profile:
        report = assemble.with_times(report, times)
        if not any(layer.time_ms is not None for layer in report.layers):
            raise ForgeError(
                f"{profile}: no time for any layer of {source}", "profile the same engine"
            )
    device = device or context.device or catalogue().get(report.engine.device or "")
    return assemble.for_device(report, device), replace(context, device=device, accuracy=measured)


def write(out: Path, report: LayerReport, context: Context) -> None:
    """Write ``layers.json``, ``report.md`` and ``report.html`` into a folder, all or none.

    Raises:
        ForgeError: the folder is a file or a bundle, or can't be written.
    """
    from trtforge.reporting.markdown import markdown
    from trtforge.reporting.model import to_json
    from trtforge.reporting.page import html
    from trtforge.store.drafts import draft_in

    check(out)
    forms = {
        LAYERS: to_json(report),
        MARKDOWN: markdown(report, context.title),
        HTML: html(report, context),
    }
    with draft_in(out.absolute().parent) as draft:
        for name, content in forms.items():
            (draft / name).write_text(content, encoding="utf-8")
        out.mkdir(parents=True, exist_ok=True)
        for name in forms:
            (draft / name).replace(out / name)


def check(out: Path, *inputs: Path | None) -> None:
    """Refuse a folder that a report can't be written to.

    Args:
        inputs: files and folders that the report is made from.

    Raises:
        ForgeError: see ``write``; a file of the report would take the place of an input.
    """
    if out.exists() and not out.is_dir():
        raise ForgeError(f"{out}: is a file", "give a folder with -o")
    if (out / MANIFEST).exists():
        raise ForgeError(
            f"{out}: is a bundle, whose manifest lists its files", "give another folder with -o"
        )
    sources = [path / LAYERS if path.is_dir() else path for path in inputs if path]
    outfile.spare(sources, [out / name for name in (LAYERS, MARKDOWN, HTML)])


def histograms(table: Path | None) -> list[TensorRange]:
    """Return the histograms of a calibration table, for the page.

    The list is empty without a table, and for a calibration cache, which holds no histograms.
    """
    from trtforge.calibration import ranges
    from trtforge.reporting.page import TensorRange

    if table is None:
        return []
    loaded = ranges.load(table)
    return [
        TensorRange(name, histogram.counts.tolist(), histogram.limit, loaded.amax[name])
        for name, histogram in loaded.histograms.items()
        if name in loaded.amax
    ]


def _bundle(folder: Path) -> tuple[LayerReport, Context]:
    from trtforge.reporting import model
    from trtforge.reporting.page import Context

    path = folder / LAYERS
    if not (folder / MANIFEST).is_file():  # written by `trtforge report -o`
        return model.load(path), Context(folder.resolve().name)
    if LAYERS not in listed_files(folder):
        raise ForgeError(
            f"{folder}: a prepared folder, with no engine in it",
            "build it: `trtforge build FOLDER`",
        )
    report = model.load(path)
    known = catalogue().get(report.engine.device or "")
    table = folder / "calibration.json"
    return report, Context(title(report), known, histograms(table if table.is_file() else None))


def title(report: LayerReport) -> str:
    """Return a title that says which engine this is: model, precision and device."""
    engine = report.engine
    parts = (engine.model or "engine", engine.precision.upper(), _device_title(engine))
    return ", ".join(part for part in parts if part)


def _device_title(engine: EngineInfo) -> str:
    known = catalogue().get(engine.device or "")
    if known:
        return known.title
    if engine.device:
        return engine.device
    return "CPU" if engine.backend == ONNXRUNTIME else ""


def _bundled_graph(folder: Path, report: LayerReport) -> Path:
    """Return the graph in a bundle that its engine was built from."""
    suffix = next(
        (traits.graph_suffix for name, traits in TRAITS.items() if name == report.engine.backend),
        ".onnx",
    )
    return folder / f"{Path(report.engine.model).name}{suffix}"


def _file(path: Path, onnx: Path | None, bundle: LayerReport | None = None) -> LayerReport:
    """Read the layers of a file, and account for the nodes of the graph if it is known.

    Args:
        onnx: the graph that the engine was built from.
        bundle: report of the bundle that contains the file.
    """
    from trtforge.reporting import assemble, inspector, model, rtx_log
    from trtforge.reporting.model import EngineInfo

    if path.suffix == ".onnx":
        return _onnxruntime(path)
    if path.is_file() and _is_engine(path):
        return _assembled(
            inspector.parse(_inspect(path), str(path)), onnx, EngineInfo(backend=DEEPSTREAM)
        )
    text = model.read_text(path)
    if '"trtforge-layers-' in text[:100]:
        report = model.load(path)
        if onnx is None:
            return report
        bare = [layer.model_copy(update={"inferred": []}) for layer in report.layers]
        return assemble.assemble(bare, _origin(onnx), report.engine, report.figures)
    engine = bundle.engine if bundle else EngineInfo()
    figures = bundle.figures if bundle else {}
    if text.lstrip()[:1] in ("{", "["):
        return _assembled(inspector.parse(text, str(path)), onnx, engine, figures)
    if rtx_log.is_log(text):
        return _assembled(rtx_log.parse(text), onnx, engine, figures)
    raise ForgeError(
        f"{path}: neither a list of layers nor a build log of TensorRT-RTX",
        "give a bundle, layers.json, what `trtexec --exportLayerInfo` wrote, or an ONNX model",
    )


def _assembled(
    layers: Sequence[Layer],
    onnx: Path | None,
    engine: EngineInfo,
    figures: dict[str, int] | None = None,
) -> LayerReport:
    from trtforge.reporting import assemble

    if not layers:
        raise ForgeError("the list of layers is empty", "build with DETAILED profiling verbosity")
    inputs = (tensor for layer in layers for tensor in layer.inputs)
    batch = next((tensor.dims[0] for tensor in inputs if len(tensor.dims) == 4), 1)
    if batch > 0 and engine.batch == 1:
        engine = engine.model_copy(update={"batch": batch})
    return assemble.assemble(layers, _origin(onnx) if onnx else None, engine, figures)


def _origin(path: Path) -> Origin:
    import onnx

    from trtforge.graph.model import load
    from trtforge.reporting import origin

    return origin.from_model(onnx.shape_inference.infer_shapes(load(path), data_prop=True))


def _onnxruntime(path: Path) -> LayerReport:
    """Let ONNX Runtime optimise and time a graph."""
    from trtforge.backends import onnxruntime
    from trtforge.graph.edit.nodes import batch_dim, input_size
    from trtforge.graph.model import graph_of, load
    from trtforge.reporting import assemble, ort
    from trtforge.reporting.model import EngineInfo

    graph = graph_of(load(path))
    size, batch = input_size(graph) or (640, 640), batch_dim(graph)
    count = batch if isinstance(batch, int) else 1
    optimised, profile = onnxruntime.profile(path, batch=count, size=size)
    origin = _origin(path)
    engine = EngineInfo(backend=ONNXRUNTIME, model=path.stem, batch=count, size=list(size))
    return assemble.with_times(
        assemble.assemble(ort.layers(optimised, origin), origin, engine), ort.profile(profile)
    )


def _is_engine(path: Path) -> bool:
    with path.open("rb") as stream:
        head = stream.read(64)
    return head[:4] in MAGIC or b"\0" in head


def _inspect(path: Path) -> str:
    from trtforge.backends import tensorrt

    if maker(path) == "TensorRT-RTX":
        raise MachineError(
            f"{path}: TensorRT-RTX lists the layers of an engine only during the build",
            "give the bundle, which holds layers.json",
        )
    return tensorrt.inspect(path)


def _times(text: str, origin: str) -> list[tuple[str, float]]:
    """Return layer names and times from a profile of ONNX Runtime or TensorRT.

    Args:
        text: the profile's JSON.
        origin: path of the profile, for messages.
    """
    from trtforge.reporting import inspector, ort

    try:
        document = load_json(text, repeats=True)
    except DocumentError:
        document = None
    return ort.profile(text) if ort.is_profile(document) else inspector.profile(text, origin)


def _accuracy(path: Path) -> VerificationJson:
    from trtforge.reporting.model import read_text

    try:
        document = cast("VerificationJson", load_json(read_text(path)))
        engines, accuracy = document["engines"], document["accuracy"]
        if len(engines) != len(accuracy):
            raise ValueError("engines and accuracy differ in length")
        if not all(isinstance(figure, (int, float)) for figure in accuracy):
            raise ValueError("accuracy is no list of numbers")
    except (ValueError, KeyError, TypeError) as error:
        raise ForgeError(
            f"{path}: not what `trtforge verify --json` writes ({error})",
            "give its output with --accuracy",
        ) from error
    return document
