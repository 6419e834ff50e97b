"""Seeded mistakes: each rule finds its own, its correction removes it, and files that are right
stay silent.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from tests import models
from trtforge.deepstream import files
from trtforge.deepstream.app import pipeline as app
from trtforge.deepstream.app.streams import parse
from trtforge.deepstream.config import describe, nvinfer
from trtforge.deepstream.format import app_keys, keys
from trtforge.deepstream.format.config import read as read_config
from trtforge.deepstream.format.config import write
from trtforge.deepstream.lint.finding import RULES
from trtforge.deepstream.lint.report import LintReport
from trtforge.deepstream.lint.run import lint
from trtforge.errors import ForgeError, GateError
from trtforge.graph.model import graph_of, model_of
from trtforge.graph.nms import NmsOptions, apply
from trtforge.recipe import Preprocess, Recipe

from .glib import KeyFile

F, INT = TensorProto.FLOAT, TensorProto.INT32
CACHE = "TRT-101600-EntropyCalibration2\nimage: 3c010a14\n"


def sketch(
    path: Path, outputs: list[Any], inputs: list[Any] | None = None, op: str = "Identity"
) -> None:
    inputs = inputs or [("image", F, ["n", 3, 64, 64])]
    nodes = [helper.make_node(op, ["image"], [name]) for name, _, _ in outputs]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(*each) for each in inputs],
        [helper.make_tensor_value_info(*each) for each in outputs],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path
    )


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector in DeepStream's form, and every file that goes with it."""
    folder = tmp_path_factory.mktemp("made")
    graph = graph_of(models.anchor_free())
    apply(graph, "deepstream", NmsOptions(), "plugin")
    onnx.save(model_of(graph), folder / "m.onnx")
    apply(graph_raw := graph_of(models.anchor_free()), "none", NmsOptions())
    onnx.save(model_of(graph_raw), folder / "raw.onnx")
    files.network(
        describe.model(folder / "m.onnx", None),
        describe.NetworkRequest(batch=4),
        folder,
        "9.1",
        "pgie",
        False,
    )
    sections, comments = app.config(
        app.Pipeline(
            (parse("rtsp://a/b"), parse("file:///b.mp4")),
            app.Gie("pgie_config.txt", 4),
            tracker="nvdcf-perf",
        )
    )
    (folder / "app.txt").write_text(write(sections, "ini", comments, app_keys.app))
    (folder / "app.yml").write_text(write(sections, "yaml", comments, app_keys.app))
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    for path in made.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def run(
    *paths: Path, deepstream: str = "9.1", recipe: Recipe | None = None, fix: bool = False
) -> LintReport:
    return lint(paths, deepstream, recipe, fix)


def edited(path: Path, *changes: str) -> Path:
    """``path`` with ``old -> new`` done in it; a change without an arrow is a line more in its last
    group.
    """
    text = path.read_text()
    for change in changes:
        old, arrow, new = (part.replace("\\n", "\n") for part in change.partition(" -> "))
        if not arrow:
            text += f"{change}\n"
            continue
        assert old in text, old
        text = text.replace(old, new, 1)
    path.write_bytes(text.encode("utf-8", errors="surrogateescape"))
    return path


Prepare = Callable[[Path], None]


def file(name: str, text: str | bytes) -> Prepare:
    return lambda folder: (
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode()) and None
    )


def graph(*outputs: Any, inputs: Any = None, op: str = "Identity") -> Prepare:
    return lambda folder: sketch(folder / "m.onnx", list(outputs), inputs, op)


def engine_of_tensorrt_11(folder: Path) -> None:
    (folder / ENGINE).write_bytes(b"ptrt")
    (folder / "manifest.json").write_text(MANIFEST)


def raw(folder: Path) -> None:
    (folder / "m.onnx").write_bytes((folder / "raw.onnx").read_bytes())


FOUR = [
    ("num_detections", INT, ["n", 1]),
    ("detection_boxes", F, ["n", 5, 4]),
    ("detection_scores", F, ["n", 5]),
]
P, Y, A = "pgie_config.txt", "pgie_config.yml", "app.txt"
ENGINE = "m.onnx_b4_gpu0_fp32.engine"
CLASSIFIER = "network-type=0 -> network-type=1"
MANIFEST = json.dumps({"format": "trtforge-bundle-1", "files": {}, "tools": {"tensorrt": "11.1.0"}})

