"""Read the settings that a preview needs from an nvinfer configuration, with nvinfer's defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trtforge.deepstream.format.dialects import read as read_document
from trtforge.deepstream.format.secrets import redact
from trtforge.errors import ForgeError
from trtforge.recipe import Preprocess

MAX_CLASSES = 10_000
# By maintain-aspect-ratio and symmetric-padding.
LETTERBOX = {(True, True): "symmetric", (True, False): "top-left"}
COLORS = {0: "rgb", 1: "bgr"}  # model-color-format
# scaling-filter; its default, 6, takes the nearest pixel too.
FILTERS = {0: "nearest", 1: "bilinear", 6: "nearest"}
# cluster-mode. DeepStream is built without GROUP_RECTANGLES: it does NMS in its place, always with
# the IoU and top-k below, whatever the file says.
GROUP_RECTANGLES, NMS, NONE = 0, 2, 4
GROUPED_IOU, GROUPED_TOPK = 0.5, 20
Keys = Mapping[str, str]  # the keys of one group with their values as text


@dataclass(frozen=True)
class ClassAttributes:
    """The thresholds of one class; sizes are in pixels of the frame, a maximum of 0 is no limit."""

    pre_cluster: float = 0.2
    post_cluster: float = 0.0
    iou: float = 0.3
    topk: int = -1
    min_width: int = 0
    min_height: int = 0
    max_width: int = 0
    max_height: int = 0
    roi_top: int = 0
    roi_bottom: int = 0


@dataclass(frozen=True)
class Settings:
    """The configuration of one detector.

    Attributes:
        onnx: model file.
        labels: file of class names; None if the configuration names none.
        size: height and width from infer-dims; None: the model's.
        preprocess: preprocessing as a recipe describes it; nvinfer always pads with black.
        nearest: scale with the nearest pixel; otherwise bilinear.
        parser: name of the output parser, empty for the built-in one.
        cluster: cluster-mode, NMS or NONE.
        classes: attributes of each class, num-detected-classes of them.
        hidden: classes that filter-out-class-ids drops.
        crop: cut objects to the frame; otherwise nvinfer drops objects that reach below it.
    """

    onnx: Path
    labels: Path | None
    size: tuple[int, int] | None
    preprocess: Preprocess
    nearest: bool
    parser: str
    cluster: int
    classes: tuple[ClassAttributes, ...]
    hidden: frozenset[int]
    crop: bool


def read_keys(path: Path) -> dict[str, dict[str, str]]:
    """Return the keys of every group with their values as text; the last of two equal keys counts.

    Raises:
        ForgeError: the file is missing, or nvinfer's parser would refuse it.
    """
    document = read_document(path)
    if document.faults:
        fault = document.faults[0]
        raise ForgeError(
            f"{path}:{fault.line}: {redact(fault.problem)}",
            "run `trtforge deepstream lint` for details",
        )
    groups: dict[str, dict[str, str]] = {}
    for entry in document.effective():
        groups.setdefault(entry.group, {})[entry.key] = entry.text.strip()
    return groups


def read(path: Path) -> Settings:
    """Read the configuration of a detector.

    Raises:
        ForgeError: a value can't be parsed, a file is missing or lies outside the folder, or the
            configuration needs what the preview does not support: another kind of network,
            DBSCAN, a mean image.
    """
    groups = read_keys(path)
    if "property" not in groups:
        raise ForgeError(f"{path}: no [property] group", "nvinfer needs one")
    try:
        return _settings(path, groups)
    except ValueError as error:
        hint = "correct the value: nvinfer refuses it too"
        raise ForgeError(f"{path}: {redact(str(error))}", hint) from error


def _settings(path: Path, groups: Mapping[str, Keys]) -> Settings:
    keys = groups["property"]
    _check_supported(path, keys)
    count = _integer(keys, "num-detected-classes", 0)
    if not 0 < count <= MAX_CLASSES:
        raise ForgeError(
            f"{path}: num-detected-classes is {count}: nvinfer drops the objects of higher classes",
            f"give the number of classes of the model, 1 to {MAX_CLASSES}",
        )
    dims = _numbers(keys, "infer-dims")
    cluster = _integer(keys, "cluster-mode", GROUP_RECTANGLES)
    attributes = tuple(_attributes(groups, label, cluster) for label in range(count))
    return Settings(
        onnx=_referenced_file(path, keys, "onnx-file"),
        labels=_referenced_file(path, keys, "labelfile-path") if "labelfile-path" in keys else None,
        size=(int(dims[1]), int(dims[2])) if len(dims) == 3 else None,
        preprocess=_preprocess(path, keys),
        nearest=FILTERS[_integer(keys, "scaling-filter", 6)] == "nearest",
        parser=keys.get("parse-bbox-func-name", "") if keys.get("custom-lib-path") else "",
        cluster=NONE if cluster == NONE else NMS,
        classes=attributes,
        hidden=frozenset(int(label) for label in _numbers(keys, "filter-out-class-ids")),
        crop=_boolean(keys, "crop-objects-to-roi-boundary"),
    )


def _check_supported(path: Path, keys: Keys) -> None:
    # Each key with its default, the values that the preview supports, and a name for these.
    supported: dict[str, tuple[int, tuple[int, ...], str]] = {
        "network-type": (0, (0,), "a detector"),
        "process-mode": (1, (1,), "whole frames"),
        "cluster-mode": (
            GROUP_RECTANGLES,
            (GROUP_RECTANGLES, NMS, NONE),
            "cluster-mode 2 (NMS) or 4 (none)",
        ),
        "network-input-order": (0, (0,), "NCHW"),
        "model-color-format": (0, tuple(COLORS), "three colours"),
        "scaling-filter": (6, tuple(FILTERS), "scaling-filter 0 (nearest) or 1 (bilinear)"),
        "input-tensor-from-meta": (0, (0,), "nvinfer's own preprocessing"),
    }
    for key, (default, allowed, description) in supported.items():
        value = (
            _boolean(keys, key) if key == "input-tensor-from-meta" else _integer(keys, key, default)
        )
        if value not in allowed:
            raise ForgeError(
                f"{path}: {key}={keys[key]} can't be previewed",
                f"a preview supports only {description}",
            )
    if keys.get("mean-file"):
        raise ForgeError(
            f"{path}: mean-file can't be previewed", "a preview supports offsets instead"
        )


def _preprocess(path: Path, keys: Keys) -> Preprocess:
    scale, offsets = _float(keys, "net-scale-factor", 1.0), _numbers(keys, "offsets")
    if offsets and len(offsets) != 3:
        raise ForgeError(
            f"{path}: offsets has {len(offsets)} values for 3 channels",
            "give three values; nvinfer refuses any other number",
        )
    if scale <= 0:  # nvinfer then leaves the pixels as they are
        scale, offsets = 1.0, []
    aspect, symmetric = _boolean(keys, "maintain-aspect-ratio"), _boolean(keys, "symmetric-padding")
    return Preprocess.model_validate(
        {
            "scale": scale,
            "offsets": offsets or (0, 0, 0),
            "color": COLORS[_integer(keys, "model-color-format", 0)],
            "letterbox": LETTERBOX.get((aspect, symmetric), "none"),
            "padding": 0,
        }
    )


def _attributes(groups: Mapping[str, Keys], label: int, cluster: int) -> ClassAttributes:
    keys = {**groups.get("class-attrs-all", {}), **groups.get(f"class-attrs-{label}", {})}
    grouped = cluster == GROUP_RECTANGLES
    default = ClassAttributes()
    threshold = _float(keys, "threshold", default.pre_cluster)  # the key's old name
    return ClassAttributes(
        pre_cluster=_float(keys, "pre-cluster-threshold", threshold),
        post_cluster=_float(keys, "post-cluster-threshold", default.post_cluster),
        iou=GROUPED_IOU if grouped else _float(keys, "nms-iou-threshold", default.iou),
        topk=GROUPED_TOPK if grouped else _integer(keys, "topk", default.topk),
        min_width=_integer(keys, "detected-min-w", 0),
        min_height=_integer(keys, "detected-min-h", 0),
        max_width=_integer(keys, "detected-max-w", 0),
        max_height=_integer(keys, "detected-max-h", 0),
        roi_top=_integer(keys, "roi-top-offset", 0),
        roi_bottom=_integer(keys, "roi-bottom-offset", 0),
    )


def _referenced_file(path: Path, keys: Keys, key: str) -> Path:
    """Return the file that a key names; it must lie in or below the configuration's folder."""
    folder = path.parent.resolve()
    file = (folder / keys.get(key, "")).resolve()
    if not keys.get(key):
        raise ForgeError(f"{path}: no {key}", "a preview runs the ONNX file in ONNX Runtime")
    setting = redact(f"{key}={keys[key]}")
    if not file.is_relative_to(folder):
        raise ForgeError(
            f"{path}: {setting} lies outside the folder", "copy the file beside the configuration"
        )
    if not file.is_file():
        raise ForgeError(
            f"{path}: {setting} is missing", "nvinfer looks for it beside the configuration"
        )
    return file


def _integer(keys: Keys, key: str, default: int) -> int:
    try:
        return int(_text(keys, key, str(default)))
    except ValueError:
        raise ValueError(f"{key}={keys[key]} is not a whole number") from None


def _float(keys: Keys, key: str, default: float) -> float:
    try:
        return float(_text(keys, key, str(default)))
    except ValueError:
        raise ValueError(f"{key}={keys[key]} is not a number") from None


def _boolean(keys: Keys, key: str) -> bool:
    text = _text(keys, key, "0")
    if text not in ("0", "1", "true", "false"):
        raise ValueError(f"{key}={keys[key]} is neither 0 nor 1")
    return text in ("1", "true")


def _numbers(keys: Keys, key: str) -> list[float]:
    try:
        return [float(item) for item in _text(keys, key, "").split(";") if item.strip()]
    except ValueError:
        raise ValueError(f"{key}={keys[key]} is not a list of numbers") from None


def _text(keys: Keys, key: str, default: str) -> str:
    """Return the text of a number or switch, without the comment that may follow it."""
    return keys.get(key, default).partition("#")[0].strip()
