from __future__ import annotations

from types import ModuleType

import pytest

from trtforge.backends._bindings import need
from trtforge.backends._refusal import first_line, refusal
from trtforge.errors import BuildError, MachineError


def bindings(name: str) -> ModuleType:
    """An empty module: of a TensorRT these functions read name and version alone."""
    made = ModuleType(name)
    made.__version__ = "10.3.0"  # type: ignore[attr-defined]
    return made


TENSORRT, RTX = bindings("tensorrt"), bindings("tensorrt_rtx")


@pytest.mark.parametrize(
    ("trt", "errors", "plugins", "kind", "hint"),
    [
        (
            TENSORRT,
            ["Error Code 2: OutOfMemory (Requested size was 39933824 bytes.)"],
            False,
            BuildError,
            "--workspace",
        ),
        (TENSORRT, ["Cuda Runtime (out of memory)"], False, MachineError, "free GPU memory"),
        (
            TENSORRT,
            ["virtualMemoryBuffer.cpp: cudaErrorMemoryAllocation"],
            False,
            MachineError,
            "free GPU memory",
        ),
        (
            TENSORRT,
            ['creator && "Plugin not found, are the plugin name"'],
            False,
            BuildError,
            "--nms-impl onnx",
        ),
        (TENSORRT, ["no implementation for a node"], True, BuildError, "--nms-impl onnx"),
        (
            RTX,
            ['creator && "Plugin not found, are the plugin name"'],
            False,
            BuildError,
            "--nms none",
        ),
        (
            RTX,
            ["MyelinCheckException: graph_jit.cpp:278: CHECK(status == CUDA_SUCCESS)"],
            False,
            MachineError,
            "--refit",
        ),
        (TENSORRT, [], False, BuildError, ""),
    ],
)
def test_what_the_user_can_do(trt, errors, plugins, kind, hint):
    error = refusal(trt, "m.onnx", errors, plugins)
    assert type(error) is kind
    assert hint in error.hint
    assert error.problem.startswith("m.onnx: ")
    assert "\n" not in error.problem


def test_what_a_version_lacks_is_named_with_the_version():
    with pytest.raises(
        MachineError, match=r"TensorRT 10\.3\.0 has no BuilderFlag\.REFIT, which --refit needs"
    ):
        need(TENSORRT, "--refit", "BuilderFlag.REFIT")


def test_the_reason_is_more_than_which_node_is_invalid() -> None:
    assert (
        first_line("Invalid Node - n4\nA is Half, B is Float\nA is Half") == "A is Half, B is Float"
    )
    assert first_line("Invalid Node - n4\n") == "Invalid Node - n4"
    assert first_line("K is too large\nmore") == "K is too large"
    assert first_line("") == "it (no reason given)"
