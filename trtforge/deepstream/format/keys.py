"""The keys of nvinfer's configuration file: type, range, default, dialects and effect.

They were read from nvinfer's own parsers of DeepStream 9.1 (``gstnvinfer_property_parser.cpp``,
``gstnvinfer_yaml_parser.cpp``); NVIDIA's documentation differs in several defaults and ranges.
``since`` is the oldest version that was seen to know a key which DeepStream 6.1 did not; the
versions between the two were not read.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

# plain: the value is used. none: it is read, and changes nothing. debugging: a dump that costs time.
# dead-format: it belongs to a model format that DeepStream no longer builds.
Effect = Literal["plain", "none", "debugging", "dead-format"]
Kind = Literal["int", "bool", "float", "string", "path", "ints", "floats", "strings", "paths"]
Scalar = str | int | float | bool
Value = Scalar | tuple[int, ...] | tuple[float, ...] | tuple[str, ...]


@dataclass(frozen=True)
class Key:
    """Properties of one key of nvinfer or deepstream-app.

    Attributes:
        kind: what the parser reads; a list is ``a;b;c``.
        default: what holds without the key; None where the value then comes from elsewhere, or is
            none at all.
        low, high: range; a value outside fails the parser.
        choices: allowed values with their meaning; any other fails the parser.
        count: exact length of a list.
        most: greatest length of a list.
        dialects: parsers that know it.
        prefix: nvinfer's YAML parser takes the number that the text begins with: 2.7 is 2.
        cut: characters that the YAML parser keeps of a text.
        since: oldest DeepStream that was seen to know it.
        until: newest DeepStream that was seen to apply it; later ones read it without effect.
        instead: the key that replaces this deprecated one.
        effect: what setting it does.
        remark: why that is not what it seems.
    """

    kind: Kind
    default: Value | None = None
    low: float = -math.inf
    high: float = math.inf
    choices: Mapping[int, str] | None = None
    count: int | None = None
    most: int | None = None
    dialects: tuple[str, ...] = ("ini", "yaml")
    prefix: bool = False
    cut: int | None = None
    since: str | None = None
    until: str | None = None
    instead: str | None = None
    effect: Effect = "plain"
    remark: str = ""

    def applies_to(self, deepstream: str) -> bool:
        """Return whether a DeepStream such as ``6.3`` was seen to apply the key."""
        wanted = version(deepstream)
        known = self.since is None or version(self.since) <= wanted
        return known and (self.until is None or wanted <= version(self.until))

    def fault(self, value: Value) -> str:
        """Return what is wrong with a typed value; empty if nothing is."""
        if self.choices is not None and value not in self.choices:
            return f"is none of {', '.join(f'{number} ({name})' for number, name in self.choices.items())}"
        if (
            isinstance(value, (int, float))
            and not isinstance(value, bool)
            and not self.low <= value <= self.high
        ):
            return f"is outside {_range(self.low, self.high)}"
        if isinstance(value, tuple) and self.wrong_count(value):
            wanted = f"not {self.count}" if self.count is not None else f"more than {self.most}"
            return f"has {len(value)} values, {wanted}"
        return ""

    def wrong_count(self, value: Value) -> bool:
        """Tell whether a list has a length that the key does not take."""
        if not isinstance(value, tuple):
            return False
        if self.count is not None:
            return len(value) != self.count
        return self.most is not None and len(value) > self.most


def version(text: str) -> tuple[int, int]:
    """Return the major and minor number of a DeepStream version; 9 is 9.0."""
    major, minor = f"{text}.0".split(".")[:2]
    return int(major), int(minor)


def _range(low: float, high: float) -> str:
    return f"{low:g} and above" if math.isinf(high) else f"{low:g} to {high:g}"


_INT_MAX = 2**31 - 1
_BOOL = Key("bool", False)
_ELEMENT_BOOL = Key("bool", False, prefix=True)
_ELEMENT_INT = Key("int", 0, low=0, prefix=True)
_PATH = Key("path")
_NAME = Key("string")
_DEBUG = Key("int", 0, since="6.4", effect="debugging", remark="a debugging dump")
_GONE = "TensorRT's builder in DeepStream no longer reads this model format: give onnx-file"
_ORDER = {0: "NCHW", 1: "NHWC"}

_MODEL: dict[str, Key] = {
    "gie-unique-id": Key("int", None, low=1),
    "gpu-id": Key("int", 0, low=0),
    "onnx-file": _PATH,
    "model-engine-file": _PATH,
    "int8-calib-file": _PATH,
    "labelfile-path": _PATH,
    "mean-file": _PATH,
    "custom-lib-path": _PATH,
    "custom-network-config": replace(_NAME, remark="not resolved against this file's folder, but against the "
                                     "folder that the process runs in"),
    "engine-create-func-name": _NAME,
    "model-file": replace(_PATH, until="6.3", effect="dead-format", remark=_GONE),
    "proto-file": replace(_PATH, until="6.3", effect="dead-format", remark=_GONE),
    "uff-file": replace(_PATH, until="6.3", effect="dead-format", remark=_GONE),
    "uff-input-blob-name": replace(_NAME, until="6.3", effect="dead-format", remark=_GONE),
    "uff-input-order": Key("int", 0, choices={**_ORDER, 2: "NC"}, until="6.3", effect="dead-format", remark=_GONE),
    "tlt-encoded-model": _PATH,
    "tlt-model-key": _NAME,
    "input-dims": Key("ints", count=4, dialects=("ini",), instead="infer-dims"),
    "uff-input-dims": Key("ints", count=4, dialects=("ini",), instead="infer-dims"),
    "infer-dims": Key("ints", count=3),
    "network-input-order": Key("int", 0, choices=_ORDER),
    "batch-size": Key("int", 1, low=1, high=1024),
    "network-mode": Key("int", 0, choices={0: "FP32", 1: "INT8", 2: "FP16", 3: "best"}),
    "strongly-typed": replace(_BOOL, since="9.0"),
    "workspace-size": Key("int", 0, low=0, until="6.3", effect="none", remark="stored, and never applied: the builder takes what it wants"),
    "force-implicit-batch-dim": replace(_BOOL, effect="none", remark="no longer does anything: implicit batches are gone"),
    "output-blob-names": Key("strings", cut=63),
    "output-io-formats": Key("strings", cut=63),
    "layer-device-precision": Key("strings"),
    "enable-dla": _BOOL,
    "use-dla-core": Key("int", 0, low=0),
    "dynamic-properties": replace(_NAME, since="9.1", effect="none", remark="stored, and not applied to the builder"),
    "warmup-engine": replace(_BOOL, since="9.1"),
    "stabilize-buffer-count": Key("int", 0, low=0, since="9.1"),
    "is-classifier": Key("bool", False, dialects=("ini",), instead="network-type"),
}  # fmt: skip

_PREPROCESSING: dict[str, Key] = {
    "net-scale-factor": Key("float", 1.0),
    "offsets": Key("floats", most=4),
    "model-color-format": Key("int", 0, choices={0: "RGB", 1: "BGR", 2: "GRAY"}),
    "maintain-aspect-ratio": _ELEMENT_BOOL,
    "symmetric-padding": _ELEMENT_BOOL,
    "scaling-filter": Key("int", 6, prefix=True, choices={
        0: "nearest", 1: "bilinear", 2: "cubic on a GPU", 3: "super", 4: "Lanczos", 5: "algorithm 4", 6: "default",
    }),
    "scaling-compute-hw": Key("int", 0, prefix=True, choices={0: "default", 1: "GPU", 2: "VIC, on a Jetson"}),
    "input-tensor-from-meta": _BOOL,
}  # fmt: skip

_ELEMENT: dict[str, Key] = {
    "process-mode": Key("int", 1, prefix=True, choices={1: "full frames", 2: "objects"}),
    "interval": _ELEMENT_INT,
    "network-type": Key("int", 0, choices={
        0: "detector", 1: "classifier", 2: "segmentation", 3: "instance segmentation", 100: "other",
    }),
    "num-detected-classes": Key("int", 0, low=0),
    "cluster-mode": Key("int", 0, choices={0: "groupRectangles", 1: "DBSCAN", 2: "NMS", 3: "hybrid", 4: "none"}),
    "enable-dbscan": Key("bool", False, dialects=("ini",), instead="cluster-mode"),
    "parse-bbox-func-name": _NAME,
    "parse-bbox-instance-mask-func-name": _NAME,
    "parse-classifier-func-name": _NAME,
    "parse-segmentation-func-name": replace(_NAME, since="9.1"),
    "classifier-threshold": Key("float", 0.0, low=0),
    "segmentation-threshold": Key("float", 0.0, low=0),
    "classifier-type": Key("string", cut=63),
    "classifier-async-mode": _ELEMENT_BOOL,
    "segmentation-output-order": Key("int", 0, choices=_ORDER),
    "output-tensor-meta": _ELEMENT_BOOL,
    "output-instance-mask": _ELEMENT_BOOL,
    "secondary-reinfer-interval": Key("int", _INT_MAX, prefix=True),
    "operate-on-gie-id": Key("int", -1, prefix=True),
    "operate-on-class-ids": Key("ints"),
    "filter-out-class-ids": Key("ints"),
    "input-object-min-width": _ELEMENT_INT,
    "input-object-min-height": _ELEMENT_INT,
    "input-object-max-width": _ELEMENT_INT,
    "input-object-max-height": _ELEMENT_INT,
    "crop-objects-to-roi-boundary": replace(_ELEMENT_BOOL, since="6.4"),
    "tensor-meta-pool-size": Key("int", None, low=0),
    "auto-inc-mem": Key("int", 1, since="6.4"),
    "max-gpu-mem-per": Key("int", 99, since="6.4"),
    "disable-output-host-copy": Key("int", 0, low=0, since="6.4"),
    "raw-output-file-write": replace(_BOOL, since="9.1", effect="debugging", remark="a debugging dump"),
    "dump-input-tensor": _DEBUG,
    "dump-output-tensor": _DEBUG,
    "overwrite-input-tensor": _DEBUG,
    "overwrite-output-tensor": _DEBUG,
    "ip-tensor-file": Key("path", since="6.4"),
    "op-tensor-files": Key("paths", since="6.4"),
}  # fmt: skip

PROPERTY: dict[str, Key] = _MODEL | _PREPROCESSING | _ELEMENT

_SHARE = Key("float", 0.0, low=0)
_PIXELS = Key("int", 0, low=0)
_COLOR = Key("floats", count=4)

CLASS_ATTRS: dict[str, Key] = {
    "pre-cluster-threshold": replace(_SHARE, default=0.2),
    "post-cluster-threshold": _SHARE,
    "nms-iou-threshold": Key("float", 0.3, low=0, high=1),
    "topk": Key("int", -1, low=0),
    "eps": _SHARE,
    "minBoxes": _PIXELS,
    "group-threshold": _PIXELS,
    "dbscan-min-score": _SHARE,
    "roi-top-offset": _PIXELS,
    "roi-bottom-offset": _PIXELS,
    "detected-min-w": _PIXELS,
    "detected-min-h": _PIXELS,
    "detected-max-w": _PIXELS,
    "detected-max-h": _PIXELS,
    "border-color": replace(_COLOR, default=(1.0, 0.0, 0.0, 1.0)),
    "bg-color": _COLOR,
    "threshold": Key("float", 0.2, low=0, dialects=("ini",), instead="pre-cluster-threshold"),
}

CLASS_GROUP = re.compile(r"class-attrs-(all|\d+)")


def nvinfer(group: str) -> dict[str, Key] | None:
    """Return the keys of a group of nvinfer's file; None for a group that it never reads."""
    if group == "property":
        return PROPERTY
    return CLASS_ATTRS if CLASS_GROUP.fullmatch(group) else None


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the key that a wrong one most probably means, by case, underscores, or similarity."""
    names = list(known)
    plain = {each.lower(): each for each in names}
    same = plain.get(name.lower().replace("_", "-"))
    return same or next(
        iter(difflib.get_close_matches(name.lower().replace("_", "-"), names, n=1, cutoff=0.75)),
        None,
    )
