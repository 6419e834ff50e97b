"""The records of the backends against the code that they speak about."""

from __future__ import annotations

from dataclasses import fields
from typing import get_args

import pytest

from trtforge.backends.options import BuildOptions
from trtforge.backends.tensorrt_rtx import UNSERVED
from trtforge.names import BACKENDS, Backend
from trtforge.traits import TRAITS


def test_every_backend_has_a_record() -> None:
    assert tuple(TRAITS) == BACKENDS == get_args(Backend)


def test_graphs_of_all_backends_fit_into_one_folder() -> None:
    assert len({traits.graph_suffix for traits in TRAITS.values()}) == len(TRAITS)


def test_what_is_ignored_is_an_option() -> None:
    options = {field.name for field in fields(BuildOptions)}
    for traits in TRAITS.values():
        assert options >= set(traits.ignored)
    assert set(TRAITS["tensorrt-rtx"].ignored) == UNSERVED.keys()


@pytest.mark.parametrize(
    ("backend", "form", "ranked", "expected"),
    [
        ("tensorrt", "auto", False, "deepstream"),
        ("tensorrt", "efficientnms", False, "efficientnms"),
        ("tensorrt-rtx", "auto", False, "none"),
        ("tensorrt-rtx", "onnx", False, "none"),
        ("tensorrt-rtx", "onnx", True, "onnx"),
        ("tensorrt-rtx", "keep", True, "none"),
        ("onnxruntime", "auto", False, "onnx"),
        ("onnxruntime", "deepstream", False, "onnx"),
        ("onnxruntime", "none", False, "none"),
    ],
)
def test_nms(backend: Backend, form: str, ranked: bool, expected: str) -> None:
    assert TRAITS[backend].nms(form, ranked) == expected
