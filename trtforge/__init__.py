"""Take a model from PyTorch to the edge: fold, calibrate, quantize, patch, build, bundle.

The Python API has a function for each command. It prints nothing, and raises ``ForgeError``:

    import trtforge

    trtforge.build("yolov7.onnx", precision=trtforge.Int8(calib="imgs"), device="rtx-4090")

A name is imported when it is first used, so ``import trtforge`` costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trtforge.version import __version__ as __version__

if TYPE_CHECKING:
    from trtforge.api.calibrate import calibrate
    from trtforge.api.catalogue import list_devices, list_recipes
    from trtforge.api.deepstream import (
        deepstream_app,
        deepstream_config,
        deepstream_parser,
        deepstream_preview,
        deepstream_triton,
        lint,
    )
    from trtforge.api.graphs import cast, describe_graph, export, fold, patch, quantize
    from trtforge.api.layers import diff, report
    from trtforge.api.make import build, prepare
    from trtforge.api.measure import bench, detect, verify
    from trtforge.api.reduce import reduce
    from trtforge.api.search import sweep, tune
    from trtforge.errors import BuildError, ForgeError, GateError, MachineError
    from trtforge.options.builder import Builder
    from trtforge.options.limits import Limits
    from trtforge.options.nms import Nms
    from trtforge.options.precision import Fp8, Fp16, Fp32, Int8, Precision

__all__ = [
    "BuildError",
    "Builder",
    "ForgeError",
    "Fp8",
    "Fp16",
    "Fp32",
    "GateError",
    "Int8",
    "Limits",
    "MachineError",
    "Nms",
    "Precision",
    "bench",
    "build",
    "calibrate",
    "cast",
    "deepstream_app",
    "deepstream_config",
    "deepstream_parser",
    "deepstream_preview",
    "deepstream_triton",
    "describe_graph",
    "detect",
    "diff",
    "export",
    "fold",
    "lint",
    "list_devices",
    "list_recipes",
    "patch",
    "prepare",
    "quantize",
    "reduce",
    "report",
    "sweep",
    "tune",
    "verify",
]

_MODULES = {
    "trtforge.api.calibrate": ("calibrate",),
    "trtforge.api.catalogue": ("list_devices", "list_recipes"),
    "trtforge.api.deepstream": (
        "deepstream_app",
        "deepstream_config",
        "deepstream_parser",
        "deepstream_preview",
        "deepstream_triton",
        "lint",
    ),
    "trtforge.api.graphs": ("cast", "describe_graph", "export", "fold", "patch", "quantize"),
    "trtforge.api.layers": ("diff", "report"),
    "trtforge.api.make": ("build", "prepare"),
    "trtforge.api.measure": ("bench", "detect", "verify"),
    "trtforge.api.reduce": ("reduce",),
    "trtforge.api.search": ("sweep", "tune"),
    "trtforge.errors": ("BuildError", "ForgeError", "GateError", "MachineError"),
    "trtforge.options.builder": ("Builder",),
    "trtforge.options.limits": ("Limits",),
    "trtforge.options.nms": ("Nms",),
    "trtforge.options.precision": ("Fp16", "Fp32", "Fp8", "Int8", "Precision"),
}


def __getattr__(name: str) -> object:
    from importlib import import_module

    for module, names in _MODULES.items():
        if name in names:
            value: object = getattr(import_module(module), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module 'trtforge' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