# rule, file, changes, and what else is prepared
SEEDS: list[tuple[str, str, tuple[str, ...], Prepare | None]] = [
    ("semicolon-comment", P, ("[property] -> ; a remark\\n[property]",), None),
    ("junk-line", P, ("batch-size=4 -> batch-size 4",), None),
    ("comment-behind-group", P, ("[property] -> [property] # of nvinfer",), None),
    ("no-group", P, ("[property] -> a=1\\n[property]",), None),
    ("invalid-group", P, ("[property] -> [x[y]\\n[property]",), None),
    ("invalid-key", P, ("batch-size=4 -> batch-size]=4",), None),
    ("byte-order-mark", P, ("# For -> \ufeff# For",), None),
    ("yaml-in-ini", P, ("batch-size=4 -> batch-size: 4",), None),
    ("yaml-syntax", Y, ("  batch-size: 4 -> batch-size 4: [",), None),
    ("not-utf8", P, ("labelfile-path=pgie_labels.txt -> labelfile-path=pgie_\udcfflabels.txt",), None),
    ("no-property-group", P, ("[property] -> [properties]",), None),
    ("duplicate-key", P, ("batch-size=4 -> batch-size=2\\nbatch-size=4",), None),
    ("duplicate-group", P, ("[class-attrs-all] -> [property]\\ninterval=1\\n[class-attrs-all]",), None),
    ("commented-key", P, ("batch-size=4 -> ;interval=1\\nbatch-size=4",), None),
    ("unknown-key", P, ("process-mode -> process_mode",), None),
    ("unknown-group", P, ("[class-attrs-all] -> [class-attr-all]",), None),
    ("wrong-type", P, ("batch-size=4 -> batch-size=four",), None),
    ("wrong-type", P, ("maintain-aspect-ratio=1 -> maintain-aspect-ratio=yes",), None),
    ("out-of-range", P, ("network-mode=0 -> network-mode=4",), None),
    ("out-of-range", P, ("topk=-1",), None),
    ("unusual-value", A, ("type=2\\nuri -> type=77\\nuri",), None),
    ("wrong-count", P, ("infer-dims=3;64;64 -> infer-dims=3;64",), None),
    ("comma-list", P, ("infer-dims=3;64;64 -> infer-dims=3,64,64",), None),
    ("comment-behind-value", P, ("labelfile-path=pgie_labels.txt -> labelfile-path=pgie_labels.txt # names",), None),
    ("comment-behind-value", P, ("pre-cluster-threshold=0.25 -> pre-cluster-threshold=0.25 # least",), None),
    ("trailing-blank", P, ("onnx-file=m.onnx -> onnx-file=m.onnx  ",), None),
    ("trailing-blank", P, ("pre-cluster-threshold=0.25 -> pre-cluster-threshold=0.25 ",), None),
    ("yaml-boolean", Y, ("maintain-aspect-ratio: 1 -> maintain-aspect-ratio: true",), None),
    ("yaml-list", Y, ("infer-dims: 3;64;64 -> infer-dims: [3, 64, 64]",), None),
    ("cut-number", Y, ("process-mode: 1 -> process-mode: 1.5",), None),
    ("cut-text", Y, (f"batch-size: 4 -> batch-size: 4\\n  classifier-type: {'x' * 70}",), None),
    ("ini-only-key", Y, ("batch-size: 4 -> batch-size: 4\\n  is-classifier: 0",), None),
    ("deprecated-key", P, ("pre-cluster-threshold -> threshold",), None),
    ("no-effect", P, ("batch-size=4 -> batch-size=4\\nworkspace-size=2000",), None),
    ("no-effect", A, ("display-tracking-id=1 -> display-tracking-id=1\\nenable-batch-process=1",), None),
    ("unknown-since", P, ("batch-size=4 -> batch-size=4\\nwarmup-engine=1",), None),
    ("empty-value", P, ("labelfile-path=pgie_labels.txt -> labelfile-path=",), None),
    ("backslash", P, ("labelfile-path=pgie_labels.txt -> labelfile-path=.\\labels.txt",), None),
    ("missing-file", P, ("labelfile-path=pgie_labels.txt -> labelfile-path=names.txt",), None),
    ("absolute-path", P, ("labelfile-path=pgie_labels.txt -> labelfile-path=/no/such/labels.txt",), None),
    ("resolved-elsewhere", P, ("batch-size=4 -> batch-size=4\\ncustom-network-config=net.cfg",), file("net.cfg", "")),
    ("no-model", P, ("onnx-file=m.onnx\\n -> ", f"model-engine-file={ENGINE} -> "), None),
    ("dead-format", P, ("onnx-file=m.onnx -> onnx-file=m.onnx\\nuff-file=m.onnx",), None),
    ("engine-rebuild", P, (f"{ENGINE} -> model.engine",), None),
    ("engine-rebuild", P, ("network-mode=0 -> network-mode=2",), None),
    ("engine-batch", P, (f"{ENGINE} -> m.onnx_b2_gpu0_fp32.engine",), None),
    ("rtx-engine", P, (), file(ENGINE, b"vtrt1234")),
    ("engine-header", A, ("config-file=pgie_config.txt -> config-file=pgie_config.txt\\nmodel-engine-file=u.engine",),
     file("u.engine", b"\x0d\0\0\0" + b'{"names": {}}' + b"ftrt".ljust(99))),
    ("engine-header", P, (), file(ENGINE, b"\x0d\0\0\0" + b'{"names": {}}' + b"ftrt".ljust(99))),
    ("engine-version", P, (), engine_of_tensorrt_11),
    ("int8-becomes-fp16", P, ("network-mode=0 -> network-mode=1",), None),
    ("int8-becomes-fp16", P, ("network-mode=0 -> network-mode=3\\nint8-calib-file=none.cache",), None),
    ("qdq-not-typed", P, (), graph(("cov_bbox", F, ["n", 4, 4]), op="DequantizeLinear")),
    ("typed-mode", P, ("network-mode=0 -> network-mode=2\\nstrongly-typed=1",), None),
    ("cache-unused", P, ("network-mode=0 -> network-mode=2\\nint8-calib-file=c.cache",), file("c.cache", CACHE)),
    ("cache-format", P, ("network-mode=0 -> network-mode=1\\nint8-calib-file=c.cache",), file("c.cache", "hello")),
    ("cache-format", P, ("network-mode=0 -> network-mode=1\\nint8-calib-file=c.cache",),
     file("c.cache", CACHE.replace("Entropy", "MinMax").replace("2\n", "\n", 1))),
    ("cache-format", P, ("network-mode=0 -> network-mode=1\\nint8-calib-file=c.cache",),
     file("c.cache", CACHE.replace("image", "another"))),
    ("object-source", P, ("process-mode=1 -> process-mode=2\\noperate-on-gie-id=1",), None),
    ("cache-version", P, ("network-mode=0 -> network-mode=1\\nint8-calib-file=c.cache",),
     file("c.cache", CACHE.replace("101600", "8601"))),
    ("bad-onnx", P, (), file("m.onnx", "hello")),
    ("batch-fixed", P, (), graph(("cov_bbox", F, [1, 4, 4]), inputs=[("image", F, [1, 3, 64, 64])])),
    ("infer-dims", P, ("infer-dims=3;64;64 -> infer-dims=3;640;640",), None),
    ("infer-dims", P, ("infer-dims=3;64;64 -> infer-dims=64;64;3",), None),
    ("input-not-image", P, (), graph(("cov_bbox", F, ["n", 4, 4]), inputs=[("image", F, ["n", 64])])),
    ("input-not-image", P, ("custom-lib-path -> #custom-lib-path",), graph(
        ("cov_bbox", F, ["n", 4, 4]), inputs=[("image", F, ["n", 3, 64, 64]), ("more", F, [1])])),
    ("changing-outputs", P, (), graph(("cov_bbox", F, ["n", "found", 4]))),
    ("offsets-count", P, ("batch-size=4 -> batch-size=4\\noffsets=1;2",), None),
    ("offsets-unit", P, ("batch-size=4 -> batch-size=4\\noffsets=0.485;0.456;0.406",), None),
    ("offsets-order", P, ("batch-size=4 -> batch-size=4\\noffsets=103.53;116.28;123.675",), None),
    ("scale-sign", P, ("net-scale-factor=0.003921568627 -> net-scale-factor=0",), None),
    ("color-channels", P, ("model-color-format=0 -> model-color-format=2",), None),
    ("padding", P, ("maintain-aspect-ratio=1 -> maintain-aspect-ratio=0",), None),
    ("no-cluster-mode", P, ("cluster-mode=4\\n -> ",), None),
    ("group-rectangles", P, ("cluster-mode=4 -> cluster-mode=0",), None),
    ("nms-twice", P, ("cluster-mode=4 -> cluster-mode=2",), None),
    ("no-nms", P, (), graph(("cov_bbox", F, ["n", 8400, 84]))),
    ("no-classes", P, ("num-detected-classes=3 -> num-detected-classes=0",), None),
    ("label-count", P, (), file("pgie_labels.txt", "a\nb\n")),
    ("classifier-labels", P, (CLASSIFIER,), graph(("out", F, ["n", 3]))),
    ("class-group", P, ("[class-attrs-all] -> [class-attrs-3]",), None),
    ("class-group", P, ("[class-attrs-all] -> [class-attrs-foo]",), None),
    ("class-attrs-unused", P, (CLASSIFIER,), None),
    ("parser-ignored", P, ("custom-lib-path -> #custom-lib-path",), None),
    ("no-parser", P, ("parse-bbox-func-name -> #parse-bbox-func-name",), None),
    ("parser-outputs", P, (), raw),
    ("parser-outputs", P, ("NvDsInferParseCustomTfSSD -> NvDsInferParseYoloV5CustomBatchedNMSTLT",), graph(
        FOUR[1], FOUR[0], FOUR[2], ("detection_classes", F, ["n", 5]))),
    ("parser-types", P, (), graph(*FOUR, ("detection_classes", INT, ["n", 5]))),
    ("parser-types", P, ("NvDsInferParseCustomTfSSD -> NvDsInferParseYoloV5CustomBatchedNMSTLT",),
     graph(*FOUR, ("detection_classes", INT, ["n", 5]))),
    ("zero-threshold", P, ("pre-cluster-threshold=0.25 -> pre-cluster-threshold=0",), None),
    ("threshold-ignored", P, ("pre-cluster-threshold=0.25 -> post-cluster-threshold=0.25",), None),
    ("instance-masks", P, ("network-type=0 -> network-type=3",), None),
    ("segmentation-shape", P, ("network-type=0 -> network-type=2",), graph(("out", F, ["n", 19, 64, 64]))),
    ("segmentation-shape", P, ("network-type=0 -> network-type=2",), graph(("out", F, ["n", 3, 16, 16]))),
    ("output-name", P, ("batch-size=4 -> batch-size=4\\noutput-blob-names=output0",), None),
    ("layer-format", P, ("batch-size=4 -> batch-size=4\\noutput-io-formats=out:float:chw",), None),
    ("no-unique-id", P, ("gie-unique-id=1\\n -> ",), None),
    ("objects-ignored", P, ("batch-size=4 -> batch-size=4\\noperate-on-class-ids=1",), None),
    ("negative-class", P, ("process-mode=1 -> process-mode=2\\noperate-on-class-ids=-1;2",), None),
    ("left-out", A, ("[primary-gie]\\nenable=1 -> [primary-gie]\\nenable=true",), None),
    ("left-out", A, ("[sink0]\\nenable=1\\n -> [sink0]\\n",), None),
    ("source-name", A, ("[source1] -> [source-b]",), None),
    ("no-config-file", A, ("config-file=pgie_config.txt -> #config-file=pgie_config.txt",), None),
    ("id-clash", A, ("[tests] -> [secondary-gie0]\\nenable=1\\ngie-unique-id=1\\nconfig-file=pgie_config.txt\\n"
                     "[tests]",), None),
    ("muxer-batch", A, ("gpu-id=0\\nbatch-size=2 -> batch-size=7",), None),
    ("live-source", A, ("live-source=1 -> live-source=0",), None),
    ("live-source", A, ("live-source=1\n -> ",), None),
    ("gie-batch", A, ("gie-unique-id=1\\nbatch-size=4 -> gie-unique-id=1\\nbatch-size=8",), None),
    ("printf-uri", A, ("type=2\\nuri=file:///b.mp4 -> type=3\\nuri=file:///a%20b.mp4",), None),
    ("source-list", A, ("[tests] -> [source-list]\\nlist=file:///a;file:///b\\nnum-source-bins=3\\n[tests]",), None),
    ("sei-data", A, ("select-rtp-protocol=4 -> select-rtp-protocol=4\\nextract-sei-type5-data=1",), None),
    ("tracker", A, ("ll-lib-file -> #ll-lib-file",), None),
    ("tracker-size", A, ("tracker-width=640 -> tracker-width=650",), None),
    ("nothing-runs", A, ("[sink0]\\nenable=1 -> [sink0]\\nenable=0",), None),
    ("object-source", A, ("[tests] -> [secondary-gie0]\\nenable=1\\ngie-unique-id=2\\noperate-on-gie-id=9\\n"
                          "config-file=pgie_config.txt\\n[tests]",), None),
    ("open-password", A, ("rtsp://a/b -> rtsp://user:secret@a/b",), None),
]  # fmt: skip
IDS = [f"{number}-{seed[0]}" for number, seed in enumerate(SEEDS)]


