"""docs/schemas/: held to the code, and to what commands print."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import trtforge
from trtforge.api.documents import DOCUMENTS, schema_text
from trtforge.cli import app

jsonschema = pytest.importorskip("jsonschema")
ROOT = Path(trtforge.__file__).parents[1]
SCHEMAS = ROOT / "docs" / "schemas"
DEMO = ROOT / "recipes" / "demo"


def printed(*words: str | Path) -> Any:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code in (0, 4), done.output
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    (folder / "photos").mkdir()
    for image in sorted((DEMO / "validation").glob("*.jpg"))[:2]:
        shutil.copy(image, folder / "photos")
    trtforge.build(DEMO / "demo.onnx", backend="onnxruntime", out=folder / "out")
    return folder


def check(name: str, document: Any) -> None:
    jsonschema.validate(document, json.loads((SCHEMAS / f"{name}.schema.json").read_text()))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_published_schema_is_this_one(name: str) -> None:
    assert (SCHEMAS / f"{name}.schema.json").read_text() == schema_text(name)


def test_there_is_no_other_schema() -> None:
    assert {path.name for path in SCHEMAS.iterdir()} == {
        f"{name}.schema.json" for name in DOCUMENTS
    }


def test_what_commands_print(bundle: Path, tmp_path: Path) -> None:
    model, out, photos = DEMO / "demo.onnx", bundle / "out", bundle / "photos"
    config, plugin = tmp_path / "config", tmp_path / "plugin.onnx"
    trtforge.patch(model, plugin, nms="efficientnms")
    documents = {
        "build": ("build", model, "--backend", "onnxruntime", "-o", tmp_path / "o", "--json"),
        "verify": ("verify", model, out, "--images", photos, "--per-layer", "--json"),
        "bench": ("bench", out, "--warmup", "1ms", "--duration", "1ms", "--json"),
        "sweep": (
            *("sweep", model, "--backend", "onnxruntime", "--precision", "fp32"),
            *("--duration", "1ms", "-o", tmp_path / "sweep", "--json"),
        ),
        "detect": ("detect", out, photos, "-o", tmp_path / "pictures", "--json"),
        "diff": ("diff", model, model, "--json"),
        "reduce": (
            *("reduce", plugin, "--backend", "onnxruntime"),
            *("-o", tmp_path / "part.onnx", "--json"),
        ),
        "devices": ("devices", "--json"),
        "matrix": ("matrix", DEMO / "fleet.yaml", "--json"),
        "patch-list": ("patch", model, "--list", "--json"),
        "deepstream-config": ("deepstream", "config", out, "-o", config, "--json"),
        "lint": ("deepstream", "lint", config / "pgie_config.txt", "--format", "json"),
        "deepstream-app": (
            *("deepstream", "app", config / "pgie_config.txt"),
            *("--stream", "file:///a.mp4", "-o", config / "app.txt", "--json"),
        ),
        "deepstream-triton": ("deepstream", "triton", out, "-o", tmp_path / "triton", "--json"),
    }
    for name, words in documents.items():
        check(name, printed(*words))
