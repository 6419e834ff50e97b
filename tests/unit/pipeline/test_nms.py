"""Which NMS the graph of each backend gets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from trtforge.bundle.facts import DetectorFacts, FoldFacts
from trtforge.names import Backend
from trtforge.pipeline.job import Job
from trtforge.pipeline.nms import patch_options
from trtforge.recipe import Recipe

JOB = Job(Path("m.onnx"), Recipe(), "fp32")
OVERLAPPING = FoldFacts(detection=DetectorFacts("anchor-free", 80, 8400, "shapes"))
RANKED = FoldFacts(detection=DetectorFacts("queries", 80, 300, "shapes"))
ORIENTED = FoldFacts(detection=DetectorFacts("anchor-free", 15, 8400, "shapes", ("angle",)))
NONE = FoldFacts()


@pytest.mark.parametrize(
    ("nms", "facts", "tensorrt", "rtx", "onnxruntime"),
    [
        ("auto", OVERLAPPING, "deepstream", "none", "onnx"),
        ("auto", RANKED, "deepstream", "none", "onnx"),
        ("auto", ORIENTED, "onnx", "none", "onnx"),
        ("auto", NONE, "keep", "keep", "keep"),
        ("deepstream", OVERLAPPING, "deepstream", "none", "onnx"),
        ("deepstream", RANKED, "deepstream", "onnx", "onnx"),
        ("efficientnms", OVERLAPPING, "efficientnms", "none", "onnx"),
        ("onnx", RANKED, "onnx", "onnx", "onnx"),
        ("none", RANKED, "none", "none", "none"),
        ("keep", OVERLAPPING, "keep", "none", "keep"),
    ],
)
def test_forms(nms: str, facts: FoldFacts, tensorrt: str, rtx: str, onnxruntime: str) -> None:
    """TensorRT-RTX can build no NMS, and ONNX Runtime has no plugins."""
    forms: dict[Backend, str] = {
        "tensorrt": tensorrt,
        "tensorrt-rtx": rtx,
        "onnxruntime": onnxruntime,
    }
    for backend, form in forms.items():
        assert patch_options(replace(JOB, nms=nms), backend, facts).form == form