def planted(folder: Path, seed: tuple[str, str, tuple[str, ...], Prepare | None]) -> Path:
    _, name, changes, prepare = seed
    if prepare:
        prepare(folder)
    return edited(folder / name, *changes)


@pytest.mark.parametrize("seed", SEEDS, ids=IDS)
def test_a_seeded_mistake_is_found(folder: Path, seed: Any) -> None:
    path = planted(folder, seed)
    report = run(path, deepstream="8.0" if seed[0] == "unknown-since" else "9.1")
    found = [finding for finding in report.findings if finding.rule == seed[0]]
    assert found, report.text()
    for finding in found:
        assert finding.why
        assert 1 <= finding.line <= max(len(finding.path.read_bytes().splitlines()), 1)


@pytest.mark.parametrize("seed", SEEDS, ids=IDS)
def test_a_correction_removes_the_mistake_and_makes_no_other(folder: Path, seed: Any) -> None:
    path = planted(folder, seed)
    version = "8.0" if seed[0] == "unknown-since" else "9.1"
    paths = [path, folder / P] if seed[1] == A else [path]  # only what is given is corrected
    before = run(*paths, deepstream=version)
    after = run(*paths, deepstream=version, fix=True)
    fixable = {(each.rule, each.why) for each in before.findings if each.fix is not None}
    left = {(each.rule, each.why) for each in after.findings}
    assert not fixable & left, after.text()
    assert after.count("error") <= before.count("error")
    assert not any(each.fix is not None for each in after.findings), after.text()
    if not fixable:
        assert not after.fixed


