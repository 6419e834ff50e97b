"""Write a C++ output parser for a detector without NMS in its graph.

DeepStream then removes duplicate boxes with its own clustering.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import TypedDict

from trtforge.bundle.read import read_prepared
from trtforge.deepstream.format.quoted import quoted
from trtforge.errors import ForgeError
from trtforge.recipe import Nms, Recipe
from trtforge.store.drafts import draft_in
from trtforge.traits import DEEPSTREAM

if TYPE_CHECKING:
    from trtforge.graph.detection import Detection

FUNCTION = "NvDsInferParseTrtforge"
SOURCE, LIBRARY, MAKEFILE = "nvdsinfer_trtforge.cpp", "libnvdsinfer_trtforge.so", "Makefile"
LABELS = "labels.txt"  # as bundles have it


class ParserJson(TypedDict):
    """The document that ``trtforge deepstream parser --json`` prints."""

    source: str
    makefile: str
    keys: dict[str, dict[str, str]]
    why: str


def write(model: Path, out: Path) -> ParserJson:
    """Write source and Makefile for the model of a bundle, or an ONNX file, into a folder.

    Args:
        model: bundle or prepared folder whose DeepStream form has no NMS (``--nms none``), or such
            an ONNX file.
        out: folder; files of the same names in it are replaced.

    Returns:
        ``source``, ``makefile``; ``keys``: what the nvinfer configuration has to say, by group;
        ``why``: the form.

    Raises:
        ForgeError: no decoded detector, or suppression across classes, which DeepStream's
            clustering can't do.
    """
    from trtforge.graph.detection import existing_nms, recognise
    from trtforge.graph.model import graph_of, load

    file, recipe, names = model, Recipe(), None
    if model.is_dir():
        ready = read_prepared(model)
        file, recipe, names = ready.graphs[DEEPSTREAM].path, ready.recipe, LABELS
    graph = graph_of(load(file))
    if existing_nms(graph) is not None:
        raise ForgeError(
            f"{file}: NMS is inside the graph, so there is nothing to cluster",
            "prepare the model with --nms none",
        )
    if recipe.nms.class_agnostic:
        raise ForgeError(
            f"{model}: suppresses across classes, and DeepStream clusters each class by itself",
            "keep NMS in the graph, or drop --class-agnostic",
        )
    detection = recognise(
        graph, None if recipe.head in ("auto", "none") else recipe.head, recipe.decode
    )
    if detection is None or not detection.is_plain:
        found = f", but {detection.why}" if detection else ""
        raise ForgeError(
            f"{file}: no decoded boxes and final scores in pixels among its outputs{found}",
            "export the model with its decode, or build with --nms deepstream",
        )
    wanted = keys(detection, recipe.nms, names)
    if out.exists() and not out.is_dir():
        raise ForgeError(f"{out}: is a file", "give a folder with -o")
    with draft_in(out.absolute().parent) as draft:
        (draft / SOURCE).write_text(source(detection, wanted), encoding="ascii")
        (draft / MAKEFILE).write_text(makefile(), encoding="ascii")
        out.mkdir(parents=True, exist_ok=True)
        for made in draft.iterdir():
            made.replace(out / made.name)
    return {
        "source": str(out / SOURCE),
        "makefile": str(out / MAKEFILE),
        "keys": wanted,
        "why": detection.why,
    }


def keys(detection: Detection, nms: Nms, names: str | None) -> dict[str, dict[str, str]]:
    """Return what an nvinfer configuration needs for this parser, by group.

    Args:
        nms: thresholds for DeepStream's clustering.
        names: file of labels beside the configuration, if there is one.
    """
    return {
        "property": {
            "network-type": "0",
            "num-detected-classes": str(detection.classes),
            **({"labelfile-path": names} if names else {}),
            "parse-bbox-func-name": FUNCTION,
            "custom-lib-path": LIBRARY,
            "cluster-mode": "2",
            "crop-objects-to-roi-boundary": "1",
        },
        "class-attrs-all": {
            "pre-cluster-threshold": f"{nms.score:g}",
            "nms-iou-threshold": f"{nms.iou:g}",
            "topk": str(nms.max_det),
        },
    }


def source(detection: Detection, wanted: Mapping[str, Mapping[str, str]]) -> str:
    """Return the C++ file: ASCII that compiles, whatever the model's tensors are called.

    Args:
        wanted: the keys, for a comment in it.
    """
    names = [quoted(name) for name in detection.outputs]
    return _render(
        "source.cpp.j2",
        function=FUNCTION,
        library=LIBRARY,
        keys=wanted,
        form=detection.form,
        boxes_name=names[0],
        scores_name=names[-1],
        apart=len(names) > 1,
        classes=detection.classes,
        first=detection.first_class,
        columns=detection.axes[0] == 1,
        centre=detection.coding == "centre",
    )


def makefile() -> str:
    return _render("Makefile.j2", source=SOURCE, library=LIBRARY)


def _render(name: str, **values: Any) -> str:
    from jinja2 import Environment, StrictUndefined

    text = resources.files("trtforge.deepstream.parser").joinpath(name).read_text("utf-8")
    # Nothing of a page: what comes in is numbers and literals made by quoted().
    page = Environment(
        autoescape=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    ).from_string(text)
    return str(page.render(**values))
