"""Turn a builder's errors into one line for people, with a hint."""

from __future__ import annotations

import re
from typing import Any

from trtforge.backends._bindings import is_rtx, title
from trtforge.errors import BuildError, ForgeError, MachineError

NO_MEMORY = re.compile(
    r"cudaErrorMemoryAllocation|cuda\w* (runtime )?\(?out of memory|cudaError 2\b", re.IGNORECASE
)
# TensorRT-RTX compiles refittable kernels on the GPU; without a driver it names this source file.
JIT_SOURCE = "graph_jit.cpp"


def refusal(trt: Any, subject: str, errors: list[str], plugins: bool) -> ForgeError:
    """Return the error that a failed build ends in.

    Args:
        subject: name of the model file, or of what else was refused; the message begins with it.
        errors: messages that the builder logged. The first is the cause; the others only say that
            the build has failed.
        plugins: the network has plugins.
    """
    text = " ".join(errors)
    if NO_MEMORY.search(text):
        return MachineError(
            f"{subject}: the GPU's memory does not suffice to build it ({first_line(errors[0])})",
            "free GPU memory, or give less --workspace or a smaller --batch",
        )
    if is_rtx(trt) and JIT_SOURCE in text:
        return MachineError(
            f"{subject}: {title(trt)} makes engines with exchangeable weights only where it finds an "
            "NVIDIA driver",
            "drop --refit and --strip-weights, or build on the target",
        )
    reason = "the builder failed without saying why"
    if errors:
        reason = f"the builder says: {first_line(errors[0])}"
    return BuildError(f"{subject}: {reason}", hint(trt, errors, plugins))


def hint(trt: Any, errors: list[str], plugins: bool) -> str:
    """Return what the user can do about a builder's message."""
    text = " ".join(errors)
    if "HW-specific datatypes" in text:
        return "this GPU has no such precision: choose another"
    if re.search(r"NonMaxSuppression|NonZero", text):
        cut = "--nms none cuts it away where it sees every box and class; else export the model "
        return f"{cut}without its NMS, or take --backend onnxruntime"
    if plugins or re.search(r"plugin|EfficientNMS|BatchedNMS", text, re.IGNORECASE):
        if is_rtx(trt):
            return "this builder has no plugins: use --nms none"
        return "if it is the plugin that this builder refuses: --nms-impl onnx, or --nms none"
    if "smem_limit" in text:
        return "give more with --memory-pool tactic-shared-memory=..."
    if "workspace" in text.lower() or "OutOfMemory" in text:
        return "give more with --workspace"
    return ""


def first_line(text: str) -> str:
    """Return the first line of a builder's message, or words for an empty message.

    A line that only says which node is invalid is left out if the reason follows it.
    """
    lines = text.strip().splitlines()
    if len(lines) > 1 and lines[0].startswith("Invalid Node"):
        lines = lines[1:]
    return lines[0].strip() if lines else "it (no reason given)"