def test_every_rule_has_a_seed() -> None:
    assert {seed[0] for seed in SEEDS} | {"unlike-training"} == set(RULES)
    assert len(RULES) >= 30


def test_files_that_are_right_stay_silent(folder: Path) -> None:
    report = run(folder / A, folder / "app.yml", folder / P, folder / Y)
    assert report.findings == []
    assert len(report.files) == 4
    report.gate()


VARIANTS = {
    "segmentation": ([("out", F, ["n", 5, 64, 64])], {}),
    "classifier": ([("out", F, ["n", 4])], {}),
    "secondary": ([("a", F, ["n", 4]), ("b", F, ["n", 2])],
                  {"unique_id": 2, "objects": nvinfer.Objects(classes=(1,), smallest=(9, 9))}),
    "raw tensors": ([("out", F, ["n", 84, 8400])], {"kind": "tensors"}),
    "int8 by cache": ([("out", F, ["n", 4])], {"cache": "c.cache"}),
    "int8 by cache, the rest fp32": ([("out", F, ["n", 4])], {"cache": "c.cache", "rest": "fp32"}),
}  # fmt: skip


@pytest.mark.parametrize("name", VARIANTS)
def test_other_networks_that_are_right_stay_silent(tmp_path: Path, name: str) -> None:
    outputs, requested = VARIANTS[name]
    sketch(tmp_path / "m.onnx", outputs)
    (tmp_path / "c.cache").write_text(CACHE)
    if "cache" in requested:
        requested = {**requested, "cache": tmp_path / "c.cache"}
    recipe = Recipe(
        preprocess=Preprocess(offsets=(103.53, 116.28, 123.675), scale=0.0174, color="bgr")
    )
    files.network(
        describe.model(tmp_path / "m.onnx", recipe),
        describe.NetworkRequest(**requested),
        tmp_path,
        "9.1",
        "pgie",
        False,
    )
    report = run(tmp_path / P, tmp_path / Y, recipe=recipe)
    assert report.findings == [], report.text()


