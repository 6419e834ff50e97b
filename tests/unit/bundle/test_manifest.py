"""The manifest: written, read back, and published as a JSON schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trtforge.bundle import folder
from trtforge.bundle.facts import BuildFacts, DetectorFacts, FoldFacts, PatchFacts, TensorFacts
from trtforge.bundle.folder import FileEntry
from trtforge.bundle.manifest import ImageSource, Manifest, ModelSource, Sources, TargetEntry
from trtforge.bundle.read import read_prepared
from trtforge.recipe import Recipe
from trtforge.store import to_json

SCHEMA = Path(__file__).parents[3] / "docs" / "manifest.schema.json"
OUTPUT = TensorFacts("boxes", "float32", ("batch", 100, None))
MANIFEST = Manifest(
    model="m",
    precision="int8",
    batch=(1, 2, 4),
    target=TargetEntry("tensorrt-rtx", "rtx-4090", 89),
    deepstream="9.1",
    inputs=Sources(ModelSource("m.onnx", "0" * 64), ImageSource(8, "1" * 64)),
    recipe=Recipe(labels=("cat", "dog")),
    facts=FoldFacts(
        size=(64, 96), outputs={"o": ("batch", 4)}, detection=DetectorFacts("ranked", 2, None, "x")
    ),
    graphs=("tensorrt", "tensorrt-rtx"),
    patches={
        "tensorrt": PatchFacts("deepstream", "plugin", outputs=(OUTPUT,)),
        "tensorrt-rtx": PatchFacts("none"),
    },
    engine=BuildFacts("tensorrt-rtx", 89, built={"version": "1.7", "sm": 89}, scratch_bytes=3),
    tools={"numpy": "2"},
    files={"m.onnx": FileEntry("2" * 64, 5)},
)


def test_what_is_written_is_read_back() -> None:
    text = json.dumps(to_json(MANIFEST))
    assert Manifest.model_validate_json(text) == MANIFEST


def without_descriptions(schema: Any) -> Any:
    """Leave out the docstrings, which may be reworded without a change of the contract."""
    if isinstance(schema, dict):
        return {
            key: without_descriptions(value)
            for key, value in schema.items()
            if key != "description" or not isinstance(value, str)
        }
    return [without_descriptions(value) for value in schema] if isinstance(schema, list) else schema


def test_the_published_schema_is_this_one() -> None:
    """After a change, write it anew with indent=1; where readers would break, FORMAT goes up."""
    schema = Manifest.model_json_schema(mode="serialization", by_alias=True)
    assert without_descriptions(json.loads(SCHEMA.read_text())) == without_descriptions(schema)


def test_a_manifest_fits_the_published_schema() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(json.loads(json.dumps(to_json(MANIFEST))), json.loads(SCHEMA.read_text()))


def test_the_folder_lists_its_files_in_the_manifest(tmp_path: Path) -> None:
    out = tmp_path / "out"
    folder.write(out, {"m.onnx": b"graph"}, to_json(MANIFEST), force=False)
    content = json.loads((out / folder.MANIFEST).read_text())
    assert list(content) == list(to_json(MANIFEST))
    assert content["files"]["m.onnx"]["bytes"] == 5
    assert (content["weak"], "implicit" in content) == (False, False)


@pytest.mark.parametrize("implicit", [True, False])
def test_folders_of_implicit_precision(tmp_path: Path, implicit: bool) -> None:
    """The manifest calls it weak, as it always has."""
    manifest = MANIFEST.model_copy(update={"implicit": implicit, "graphs": ("tensorrt",)})
    name = "m.fp32.onnx" if implicit else "m.onnx"
    folder.write(tmp_path / "out", {name: b"graph"}, to_json(manifest), force=False)
    content = json.loads((tmp_path / "out" / folder.MANIFEST).read_text())
    prepared = read_prepared(tmp_path / "out")
    assert (content["weak"], prepared.implicit) == (implicit, implicit)
    assert prepared.graphs["tensorrt"].path.name == name
