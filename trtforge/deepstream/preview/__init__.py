"""Show what DeepStream will display, without DeepStream.

The ONNX file runs in ONNX Runtime, with nvinfer's arithmetic before and after it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trtforge.bundle.folder import MANIFEST
from trtforge.bundle.read import read_prepared
from trtforge.calibration import images as pictures
from trtforge.deepstream.format.labels import labels
from trtforge.deepstream.parser.source import FUNCTION
from trtforge.deepstream.preview import objects as preview_objects
from trtforge.deepstream.preview import settings as preview_config
from trtforge.deepstream.preview.settings import Settings
from trtforge.errors import ForgeError
from trtforge.evaluate.detections import Objects
from trtforge.graph.nms import STOCK_PARSER

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs
    import onnxruntime
    from PIL import Image

CONFIG = "pgie_config.txt"
Parser = Callable[[preview_objects.Outputs, tuple[int, int], np.ndarray], preview_objects.Found]


@dataclass(frozen=True)
class Preview:
    """A detector as nvinfer would run it.

    Attributes:
        find: the objects that nvinfer attaches to an image that is one frame of the muxer, cut to
            it, best first; and how many it drops, by the reason.
        names: of the classes.
    """

    find: Callable[[Image.Image], tuple[Objects, Counter[str]]]
    names: list[str]


def open_bundle(folder: Path) -> Preview:
    """Open the detector of a bundle or prepared folder, as its ``pgie_config.txt`` says.

    Raises:
        ForgeError: a file is missing or not what the manifest lists; the configuration is wrong, or
            does what a preview does not know; nvinfer would not run the model with it.
    """
    from trtforge.evaluate.models import reference_session
    from trtforge.graph.model import graph_of, load, model_of
    from trtforge.graph.nms.exchange import exchange_plugin

    head = read_prepared(folder).recipe.head if (folder / MANIFEST).is_file() else "auto"
    settings = preview_config.read(folder / CONFIG)
    model = load(settings.onnx)
    graph = graph_of(model)
    batch, size = _input(graph, settings)
    parser = _parser(graph, settings, head)
    if exchange_plugin(graph):
        model = model_of(graph)
    session = reference_session(model)
    names = labels(settings.labels, None)[0] if settings.labels else []

    def find(image: Image.Image) -> tuple[Objects, Counter[str]]:
        return _find(image, session, settings, parser, size, batch)

    return Preview(find, names)


def _find(
    image: Image.Image,
    session: onnxruntime.InferenceSession,
    settings: Settings,
    parser: Parser,
    size: tuple[int, int],
    batch: int,
) -> tuple[Objects, Counter[str]]:
    from trtforge.backends.onnxruntime import run

    # nvinfer reads rows and columns in pairs, and drops an odd last one.
    width, height = image.width & ~1, image.height & ~1
    if not width or not height:
        raise ForgeError(
            f"an image of {image.width}x{image.height} pixels is no frame", "give a larger one"
        )
    spec = settings.preprocess
    pixels = pictures.letterbox(image.crop((0, 0, width, height)), spec, size, settings.nearest)
    planes = pictures.normalise(pixels, spec)
    outputs = {name: each[0] for name, each in run(session, np.stack([planes] * batch)).items()}
    thresholds = np.array([each.pre_cluster for each in settings.classes], np.float32)
    found = preview_objects.cluster(
        parser(outputs, size, thresholds), settings.classes, settings.cluster
    )
    place = pictures.fit(height, width, size, spec.letterbox)
    shown, dropped = preview_objects.to_frame(found, place, (height, width), settings)
    return _objects(shown, image), dropped


def _objects(found: preview_objects.Found, image: Image.Image) -> Objects:
    """Return the objects that nvdsosd can draw, inside the image, best first."""
    order = np.argsort(-found.scores, kind="stable")
    boxes, limit = found.boxes[order], np.array([image.width, image.height] * 2, np.float64)
    corners = np.clip(np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1), 0, limit)
    return Objects(corners, found.scores[order].astype(np.float64), found.classes[order])


def _input(graph: gs.Graph, settings: Settings) -> tuple[int, tuple[int, int]]:
    """Images to a run, 1 where it is dynamic; and height and width in pixels."""
    from trtforge.graph.edit.nodes import first_image, input_size
    from trtforge.graph.tensors import sides

    image = first_image(graph)
    if image is None or len(graph.inputs) != 1 or sides(image)[1] != 3:
        raise ForgeError(
            f"{settings.onnx}: no model of one input of shape (N, 3, H, W)",
            "a preview runs no other",
        )
    model_size = input_size(graph)
    size = settings.size or model_size
    if size is None:
        raise ForgeError(
            f"{settings.onnx}: height and width are dynamic, and there is no infer-dims",
            "add infer-dims=3;H;W: nvinfer would refuse the model",
        )
    if model_size and model_size != size:
        raise ForgeError(
            f"{settings.onnx}: takes {model_size[0]}x{model_size[1]}, but infer-dims says {size[0]}x{size[1]}",
            "set infer-dims to what the model takes",
        )
    batch = sides(image)[0]
    return batch if isinstance(batch, int) and batch > 0 else 1, size


def _parser(graph: gs.Graph, settings: Settings, head: str) -> Parser:
    from trtforge.graph.detection import recognise

    if settings.parser == STOCK_PARSER:
        return preview_objects.tf_ssd
    if settings.parser != FUNCTION:
        raise ForgeError(
            f"the output parser {settings.parser or 'of nvinfer itself'!r} can't be previewed",
            f"a preview knows {STOCK_PARSER} and {FUNCTION}",
        )
    detection = recognise(graph, None if head in ("auto", "none") else head)
    if detection is None or not detection.is_plain:
        raise ForgeError(
            f"{settings.onnx}: no decoded boxes and scores for {FUNCTION}",
            f"a graph with NMS inside goes with {STOCK_PARSER}",
        )
    return lambda outputs, size, thresholds: preview_objects.raw_heads(
        outputs, detection, size, thresholds
    )