@pytest.mark.parametrize(
    "change",
    [
        "net-scale-factor=0.003921568627 -> net-scale-factor=1.0",
        "model-color-format=0 -> model-color-format=1",
        "maintain-aspect-ratio=1 -> maintain-aspect-ratio=0",
        "symmetric-padding=1 -> symmetric-padding=0",
        "batch-size=4 -> batch-size=4\\noffsets=1;2;3",
    ],
)
def test_preprocessing_unlike_the_recipes(folder: Path, change: str) -> None:
    path = edited(folder / P, change)
    assert "unlike-training" in {finding.rule for finding in run(path, recipe=Recipe()).findings}
    assert not run(path, recipe=Recipe(), fix=True).findings
    assert not run(path).findings or "padding" in change or "aspect" in change


def test_a_parse_error_is_one_of_glibs(folder: Path) -> None:
    """Where lint says that GLib refuses the file, GLib does; and the other way round."""
    syntax = (
        "semicolon-comment",
        "junk-line",
        "comment-behind-group",
        "no-group",
        "invalid-group",
        "invalid-key",
        "byte-order-mark",
        "yaml-in-ini",
    )
    for seed in SEEDS:
        if seed[1] == Y or seed[3]:
            continue
        text = (folder / seed[1]).read_bytes()
        path = planted(folder, seed)
        refused = any(finding.rule in syntax for finding in run(path).findings)
        try:
            KeyFile(path.read_bytes().decode(errors="surrogateescape"))
        except ValueError:
            assert refused, seed[0]
        else:
            assert not refused, seed[0]
        path.write_bytes(text)


