"""Write what nvinfer, DeepStream's inference element, has to know about a network.

The keys are written for what nvinfer's parsers do. Booleans are 0 and 1, because its YAML takes
nothing else. Lists are separated by semicolons. Paths are relative, because nvinfer mangles a missing
absolute path. ``cluster-mode`` is always written, because without it nvinfer uses NMS with topk 20.

INT8 reaches DeepStream in three ways. ``network-mode=1`` without a cache is not one of them: nvinfer
silently turns it into FP16.

1. The strongly typed Q/DQ graph with ``network-mode=0``: DeepStream 9 builds it itself.
2. The FP32 graph with ``int8-calib-file`` and ``network-mode=1`` (the rest in FP32) or 3 (the rest in
   FP16): any DeepStream builds it.
3. A prebuilt engine of the Q/DQ graph, without ``onnx-file``: for older versions, which can't build
   the graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from trtforge.deepstream.config.graph import Kind
from trtforge.deepstream.format.config import Config
from trtforge.deepstream.format.keys import Value, version
from trtforge.errors import ForgeError
from trtforge.recipe import Preprocess

STOCK_PARSERS = "/opt/nvidia/deepstream/deepstream/lib/libnvds_infercustomparser.so"
STRONGLY_TYPED_SINCE = (9, 0)  # no older version is known to read the key
CROP_SINCE = (6, 4)  # the oldest whose reference has the property
LETTERBOX = {"symmetric": (True, True), "top-left": (True, False), "none": (False, False)}
NETWORK_TYPE: dict[Kind, int] = {
    "detector": 0,
    "classifier": 1,
    "segmentation": 2,
    "instance-segmentation": 3,
    "tensors": 100,
}
# Names of the values 0 to 3 of network-mode in the file names of engines.
MODE_NAMES = ("fp32", "int8", "fp16", "best")
PARSER_KEYS: dict[Kind, str] = {
    "detector": "parse-bbox-func-name",
    "classifier": "parse-classifier-func-name",
    "segmentation": "parse-segmentation-func-name",
    "instance-segmentation": "parse-bbox-instance-mask-func-name",
}
LEAST_SCORE = 0.001  # rows that hold no object have score 0, and must be under the threshold


@dataclass(frozen=True)
class Parser:
    """A function of a library that turns output tensors into objects.

    Attributes:
        clustered: boxes come suppressed already; otherwise nvinfer's own NMS does it.
    """

    function: str
    library: str = STOCK_PARSERS
    clustered: bool = True


@dataclass(frozen=True)
class Objects:
    """The objects that a secondary network looks at.

    Attributes:
        gie: unique id of the network that finds them.
        classes: their class ids; all if empty.
        smallest: width and height in pixels of the smallest object; 0 is no limit.
    """

    gie: int = 1
    classes: tuple[int, ...] = ()
    smallest: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Network:
    """One network.

    Attributes:
        kind: what comes out of it.
        onnx, labels: paths, relative to the configuration.
        precision: fp32, fp16 or int8, or ``mixed`` for a graph that came typed, as the graph itself
            says.
        batch: largest.
        size: height and width in pixels.
        channels: of the image: 3, or 1 for grey.
        preprocess: the recipe's.
        classes: number of classes.
        parser: for detectors and instance segmentation; None where nvinfer's own reads the outputs.
        score: least score of an object; of a detector with NMS inside the graph's own.
        iou: greatest overlap, where nvinfer suppresses boxes itself.
        thresholds: least score by class, where it is another.
        cache: TensorRT's calibration table; ``onnx`` is then the FP32 graph.
        rest: precision of what the cache leaves float: fp32 or fp16.
        implicit: the graph is FP32, and nvinfer's own build makes it ``precision``.
        dla: core that the engine is for; None is the GPU.
        deepstream: version that will read it.
        unique_id: of this network in its pipeline.
        objects: for a secondary network.
        channels_last: of a segmentation's output.
        logits: a classifier's outputs are no probabilities.
    """

    kind: Kind
    onnx: str
    precision: str
    batch: int
    size: tuple[int, int]
    preprocess: Preprocess
    deepstream: str
    labels: str = "labels.txt"
    channels: int = 3
    classes: int | None = None
    parser: Parser | None = None
    score: float = 0.25
    iou: float = 0.45
    thresholds: Mapping[int, float] = field(default_factory=dict)
    cache: str | None = None
    rest: str = "fp16"
    implicit: bool = False
    dla: int | None = None
    unique_id: int = 1
    objects: Objects | None = None
    channels_last: bool = False
    logits: bool = False

    @property
    def typed(self) -> bool:
        """True if the graph itself fixes the precisions."""
        return self.precision != "fp32" and self.cache is None and not self.implicit

    @property
    def mode(self) -> int:
        """The ``network-mode``: 0 FP32, 1 INT8, 2 FP16, 3 INT8 and FP16."""
        if self.cache is None:
            return 2 if self.implicit else 0
        return 3 if self.rest == "fp16" else 1

    @property
    def engine(self) -> str:
        """The name of the engine that nvinfer looks for, beside the ONNX file."""
        return engine_name(self.onnx, self.batch, MODE_NAMES[self.mode], self.dla)

    @property
    def builds(self) -> bool:
        """This DeepStream can build the graph itself, as it is meant."""
        return not self.typed or version(self.deepstream) >= STRONGLY_TYPED_SINCE


def engine_name(onnx: str, batch: int, mode: str = "fp32", dla: int | None = None) -> str:
    """Return the name under which nvinfer looks for an engine, beside the ONNX file.

    Args:
        mode: what nvinfer derives from network-mode; every strongly typed graph has fp32, whatever
            its precision.
    """
    return f"{onnx}_b{batch}_{'gpu0' if dla is None else f'dla{dla}'}_{mode}.engine"


def config(network: Network) -> tuple[Config, list[str]]:
    """Sections with their keys in order, and comments on what no key can say.

    Raises:
        ForgeError: nvinfer has no way to run such a network.
    """
    _check(network)
    properties = _model(network) | _preprocessing(network) | _element(network) | _outputs(network)
    sections: Config = {"property": properties}
    if network.kind in ("detector", "instance-segmentation"):
        sections |= _thresholds(network)
    return sections, _comments(network)


def _check(network: Network) -> None:
    if network.kind in ("detector", "instance-segmentation") and network.parser is None:
        raise ForgeError(
            f"{network.onnx}: no parser of DeepStream's reads its outputs",
            "name a function that does with --parser and --parser-lib, or give --tensor-meta",
        )
    if network.kind == "instance-segmentation" and network.parser and not network.parser.clustered:
        raise ForgeError(
            "nvinfer suppresses no masks: cluster-mode must be 4", "suppress them in the graph"
        )
    if network.channels not in (1, 3):
        raise ForgeError(
            f"{network.onnx}: reads {network.channels} channels; nvinfer makes 3, or 1 for grey",
            "export it for colour images",
        )
    if network.channels == 1 and len(set(network.preprocess.offsets)) > 1:
        raise ForgeError(
            f"{network.onnx}: reads grey images, but the recipe has different offsets",
            "give one offset",
        )
    low = [limit for limit in network.thresholds.values() if limit < network.score]
    if low and network.parser and network.parser.clustered:
        raise ForgeError(
            f"threshold {low[0]:g}: the graph itself drops what scores less than {network.score:g}",
            f"patch the graph with --score {low[0]:g}",
        )


def _model(network: Network) -> dict[str, Value]:
    found: dict[str, Value] = {"gpu-id": 0, "gie-unique-id": network.unique_id}
    if network.builds:
        found["onnx-file"] = network.onnx
    found["model-engine-file"] = network.engine
    if network.cache:
        found["int8-calib-file"] = network.cache
    found |= {"batch-size": network.batch, "network-mode": network.mode}
    if network.typed and network.builds:
        found["strongly-typed"] = True
    if network.dla is not None:
        found |= {"enable-dla": True, "use-dla-core": network.dla}
    return found | {"infer-dims": (network.channels, *network.size)}


def _preprocessing(network: Network) -> dict[str, Value]:
    recipe = network.preprocess
    if recipe.std:
        raise ForgeError(
            "nvinfer has one scale for all channels, and the model a deviation for each",
            "`trtforge build` folds it into the graph, as does `trtforge patch --fold-normalization`",
        )
    keep_aspect, symmetric = LETTERBOX[recipe.letterbox]
    color = 1 if recipe.color == "bgr" else 0
    if network.channels == 1:
        color = 2  # grey
    found: dict[str, Value] = {"net-scale-factor": recipe.scale}
    if any(recipe.offsets):
        found["offsets"] = recipe.offsets[: network.channels]
    return found | {
        "model-color-format": color,
        "maintain-aspect-ratio": keep_aspect,
        "symmetric-padding": symmetric,
        "scaling-filter": 1,
    }


def _element(network: Network) -> dict[str, Value]:
    found: dict[str, Value] = {"process-mode": 1 if network.objects is None else 2}
    if network.objects:
        found["operate-on-gie-id"] = network.objects.gie
        if network.objects.classes:
            found["operate-on-class-ids"] = network.objects.classes
        for side, pixels in zip(("width", "height"), network.objects.smallest, strict=True):
            if pixels:
                found[f"input-object-min-{side}"] = pixels
    return found | {"network-type": NETWORK_TYPE[network.kind]}


def _outputs(network: Network) -> dict[str, Value]:
    if network.kind == "tensors":
        return {"cluster-mode": 4, "output-tensor-meta": True}
    found: dict[str, Value] = {"labelfile-path": network.labels}
    if network.kind != "classifier":
        found["num-detected-classes"] = network.classes or 0
    if network.kind in ("detector", "instance-segmentation"):
        found["cluster-mode"] = 4 if network.parser and network.parser.clustered else 2
    if network.kind == "instance-segmentation":
        found["output-instance-mask"] = True
    if network.kind == "classifier":
        found["classifier-threshold"] = 0.0 if network.logits else network.score
    if network.kind == "segmentation":
        found |= {
            "segmentation-threshold": 0.0,
            "segmentation-output-order": int(network.channels_last),
        }
    if network.kind == "detector" and version(network.deepstream) >= CROP_SINCE:
        # nvinfer drops an object that reaches below the frame, which the bars of a letterbox make
        # easy.
        found["crop-objects-to-roi-boundary"] = True
    if network.parser:
        found |= {
            PARSER_KEYS[network.kind]: network.parser.function,
            "custom-lib-path": network.parser.library,
        }
    return found


def _thresholds(network: Network) -> Config:
    every: dict[str, Value] = {"pre-cluster-threshold": max(network.score, LEAST_SCORE)}
    if network.parser and not network.parser.clustered:
        every["nms-iou-threshold"] = network.iou
    return {
        "class-attrs-all": every,
        **{
            f"class-attrs-{number}": {"pre-cluster-threshold": max(limit, LEAST_SCORE)}
            for number, limit in sorted(network.thresholds.items())
        },
    }


def _comments(network: Network) -> list[str]:
    return [
        f"For DeepStream {network.deepstream}, written by trtforge.",
        *_precision_comments(network),
        *_preprocessing_comments(network),
        *_output_comments(network),
    ]


def _precision_comments(network: Network) -> list[str]:
    if network.cache:
        return [
            f"INT8 by calibration cache: nvinfer builds the FP32 graph with it, the rest {network.rest.upper()}.",
            "Without a readable cache nvinfer would silently build FP16. TensorRT 11 has none.",
        ]
    if not network.typed:
        return []
    what = "Precision" if network.precision == "mixed" else network.precision.upper()
    if network.builds:
        return [
            f"{what} is in the graph itself, hence network-mode 0 and strongly-typed. nvinfer names engines after",
            f"their network-mode: {network.engine} is not FP32 inside.",
        ]
    return [
        f"{what} is in the graph itself, and DeepStream {network.deepstream} is not known to build such graphs:",
        f"build {network.engine} on the target with trtforge. nvinfer names an",
        "engine after its network-mode: it is not FP32 inside. No onnx-file stands here, from which nvinfer would",
        "build something else if the engine does not load.",
    ]


def _preprocessing_comments(network: Network) -> list[str]:
    found = []
    if network.preprocess.padding and network.preprocess.letterbox != "none":
        found.append(
            f"nvinfer pads with 0, the model was calibrated with {network.preprocess.padding}: frames of "
            "another aspect ratio look slightly different."
        )
    if any(network.preprocess.offsets):
        found.append(
            "input = net-scale-factor * (pixel - offset), offsets in 0..255 and in the network's channel "
            "order; a deviation for each channel would have to be part of the graph."
        )
    return found


def _output_comments(network: Network) -> list[str]:
    if network.kind == "tensors":
        return [
            "The outputs are attached as they are (NvDsInferTensorMeta), for a parser of your own."
        ]
    if network.kind == "classifier" and network.logits:
        return [
            "The outputs are logits, no probabilities: the greatest one above 0 wins, and no threshold makes sense."
        ]
    if network.kind == "instance-segmentation":
        return ["The parser must fill a mask for each object; DeepStream has none for YOLO's."]
    return []
