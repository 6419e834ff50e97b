"""A finding, and the list of all rules."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Severity = Literal["error", "warning", "note"]

# Severity and description of each rule. An error stops DeepStream, or makes it do something else
# than the file says.
RULES: dict[str, tuple[Severity, str]] = {
    # syntax
    "semicolon-comment": ("error", "only '#' begins a comment in GLib's key files"),
    "junk-line": (
        "error",
        "a line that is neither comment, group nor key makes GLib refuse the file",
    ),
    "comment-behind-group": ("error", "a group's header must be alone on its line"),
    "no-group": ("error", "a key before the first group"),
    "invalid-group": ("error", "a name that no group can have"),
    "invalid-key": ("error", "a name that no key can have"),
    "byte-order-mark": ("error", "GLib takes a byte order mark for text"),
    "yaml-in-ini": ("error", "YAML in a file that DeepStream reads as INI, by its name"),
    "yaml-syntax": ("error", "YAML that DeepStream can't read"),
    "not-utf8": ("error", "a value that is not UTF-8"),
    "no-property-group": ("error", "nvinfer's file must have a group named property"),
    "duplicate-key": ("warning", "a key is set twice in a group: the last value counts"),
    "duplicate-group": ("warning", "a group that begins twice"),
    "commented-key": (
        "warning",
        "';' and '//' do not make a comment: the line is read as an unknown key",
    ),
    # values
    "unknown-key": ("warning", "a key that DeepStream does not read"),
    "unknown-group": ("warning", "a group that DeepStream does not read"),
    "wrong-type": ("error", "a value that the parser can't convert"),
    "out-of-range": ("error", "a value that the parser refuses"),
    "unusual-value": ("warning", "a value that has no meaning in deepstream-app"),
    "wrong-count": ("error", "a list of the wrong length"),
    "comma-list": ("error", "items of a list are separated by semicolons"),
    "comment-behind-value": ("error", "a comment behind a value is part of the value"),
    "trailing-blank": ("error", "blanks behind a value are part of the value"),
    "yaml-boolean": ("error", "booleans are 0 and 1 in nvinfer's YAML"),
    "yaml-list": ("error", "lists are a;b;c in nvinfer's YAML"),
    "cut-number": (
        "warning",
        "the YAML parser reads only the whole number at the beginning of the value",
    ),
    "cut-text": ("warning", "the YAML parser cuts off the end of a long text"),
    "ini-only-key": ("warning", "a key that only the INI parser knows"),
    "deprecated-key": ("warning", "a key that was replaced by another key"),
    "no-effect": ("warning", "a key that does nothing"),
    "unknown-since": ("note", "a key that is only known from newer versions of DeepStream"),
    "empty-value": ("warning", "a key without a value"),
    "backslash": ("error", "a backslash begins an escape in GLib's key files"),
    # paths
    "missing-file": ("error", "a file that is not there"),
    "absolute-path": ("warning", "nvinfer shortens an absolute path whose folder is missing"),
    "resolved-elsewhere": ("warning", "a path that is not relative to this file's folder"),
    # model and engine
    "no-model": ("error", "the configuration names neither an engine nor an ONNX file"),
    "dead-format": ("error", "a model format that DeepStream no longer builds"),
    "engine-rebuild": ("warning", "nvinfer writes the engine that it builds under another name"),
    "engine-batch": ("error", "an engine whose batch is smaller than batch-size"),
    "rtx-engine": ("error", "DeepStream can't load engines of TensorRT-RTX"),
    "engine-header": ("error", "an engine behind a header of JSON, which nvinfer can't load"),
    "engine-version": ("error", "an engine for another TensorRT version than this DeepStream uses"),
    "int8-becomes-fp16": (
        "error",
        "without a calibration cache, nvinfer builds FP16 instead of INT8, silently",
    ),
    "qdq-not-typed": ("error", "a Q/DQ graph that nvinfer does not build as INT8"),
    "typed-mode": ("warning", "a strongly typed graph with a network-mode other than 0"),
    "cache-unused": ("warning", "a calibration cache that network-mode does not use"),
    "cache-format": ("error", "a calibration cache that nvinfer can't use"),
    "cache-version": ("warning", "a calibration cache for another TensorRT"),
    "bad-onnx": ("error", "an ONNX file that can't be read"),
    "batch-fixed": ("error", "a graph whose fixed batch differs from batch-size"),
    "infer-dims": ("error", "infer-dims that differ from the graph's input"),
    "input-not-image": ("error", "nvinfer feeds only the first input, with a float32 image"),
    "changing-outputs": ("error", "outputs whose size depends on the data"),
    # preprocessing
    "offsets-count": ("error", "the number of offsets differs from the number of channels"),
    "offsets-unit": ("warning", "offsets are subtracted from pixels in 0..255"),
    "offsets-order": ("warning", "offsets are in the order of the network's channels"),
    "scale-sign": ("warning", "without a positive scale nothing is normalised"),
    "color-channels": ("error", "a colour format that does not fit the graph's channels"),
    "padding": ("warning", "symmetric-padding without maintain-aspect-ratio"),
    "unlike-training": ("warning", "preprocessing that differs from the recipe"),
    # outputs
    "no-cluster-mode": ("warning", "without cluster-mode, nvinfer runs NMS with topk 20"),
    "group-rectangles": (
        "warning",
        "NVIDIA's build of nvinfer replaces groupRectangles by NMS with topk 20",
    ),
    "nms-twice": ("warning", "the graph and nvinfer both run NMS"),
    "no-nms": ("warning", "neither the graph nor nvinfer runs NMS"),
    "no-classes": ("error", "without num-detected-classes, nvinfer drops all objects"),
    "label-count": ("warning", "the number of labels differs from the number of classes"),
    "classifier-labels": (
        "error",
        "a classifier's label file has a line for each output, with semicolons between labels",
    ),
    "class-group": ("error", "a group for a class that does not exist"),
    "class-attrs-unused": ("warning", "class-attrs are for detectors and instance segmentation"),
    "parser-ignored": ("error", "a parser function without its library"),
    "no-parser": ("error", "outputs that no parser reads"),
    "parser-outputs": ("error", "outputs that this parser does not read"),
    "parser-types": ("error", "outputs whose type this parser does not read"),
    "zero-threshold": ("warning", "a threshold of 0 keeps rows that hold no object"),
    "threshold-ignored": ("warning", "a threshold that this cluster-mode ignores"),
    "instance-masks": ("error", "a key that instance segmentation needs is missing or wrong"),
    "segmentation-shape": (
        "error",
        "a segmentation output whose shape or type does not fit the configuration",
    ),
    "output-name": ("warning", "output-blob-names that the graph does not have"),
    "layer-format": ("error", "an entry that fails when the engine is built"),
    # element
    "no-unique-id": ("error", "nvinfer does not start without a gie-unique-id"),
    "objects-ignored": ("warning", "a key for secondary networks in a primary one"),
    "negative-class": ("error", "a negative class id ends the process"),
    # deepstream-app
    "left-out": ("error", "a group that deepstream-app ignores silently"),
    "source-name": ("error", "groups of sources are named source0, source1 ..."),
    "no-config-file": ("error", "a network without a configuration file"),
    "id-clash": ("error", "two networks with the same id"),
    "muxer-batch": ("warning", "the muxer's batch size differs from the number of sources"),
    "live-source": ("warning", "live cameras, but the muxer's live-source is 0"),
    "gie-batch": ("warning", "a batch size that differs from the network's own file"),
    "printf-uri": (
        "error",
        "the URI of a source of type 3 is a printf format: each % is replaced by a number",
    ),
    "source-list": ("error", "a source-list that contradicts itself, or lacks source-attr-all"),
    "sei-data": (
        "error",
        "deepstream-app refuses a file that sets extract-sei-type5-data in [sourceN]",
    ),
    "tracker": ("error", "a tracker that can't start"),
    "tracker-size": ("warning", "NvDCF needs a width and height that are multiples of 32"),
    "nothing-runs": ("warning", "no source or no sink is enabled"),
    "object-source": ("warning", "a secondary network for objects that no other network detects"),
    "open-password": ("warning", "passwords in a file that other users can read"),
}


@dataclass(frozen=True)
class Finding:
    """One mistake.

    Attributes:
        line: number of the line, from 1.
        why: one sentence on what DeepStream does; reports mask secrets in it.
        fix: lines that replace that line; None where only the author knows the right ones.
        severity_override: severity of this finding; None for the severity of its rule.
    """

    rule: str
    path: Path
    line: int
    why: str
    fix: tuple[str, ...] | None = None
    severity_override: Severity | None = None

    @property
    def severity(self) -> Severity:
        """The severity of this finding."""
        return self.severity_override or RULES[self.rule][0]