def test_what_a_pipeline_sets_stands_above_the_networks_file(folder: Path) -> None:
    edited(folder / P, "gie-unique-id=1\n -> ")
    assert run(folder / A).findings == []
    assert [finding.rule for finding in run(folder / P).findings] == ["no-unique-id"]


def test_old_files_without_network_type(folder: Path) -> None:
    path = edited(
        folder / P,
        "network-type=0 -> is-classifier=1",
        "[class-attrs-all]\npre-cluster-threshold=0.25\n -> ",
    )
    assert "no-cluster-mode" not in {finding.rule for finding in run(path).findings}


def test_passwords_reach_no_report(folder: Path) -> None:
    path = edited(
        folder / A,
        "uri=rtsp://a/b -> uri=rtsp://user:hunter2@a/b?token=hunter2 # door",
        "type=2\nuri=file:///b.mp4 -> type=3\\nuri=https://user:hunter2@h/%20",
    )
    for fix in (False, True):
        report = run(path, fix=fix)
        assert report.findings
        assert "hunter2" not in report.text() + report.render("json") + report.render("sarif")
    assert "hunter2" in path.read_text()


SECRET = "SeCr3t"
URIS = (
    f"rtsp://u:{SECRET}@h",
    f"rtsp://u:{SECRET}@h:554/s?k={SECRET} # door",
    f"rtsp:/u:{SECRET} x@h",
    f"x=http://u:{SECRET}=1@h",
    f"rtsp: //u:{SECRET}@h",
)


