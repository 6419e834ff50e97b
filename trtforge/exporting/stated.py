"""Read what a PyTorch model says of itself, for the metadata of its ONNX file."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

from trtforge.metadata import values

CONFIG = (
    "extra/config.txt"  # where TorchScript keeps an extra file; Ultralytics writes JSON into it
)


def of_torchscript(path: Path) -> dict[str, str]:
    """Return what the extra file of a TorchScript archive says, as text; nothing without one."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = [each for each in archive.infolist() if each.filename.endswith("/" + CONFIG)]
            if len(members) != 1 or members[0].file_size > values.MAX_CHARACTERS:
                return {}
            text = archive.read(members[0]).decode("utf-8")
    except (OSError, ValueError, zipfile.BadZipFile):
        return {}
    content = values.literal(text)
    return _texts(content) if isinstance(content, dict) else {}


def of_module(module: object) -> dict[str, str]:
    """Return the names of the classes that a module has as ``names``, as detectors of YOLO do."""
    names = getattr(module, "names", None)
    if not isinstance(names, (Mapping, list, tuple)) or not values.names(str(names)):
        return {}
    return {"names": str(names)}


def _texts(content: Mapping[object, object]) -> dict[str, str]:
    return {
        str(key): value if isinstance(value, str) else str(value)
        for key, value in content.items()
        if value is not None
    }
