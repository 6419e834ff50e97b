"""A finding, and the list of all rules."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Severity = Literal["error", "warning", "note"]

# What a rule finds, in one sentence. An error stops DeepStream, or makes it do something else than
# what stands there.
RULES: dict[str, tuple[Severity, str]] = {
    # syntax
    "semicolon-comment": ("error", "only '#' begins a comment in GLib's key files"),
    "junk-line": (
        "error",
        "a line that is neither comment, group nor key makes GLib refuse the file",
    ),
    "comment-behind-group": ("error", "nothing may stand behind a group"),
    "no-group": ("error", "a key stands before any group"),
    "invalid-group": ("error", "a name that no group can have"),
    "invalid-key": ("error", "a name that no key can have"),
    "byte-order-mark": ("error", "GLib takes a byte order mark for text"),
    "yaml-in-ini": ("error", "YAML in a file whose name makes it INI"),
    "yaml-syntax": ("error", "no YAML that DeepStream can read"),
    "not-utf8": ("error", "a value that is not UTF-8"),
    "no-property-group": ("error", "nvinfer's file must have a group named property"),
    "duplicate-key": ("warning", "of two keys with one name the last holds"),
    "duplicate-group": ("warning", "a group that begins twice"),
    "commented-key": ("warning", "a key behind ';' or '//' is a key still, under another name"),
    # values
    "unknown-key": ("warning", "a key that nobody reads"),
    "unknown-group": ("warning", "a group that nobody reads"),
    "wrong-type": ("error", "a value that the parser can't convert"),
    "out-of-range": ("error", "a value that the parser refuses"),
    "unusual-value": ("warning", "a value that deepstream-app has no meaning for"),
    "wrong-count": ("error", "a list of the wrong length"),
    "comma-list": ("error", "items of a list are separated by semicolons"),
    "comment-behind-value": ("error", "a comment behind a value is part of the value"),
    "trailing-blank": ("error", "blanks behind a value are part of the value"),
    "yaml-boolean": ("error", "booleans are 0 and 1 in nvinfer's YAML"),
    "yaml-list": ("error", "lists are a;b;c in nvinfer's YAML"),
    "cut-number": ("warning", "the YAML parser reads the whole number that the text begins with"),
    "cut-text": ("warning", "the YAML parser cuts a text"),
    "ini-only-key": ("warning", "a key that only the INI parser knows"),
    "deprecated-key": ("warning", "a key that another replaces"),
    "no-effect": ("warning", "a key that does nothing"),
    "unknown-since": ("note", "a key that was not seen in so old a version"),
    "empty-value": ("warning", "a key without a value"),
    "backslash": ("error", "a backslash begins an escape in GLib's key files"),
    # paths
    "missing-file": ("error", "a file that is not there"),
    "absolute-path": ("warning", "of a missing absolute path nvinfer keeps only a part"),
    "resolved-elsewhere": ("warning", "a path that is not taken from this file's folder"),
    # model and engine
    "no-model": ("error", "neither an engine nor an ONNX file"),
    "dead-format": ("error", "a model format that DeepStream no longer builds"),
    "engine-rebuild": ("warning", "an engine name that nvinfer does not write to"),
    "engine-batch": ("error", "an engine whose batch is smaller than batch-size"),
    "rtx-engine": ("error", "DeepStream can't load engines of TensorRT-RTX"),
    "engine-header": ("error", "an engine behind a header of JSON, which nvinfer can't load"),
    "engine-version": ("error", "an engine of a TensorRT that this DeepStream does not have"),
    "int8-becomes-fp16": ("error", "INT8 without a calibration cache is silently FP16"),
    "qdq-not-typed": ("error", "a Q/DQ graph that nvinfer does not build as INT8"),
    "typed-mode": ("warning", "a strongly typed graph with a network-mode of its own"),
    "cache-unused": ("warning", "a calibration cache that network-mode does not use"),
    "cache-format": ("error", "no calibration cache that nvinfer can use"),
    "cache-version": ("warning", "a calibration cache for another TensorRT"),
    "bad-onnx": ("error", "an ONNX file that can't be read"),
    "batch-fixed": ("error", "a graph whose batch is fixed at another number"),
    "infer-dims": ("error", "infer-dims that the graph does not have"),
    "input-not-image": ("error", "nvinfer feeds one float32 image, as the first input"),
    "changing-outputs": ("error", "outputs whose size depends on the data"),
    # preprocessing
    "offsets-count": ("error", "as many offsets as channels"),
    "offsets-unit": ("warning", "offsets are subtracted from pixels in 0..255"),
    "offsets-order": ("warning", "offsets are in the order of the network's channels"),
    "scale-sign": ("warning", "without a positive scale nothing is normalised"),
    "color-channels": ("error", "a colour format that the graph's channels do not fit"),
    "padding": ("warning", "symmetric-padding without maintain-aspect-ratio"),
    "unlike-training": ("warning", "another preprocessing than the recipe's"),
    # outputs
    "no-cluster-mode": ("warning", "left out, cluster-mode is NMS with topk 20"),
    "group-rectangles": ("warning", "groupRectangles is NMS with topk 20 in the stock build"),
    "nms-twice": ("warning", "the graph suppresses boxes already"),
    "no-nms": ("warning", "nobody suppresses boxes"),
    "no-classes": ("error", "without num-detected-classes everything is dropped"),
    "label-count": ("warning", "another number of labels than of classes"),
    "classifier-labels": (
        "error",
        "a classifier's labels are one line an output, separated by semicolons",
    ),
    "class-group": ("error", "a group for a class that does not exist"),
    "class-attrs-unused": ("warning", "class-attrs are for detectors and instance segmentation"),
    "parser-ignored": ("error", "a parser function without its library"),
    "no-parser": ("error", "outputs that nobody parses"),
    "parser-outputs": ("error", "outputs that this parser does not read"),
    "parser-types": ("error", "outputs of another type than this parser reads"),
    "zero-threshold": ("warning", "a threshold of 0 lets rows through that hold no object"),
    "threshold-ignored": ("warning", "a threshold that this cluster-mode does not look at"),
    "instance-masks": ("error", "what instance segmentation needs"),
    "segmentation-shape": ("error", "a segmentation whose output does not fit"),
    "output-name": ("warning", "output-blob-names that the graph does not have"),
    "layer-format": ("error", "an entry that fails when the engine is built"),
    # element
    "no-unique-id": ("error", "nvinfer does not start without a gie-unique-id"),
    "objects-ignored": ("warning", "a key for secondary networks in a primary one"),
    "negative-class": ("error", "a negative class id ends the process"),
    # deepstream-app
    "left-out": ("error", "a group that is silently left out"),
    "source-name": ("error", "groups of sources are named source0, source1 ..."),
    "no-config-file": ("error", "a network without its configuration"),
    "id-clash": ("error", "two networks with one id"),
    "muxer-batch": ("warning", "a muxer whose batch is not the number of sources"),
    "live-source": ("warning", "a muxer that takes live cameras for files"),
    "gie-batch": ("warning", "a batch that the network's own file contradicts"),
    "printf-uri": ("error", "a URI of type 3 is a format, in which % begins a number"),
    "source-list": ("error", "a source-list that does not fit"),
    "sei-data": ("error", "a key over which deepstream-app stumbles"),
    "tracker": ("error", "a tracker that can't start"),
    "tracker-size": ("warning", "NvDCF tracks at multiples of 32"),
    "nothing-runs": ("warning", "no source, or no sink, is on"),
    "object-source": ("warning", "a secondary network on objects that nobody finds"),
    "open-password": ("warning", "passwords in a file that others can read"),
}


@dataclass(frozen=True)
class Finding:
    """One mistake.

    Attributes:
        line: from 1.
        why: what DeepStream does, in one sentence; a report leaves secrets out.
        fix: lines that take the place of that line; None where only the author knows.
        severity: the rule's, where this finding has no other.
    """

    rule: str
    path: Path
    line: int
    why: str
    fix: tuple[str, ...] | None = None
    grade: Severity | None = None

    @property
    def severity(self) -> Severity:
        return self.grade or RULES[self.rule][0]
