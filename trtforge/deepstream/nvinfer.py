"""Configuration of nvinfer, DeepStream's inference element, in both of its dialects.

What is written here follows what nvinfer's parsers do: booleans are 0 and 1 (its YAML takes nothing else), lists are
separated by semicolons in both dialects, paths are relative (a missing absolute one is mangled), and ``cluster-mode``
is always given (left out, it means NMS with topk 20).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trtforge.recipe import Preprocess

Value = str | int | float | bool | Sequence[float]
Config = dict[str, dict[str, Value]]

STOCK_PARSERS = "/opt/nvidia/deepstream/deepstream/lib/libnvds_infercustomparser.so"
STRONGLY_TYPED_SINCE = (9, 0)  # no older version is known to read the key
MODE_NAMES = ("fp32", "int8", "fp16", "best")  # of network-mode, as they stand in the names of engines
LETTERBOX = {"symmetric": (True, True), "top-left": (True, False), "none": (False, False)}


@dataclass(frozen=True)
class Primary:
    """What nvinfer has to know about one model.

    Attributes:
        onnx, labels: file names beside the configuration.
        precision: fp32, fp16 or int8, or ``mixed`` for a model that came typed, as the graph itself says.
        batch: largest.
        size: height and width in pixels.
        preprocess: the recipe's.
        classes: number of classes; None hands out raw tensors instead of objects.
        parser: the stock library's function that reads the outputs.
        score: least score of an object, as in the graph.
        deepstream: version that will read it.
        weak: the graph is FP32, and nvinfer's own build makes it ``precision``.
        cache: TensorRT's calibration table, for weak INT8.
        rest: precision of what the cache leaves float: fp32 or fp16.
    """

    onnx: str
    labels: str
    precision: str
    batch: int
    size: tuple[int, int]
    preprocess: Preprocess
    classes: int | None
    parser: str | None
    score: float
    deepstream: str
    weak: bool = False
    cache: str | None = None
    rest: str = "fp16"

    @property
    def mode(self) -> int:
        """``network-mode``: 0 FP32, 1 INT8, 2 FP16, 3 INT8 and FP16."""
        if not self.weak:
            return 0
        return 2 if self.cache is None else 3 if self.rest == "fp16" else 1


def engine_name(onnx: str, batch: int, mode: str = "fp32") -> str:
    """The name under which nvinfer looks for an engine, beside the ONNX file.

    Args:
        mode: what nvinfer derives from network-mode; every strongly typed graph has fp32, whatever its precision.
    """
    return f"{onnx}_b{batch}_gpu0_{mode}.engine"


def config(model: Primary) -> tuple[Config, list[str]]:
    """Sections with their keys in order, and comments on what no key can say."""
    keep_aspect, symmetric = LETTERBOX[model.preprocess.letterbox]
    typed = model.precision != "fp32" and not model.weak
    knows_typed = _version(model.deepstream) >= STRONGLY_TYPED_SINCE
    detector = model.classes is not None and model.parser is not None
    properties: dict[str, Value] = {
        "gpu-id": 0,
        "gie-unique-id": 1,
        "onnx-file": model.onnx,
        "model-engine-file": engine_name(model.onnx, model.batch, MODE_NAMES[model.mode]),
        **({"int8-calib-file": model.cache} if model.cache else {}),
        "batch-size": model.batch,
        "network-mode": model.mode,
        **({"strongly-typed": True} if typed and knows_typed else {}),
        "infer-dims": (3, *model.size),
        "net-scale-factor": model.preprocess.scale,
        **({"offsets": model.preprocess.offsets} if any(model.preprocess.offsets) else {}),
        "model-color-format": 1 if model.preprocess.color == "bgr" else 0,
        "maintain-aspect-ratio": keep_aspect,
        "symmetric-padding": symmetric,
        "scaling-filter": 1,
        "process-mode": 1,
        "network-type": 0 if detector else 100,
    }
    if detector:
        properties |= {
            "num-detected-classes": model.classes or 0,
            "labelfile-path": model.labels,
            "cluster-mode": 4,
            "parse-bbox-func-name": model.parser or "",
            "custom-lib-path": STOCK_PARSERS,
        }
    else:
        properties |= {"cluster-mode": 4, "output-tensor-meta": True}
    sections: Config = {"property": properties}
    if detector:
        # The parser drops nothing by itself but what lies under this; rows that hold no object have score 0.
        sections["class-attrs-all"] = {"pre-cluster-threshold": max(model.score, 0.001)}
    return sections, _comments(model, typed, knows_typed, detector)


def _comments(model: Primary, typed: bool, knows_typed: bool, detector: bool) -> list[str]:
    comments = [f"For DeepStream {model.deepstream}, written by trtforge."]
    if model.cache:
        comments.append(f"INT8 by calibration cache: nvinfer builds the FP32 graph with it, the rest "
                        f"{model.rest.upper()}. Without a readable cache it would silently build FP16.")  # fmt: skip
    if typed and knows_typed:
        comments.append(f"The graph itself says which tensors are {model.precision.upper()}: hence network-mode 0 and "
                        "strongly-typed, and fp32 in the engine's name.")  # fmt: skip
    elif typed:
        comments.append(f"This DeepStream can't build a strongly typed {model.precision.upper()} graph itself: build "
                        "the engine on the target with trtforge.")  # fmt: skip
    if model.preprocess.padding:
        comments.append(f"nvinfer pads with 0, the model was calibrated with {model.preprocess.padding}: frames of "
                        "another aspect ratio look slightly different.")  # fmt: skip
    if not detector:
        comments.append("No decoded detector: the raw outputs are attached to each frame (NvDsInferTensorMeta).")
    return comments


def ini(sections: Config, comments: Sequence[str] = ()) -> str:
    """GLib key file: only '#' starts a comment, and never behind a value."""
    lines = [f"# {comment}" for comment in comments]
    for name, keys in sections.items():
        lines += ["", f"[{name}]", *(f"{key}={_text(value)}" for key, value in keys.items())]
    return "\n".join(lines).strip() + "\n"


def yaml(sections: Mapping[str, Mapping[str, Value]], comments: Sequence[str] = ()) -> str:
    """nvinfer's YAML: scalars only."""
    lines = [f"# {comment}" for comment in comments]
    for name, keys in sections.items():
        lines += [f"{name}:", *(f"  {key}: {_text(value)}" for key, value in keys.items())]
    return "\n".join(lines) + "\n"


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, (str, int)):
        return str(value)
    if isinstance(value, float):
        return f"{value:.10g}"
    return ";".join(_text(item) for item in value)


def _version(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor.split(".")[0] or 0) if minor else 0
