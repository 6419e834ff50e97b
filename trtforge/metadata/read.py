"""Read what an ONNX file says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from trtforge.metadata.dialects import parse
from trtforge.metadata.records import NOTHING, Metadata

if TYPE_CHECKING:
    import onnx


def of_model(model: onnx.ModelProto) -> Metadata:
    """Return what a model says of itself."""
    return parse({entry.key: entry.value for entry in model.metadata_props})


def of_file(path: Path) -> Metadata:
    """Return what an ONNX file says of itself; nothing where it can't be read as one.

    Its weights are neither loaded nor checked: the stage that needs them says what is wrong.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        return of_model(onnx.load(path, format="protobuf", load_external_data=False))
    except (DecodeError, ValueError, OSError):
        return NOTHING