def places(lines: list[str], uri: str) -> Iterator[str]:
    """The file with the URI as each value, and beside the first, a middle and the last line in
    every other way.
    """
    for number, line in enumerate(lines):
        if found := re.match(r"[^#].*?(=|: )", line):
            yield "\n".join([*lines[:number], f"{found[0]}{uri}", *lines[number + 1 :]])
    for number in (0, len(lines) // 2, len(lines)):
        for other in (
            uri,
            f"[{uri}]",
            f"[sink0] {uri}",
            f"{uri}: 1",
            f"{uri}=1",
            f"; {uri}",
            f"key]={uri}",
        ):
            yield "\n".join([*lines[:number], other, *lines[number:]])


@pytest.mark.parametrize("name", [P, Y, A, "app.yml"])
def test_a_password_in_any_place_reaches_no_report(folder: Path, name: str) -> None:
    (folder / "m.onnx").unlink()  # read anew for every file otherwise
    path = folder / name
    lines = path.read_text().splitlines()
    for text in (text for uri in URIS for text in places(lines, uri)):
        path.write_text(text)
        shown = ""
        for read in (
            run,
            partial(read_config, known=app_keys.app if name in (A, "app.yml") else keys.nvinfer),
        ):
            try:
                report = read(path)
            except ForgeError as error:
                shown += error.problem + error.hint
            else:
                shown += (
                    "".join(report.render(form) for form in ("text", "json", "sarif"))
                    if read is run
                    else ""
                )
        assert SECRET not in shown, shown


@pytest.mark.parametrize(
    "old",
    [
        "[property] -> [property]\\nrtsp://u:SeCr3t@h",
        "process-mode=1 -> process_mode=rtsp://u:SeCr3t@h",
        "[class-attrs-all] -> [rtsp://u:SeCr3t@h]",
    ],
)
def test_a_correction_keeps_a_password_in_the_file(folder: Path, old: str) -> None:
    path = edited(folder / P, old)
    report = run(path, fix=True)
    assert "rtsp://u:SeCr3t@h" in path.read_text()
    assert SECRET not in report.text()


def test_a_camera_is_no_yaml(folder: Path) -> None:
    path = edited(folder / P, "[property] -> [property]\\nrtsp://u:SeCr3t@h")
    (finding,) = run(path).findings
    assert (finding.rule, finding.fix) == ("junk-line", None)


def test_json_and_sarif(folder: Path) -> None:
    report = run(
        edited(folder / P, "process-mode -> process_mode", "onnx-file=m.onnx -> onnx-file=m.onnx ")
    )
    document = json.loads(report.render("json"))
    assert document["errors"] == report.count("error") >= 1
    assert {"rule", "severity", "file", "line", "why", "corrected"} == set(document["findings"][0])
    sarif = json.loads(report.render("sarif"))
    assert sarif["version"] == "2.1.0"
    (one,) = sarif["runs"]
    rules = [rule["id"] for rule in one["tool"]["driver"]["rules"]]
    for result in one["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]
        assert result["level"] in ("error", "warning", "note")
        assert result["locations"][0]["physicalLocation"]["region"]["startLine"] >= 1
    assert any("fixes" in result for result in one["results"])


def test_errors_fail_the_gate(folder: Path) -> None:
    with pytest.raises(GateError, match="1 error in 1 file"):
        run(edited(folder / P, "onnx-file=m.onnx -> onnx-file=m.onnx ")).gate()
    run(
        edited(
            folder / P, "onnx-file=m.onnx  -> onnx-file=m.onnx", "process-mode=1 -> process_mode=1"
        )
    ).gate()


def test_a_correction_keeps_the_rest_of_the_file(folder: Path) -> None:
    path = edited(folder / P, "batch-size=4 -> # how many\\nbatch_size=4\r")
    os.chmod(path, 0o640)
    before = path.read_bytes()
    run(path, fix=True)
    assert path.read_bytes() == before.replace(b"batch_size=4\r", b"batch-size=4\r")
    assert path.stat().st_mode & 0o777 == 0o640


def test_yaml_keeps_its_indent_and_remarks(folder: Path) -> None:
    path = edited(
        folder / Y, "  maintain-aspect-ratio: 1 ->   maintain-aspect-ratio: yes   # as trained"
    )
    run(path, fix=True)
    assert "  maintain-aspect-ratio: 1   # as trained\n" in path.read_text()


@pytest.mark.parametrize(
    "text",
    [
        "infer_config {\n unique_id: 1\n}\n",
        "[property]\nnetwork-input-shape=1;3;64;64\n",
        "[property]\nconfig-width=1\n",
        "[something]\nelse=1\n",
    ],
)
def test_other_files_are_not_judged(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(ForgeError, match=r"a\.txt"):
        run(tmp_path / "a.txt")


def test_the_rest_is_reported_beside_what_is_no_configuration(folder: Path) -> None:
    """`lint folder/*.txt`: labels that a configuration names are no mistake, anything else is, at
    the end.
    """
    edited(folder / P, "gie-unique-id=1\n -> ")
    edited(folder / A, "gie-unique-id=1\n -> ")
    (folder / "notes.txt").write_text("to do\n")
    (folder / "more.txt").write_bytes(b"\0")
    with_labels = run(*sorted(folder.glob("[ap]*.txt")))
    assert len(with_labels.files) == 2
    with pytest.raises(GateError, match="1 error in 2 files"):
        with_labels.gate()
    every = run(folder / "none.txt", *sorted(folder.glob("*.txt")))
    assert [finding.rule for finding in every.findings] == ["no-unique-id"]
    assert len(json.loads(every.render("json"))["unread"]) == 3
    (called,) = json.loads(every.render("sarif"))["runs"][0]["invocations"]
    assert not called["executionSuccessful"]
    with pytest.raises(ForgeError, match=r"none\.txt.*more\.txt.*notes\.txt") as error:
        every.gate()
    assert error.value.code == 2


def test_a_network_that_a_pipeline_names_must_be_one(folder: Path) -> None:
    path = edited(folder / A, "config-file=pgie_config.txt -> config-file=pgie_labels.txt")
    report = run(path, folder / "pgie_labels.txt")
    with pytest.raises(ForgeError, match="pgie_labels"):
        report.gate()


def test_only_files_that_were_given_are_corrected(folder: Path) -> None:
    path = edited(folder / P, "process-mode -> process_mode")
    before = path.read_bytes()
    report = run(folder / A, fix=True)
    assert path.read_bytes() == before
    assert ([finding.rule for finding in report.findings], report.fixed) == (["unknown-key"], {})
    assert not run(folder / A, path, fix=True).findings


def test_hostile_files(tmp_path: Path) -> None:
    """No crash: whatever stands in a file is a finding, or an error of the user's."""
    cases = {
        "a.yml": "property: &x {a: 1}\nb: *x\n",
        "b.yml": "- 1\n",
        "c.yml": "property: 3\n",
        "d.yml": "a: " + "[" * 3000,
        "e.yml": "property:\n  batch-size: {a: 1}\n  ? [1]\n  : 2\n",
        "f.txt": "[property]\nbatch-size=" + "9" * 5000,
        "g.txt": "[property]\n" + "=\n" * 2000,
        "h.yml": "property:\n  infer-dims:\n  batch-size: ~\n",
        "i.txt": "[property]\ninfer-dims=;\noffsets=;;\noperate-on-class-ids=\n",
        "j.txt": "[sink]\nenable=1\n",
        "k.txt": "[property]\nonnx-file=../../../../etc/passwd\nmodel-engine-file=/dev/zero\n",
        "l.yml": "property:\n",
        "m.txt": "[source0]\nenable=1\ntype=3\nnum-sources=x\n[source99999999]\n[primary-gie]\nenable=1\n",
    }
    for name, text in cases.items():
        (tmp_path / name).write_text(text)
        for fix in (False, True):
            try:
                run(tmp_path / name, fix=fix).text()
            except ForgeError as error:
                assert name in error.problem, error.problem


@pytest.mark.parametrize(
    "text",
    [
        "[sink1]\nenable=0\ntype=file\nfoo=1\n",
        "[source5]\nenable=0\ntype=4\nuri=\nlatency=x\n",
        "[secondary-gie3]\nenable=0\nconfig-file=none.txt\n",
    ],
)
def test_what_is_off_is_not_read(folder: Path, text: str) -> None:
    """deepstream-app returns from a group before it looks at the keys, if enable is 0."""
    path = folder / A
    path.write_text(f"{path.read_text()}{text}")
    assert run(path).findings == []


def test_an_engine_that_is_there_is_not_lost_by_a_correction(folder: Path) -> None:
    (folder / "model.engine").write_bytes(b"ptrt")
    path = edited(folder / P, f"{ENGINE} -> model.engine")
    (finding,) = run(path, fix=True).findings
    assert (finding.rule, finding.fix) == ("engine-rebuild", None)
    assert "model-engine-file=model.engine\n" in path.read_text()


def test_a_key_of_a_newer_version_is_unknown_and_not_wrong(folder: Path) -> None:
    path = edited(folder / P, "network-mode=0 -> network-mode=0\\nstrongly-typed=1")
    assert run(path).findings == []
    (finding,) = run(path, deepstream="7.1").findings
    assert (finding.rule, finding.severity) == ("unknown-since", "note")
