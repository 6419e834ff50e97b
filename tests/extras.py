"""Skip tests that need an optional part of trtforge where it is not installed."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest

# The modules that the tests of an extra import. pyproject.toml lists the distributions.
MODULES = {
    "torch": ("torch", "onnxscript"),
    "rtx": ("tensorrt_rtx",),
    "ray": ("ray",),
    "shared": ("fsspec",),
    "dev": ("check_jsonschema", "hatchling"),
}


def missing(extra: str) -> bool:
    """Return whether a module of the extra is not installed."""
    return any(find_spec(module) is None for module in MODULES[extra])


def needs(extra: str) -> Any:
    """Return the first module of an extra, or skip the calling test or test file."""
    for module in MODULES[extra]:
        pytest.importorskip(module, reason=f"needs the extra [{extra}]")
    return pytest.importorskip(MODULES[extra][0])
