"""A repository with a model, photographs and labels; fleets are written into it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from trtforge.fleet.plan import Plan, plan
from trtforge.fleet.schema import load

HEAD = """
models:
  yolo: {model: yolo.onnx, calib: photos, verify: {images: photos, labels: labels.json, max_drop: 1}}
"""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "repository"
    (folder / "photos").mkdir(parents=True)
    for name in ("yolo.onnx", "labels.json", "a model's $(id).onnx"):
        (folder / name).touch()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def fleet(repository: Path) -> Callable[[str], Path]:
    """Writes a fleet; with one model, if the text has none of its own."""

    def write(text: str) -> Path:
        path = repository / "fleet.yaml"
        path.write_text(text if "models:" in text else HEAD + text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def planned(fleet: Callable[[str], Path]) -> Callable[[str], Plan]:
    return lambda text: plan(load(fleet(text)))
