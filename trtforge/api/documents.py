"""The types of the JSON documents that commands print, and their schemas in docs/schemas/.

    python -m trtforge.api.documents docs/schemas

writes the schemas; a test holds them to the code.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from trtforge.api.results import BuildJson, ReduceJson
from trtforge.deepstream.files import NetworkJson, PipelineJson
from trtforge.deepstream.lint.report import LintJson
from trtforge.deepstream.parser.source import ParserJson
from trtforge.deepstream.triton.repository import TritonJson
from trtforge.devices import Device
from trtforge.evaluate.verification import VerificationJson
from trtforge.fleet.plan import Job, Plan
from trtforge.reporting.diff import DiffJson
from trtforge.stages.patch import Guess, ListedTensor
from trtforge.sweeping.rows import Swept
from trtforge.timing.table import BenchResult
from trtforge.tuning import Tuned

Schema = dict[str, Any]
DRAFT = "https://json-schema.org/draft/2020-12/schema"

# `class` is a word of Python, so its type stands in a call.
ObjectJson = TypedDict(
    "ObjectJson", {"class": int, "name": str, "score": float, "box": list[float]}
)


class ImageJson(TypedDict):
    """An image, the name of its picture, and the objects on it."""

    image: str
    picture: str
    objects: list[ObjectJson]


class DetectJson(TypedDict):
    """The document of ``trtforge detect``."""

    images: list[ImageJson]
    sheet: str | None
    remarks: list[str]


class PreviewJson(DetectJson):
    """The document of ``trtforge deepstream preview``; ``dropped`` counts objects by reason."""

    dropped: dict[str, int]


class ListingJson(TypedDict):
    """The document of ``trtforge patch --list``; ``detection`` is the detector, if there is one."""

    tensors: list[ListedTensor]
    nodes: int
    opset: int
    nms: str | None
    detection: dict[str, object] | None
    likely: list[Guess]
    other: str | None


def schema_of(kind: Any) -> Schema:
    """Return the schema of a document's type.

    Objects have no other keys than those of the type, and figures are null where they are NaN or
    infinite.
    """
    schema = TypeAdapter(kind).json_schema(mode="serialization")
    _tighten(schema)
    return schema


def _tune() -> Schema:
    """Return the schema of ``Tuned``, with the path of the picture."""
    return _extended(schema_of(Tuned), {"picture": {"type": "string"}})


def _matrix() -> Schema:
    """Return the schema of ``Plan``, with what ``listing.document`` computes."""
    schema = _extended(schema_of(Plan), {"install": {"type": "string"}})
    path = {"type": "string"}
    _extended(schema["$defs"][Job.__name__], {"reports": path, "made": path})
    return schema


def _extended(schema: Schema, properties: Schema) -> Schema:
    schema["properties"] |= properties
    schema["required"] = list(schema["properties"])
    return schema


def _tighten(part: object) -> None:
    if isinstance(part, list):
        for item in part:
            _tighten(item)
    if not isinstance(part, dict):
        return
    if part.get("type") == "number":
        part["type"] = ["number", "null"]
    if "properties" in part:
        part.setdefault("additionalProperties", False)
        part["required"] = list(part["properties"])
    part.pop("default", None)
    for item in part.values():
        _tighten(item)


DOCUMENTS: dict[str, Callable[[], Schema]] = {
    "build": lambda: schema_of(BuildJson),
    "verify": lambda: schema_of(VerificationJson),
    "bench": lambda: schema_of(BenchResult),
    "sweep": lambda: schema_of(Swept),
    "tune": _tune,
    "reduce": lambda: schema_of(ReduceJson),
    "detect": lambda: schema_of(DetectJson),
    "diff": lambda: schema_of(DiffJson),
    "lint": lambda: schema_of(LintJson),
    "devices": lambda: schema_of(list[Device]),
    "matrix": _matrix,
    "patch-list": lambda: schema_of(ListingJson),
    "deepstream-config": lambda: schema_of(NetworkJson),
    "deepstream-app": lambda: schema_of(PipelineJson),
    "deepstream-preview": lambda: schema_of(PreviewJson),
    "deepstream-parser": lambda: schema_of(ParserJson),
    "deepstream-triton": lambda: schema_of(TritonJson),
}


def schema_text(name: str) -> str:
    """Return the schema file of a document."""
    return json.dumps({"$schema": DRAFT, **DOCUMENTS[name]()}, indent=2) + "\n"


def main(folder: Path) -> None:
    """Write all schemas into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in DOCUMENTS:
        (folder / f"{name}.schema.json").write_text(schema_text(name), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
