"""The examples of docs/python.md run, one after the other, and print nothing by themselves."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

import trtforge

ROOT = Path(trtforge.__file__).parents[1]
PAGE = ROOT / "docs" / "python.md"
DEMO = ROOT / "recipes" / "demo"
IMAGES = 4


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copy(DEMO / "demo.onnx", tmp_path)
    truth = json.loads((DEMO / "validation" / "labels.json").read_text())
    images = sorted(truth["images"], key=lambda image: image["file_name"])[:IMAGES]
    (tmp_path / "photos").mkdir()
    for image in images:
        shutil.copy(DEMO / "validation" / image["file_name"], tmp_path / "photos")
    kept = {image["id"] for image in images}
    boxes = [box for box in truth["annotations"] if box["image_id"] in kept]
    (tmp_path / "labels.json").write_text(
        json.dumps({**truth, "images": images, "annotations": boxes})
    )
    return tmp_path


def test_the_examples_run(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.S)
    assert len(blocks) == 9
    names: dict[str, object] = {"print": lambda *words: None}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    assert (folder / "bundle" / "manifest.json").is_file()
    assert (folder / "pictures").is_dir()
    out, err = capfd.readouterr()
    assert out == ""
    assert "trtforge" not in err
    assert "hint" not in err


def test_the_page_names_every_function() -> None:
    text = PAGE.read_text()
    for name in trtforge.__all__:
        assert re.search(rf"\b{name}\b", text), f"docs/python.md has no {name}"


def test_progress_goes_from_0_to_1(folder: Path) -> None:
    seen: list[tuple[str, float]] = []
    trtforge.detect(
        "demo.onnx", "photos", "pictures", progress=lambda label, share: seen.append((label, share))
    )
    assert [share for _, share in seen] == sorted(share for _, share in seen)
    assert (seen[0][1], seen[-1][1]) == (0.0, 1.0)
