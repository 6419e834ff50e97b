"""Pictures of histograms: one for each tensor, whatever its name is, and the folder whole or not at
all.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.models import photographs, yolov7_like
from trtforge.calibration import ranges
from trtforge.cli import app
from trtforge.errors import ForgeError
from trtforge.graph.fold import fold
from trtforge.graph.model import save
from trtforge.reporting.svg import NAMESPACE, shorten
from trtforge.stages import plots

HOSTILE = [
    "a/b",
    "a-b",
    "a_b",
    "A/B",
    "../../etc/passwd",
    "x" * 10_000,
    "x" * 9_999 + "y",
    "<script>alert(1)</script>",
    "NUL",
    ".",
    "",
    "узел",
    "\x00\x1b",
    "a\nb",
    "C:\\con",
    "-rf",
    "&amp;",
]


def trtforge(*words: str | Path, code: int = 0) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == code, done.stderr
    return done.stderr if code else done.stdout


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, photographs, its table and its plots."""
    out = tmp_path_factory.mktemp("made")
    save(fold(yolov7_like()), out / "clean.onnx")
    (out / "photos").mkdir()
    for index in range(4):
        pixels = (photographs(1, index)[0].transpose(1, 2, 0) * 255).astype(np.uint8)
        Image.fromarray(pixels).save(out / "photos" / f"{index}.png")
    said = trtforge(
        "calibrate",
        out / "clean.onnx",
        "--calib",
        out / "photos",
        "-o",
        out / "c.json",
        "--plots",
        out / "plots",
    )
    assert f"{out / 'plots'}: {len(names(out / 'plots'))} plots" in said
    return out


def test_a_picture_for_each_tensor_with_its_range(made: Path) -> None:
    table = ranges.load(made / "c.json")
    files = sorted((made / "plots").iterdir())
    assert len(files) == len(table.histograms) > 5
    for file, (name, seen) in zip(files, table.histograms.items(), strict=True):
        root = ET.fromstring(file.read_bytes())
        said = " ".join(str(each.text) for each in root.iter(f"{{{NAMESPACE}}}text"))
        assert name in said
        assert f"{seen.counts.sum():,} values of 4 images" in said
        assert f"INT8 ends at {table.amax[name]:.4g}" in said
        assert root.find(f"{{{NAMESPACE}}}style") is not None


def test_any_names(made: Path, tmp_path: Path) -> None:
    table = ranges.load(made / "c.json")
    first = next(iter(table.histograms))
    odd = replace(
        table,
        histograms=dict.fromkeys(HOSTILE, table.histograms[first]),
        methods=dict.fromkeys(HOSTILE, "mse"),
        amax=dict.fromkeys(HOSTILE, table.amax[first]),
        moved=dict.fromkeys(HOSTILE, 0.0),
    )
    ranges.save(odd, tmp_path / "odd.json")
    assert plots.write(tmp_path / "odd.json", tmp_path / "plots") == len(HOSTILE)
    files = names(tmp_path / "plots")
    assert len({file.lower() for file in files}) == len(HOSTILE)
    assert all(len(file) < 80 and plots.OURS.fullmatch(file) for file in files)
    assert names(tmp_path) == ["odd.json", "plots"]
    for file, name in zip(files, HOSTILE, strict=True):
        root = ET.fromstring((tmp_path / "plots" / file).read_bytes())
        assert not list(root.iter(f"{{{NAMESPACE}}}script"))
        heading = str(root.findtext(f"{{{NAMESPACE}}}text") or "")
        assert heading == shorten(name, 64).replace("\x00", "\ufffd").replace("\x1b", "\ufffd")


def test_merged_shards_give_the_pictures_of_one_run(made: Path, tmp_path: Path) -> None:
    shards = [tmp_path / "1.json", tmp_path / "2.json"]
    for number, shard in enumerate(shards, 1):
        trtforge(
            "calibrate",
            made / "clean.onnx",
            "--calib",
            made / "photos",
            "--shard",
            f"{number}/2",
            "-o",
            shard,
        )
    trtforge(
        "calibrate", "--merge", *shards, "-o", tmp_path / "c.json", "--plots", tmp_path / "plots"
    )
    assert names(tmp_path / "plots") == names(made / "plots")
    for file in names(made / "plots"):
        assert (tmp_path / "plots" / file).read_bytes() == (made / "plots" / file).read_bytes()


def test_pictures_of_another_model_are_replaced(made: Path, tmp_path: Path) -> None:
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "0099-gone.svg").touch()
    plots.write(made / "c.json", tmp_path / "plots")
    assert names(tmp_path / "plots") == names(made / "plots")


@pytest.mark.parametrize("case", ["shard", "file", "others", "folder", "images", "table", "cache"])
def test_what_is_refused_before_any_work(made: Path, tmp_path: Path, case: str) -> None:
    out, target = tmp_path / "c.json", tmp_path / "plots"
    words: list[str | Path] = ["calibrate", made / "clean.onnx", "--calib", made / "photos"]
    if case == "shard":
        words, problem = [*words, "--shard", "1/2"], "a shard has none"
    elif case == "file":
        target.touch()
        problem = "is a file"
    elif case == "others":
        target.mkdir()
        (target / "notes.svg").touch()
        problem = "holds 'notes.svg', which is no plot"
    elif case == "folder":
        (target / "0001-a.svg").mkdir(parents=True)
        problem = "which is no plot"
    elif case == "images":
        target, problem = made / "photos" / "plots", "lies among the images"
    elif case == "table":
        target.mkdir()
        out, problem = target / "c.json", "holds only plots"
    else:
        target.mkdir()
        words, problem = [*words, "--cache", target / "c.cache"], "holds only plots"
    before = sorted(tmp_path.rglob("*"))
    assert problem in trtforge(*words, "-o", out, "--plots", target, code=2)
    assert sorted(tmp_path.rglob("*")) == before
    assert len(names(made / "photos")) == 4


def test_a_picture_that_fails_leaves_the_folder(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was there stays whole: the new pictures come all at once."""
    from trtforge.reporting import range_picture

    plots.write(made / "c.json", tmp_path / "plots")
    before = {
        file: (tmp_path / "plots" / file).stat().st_mtime_ns for file in names(tmp_path / "plots")
    }
    real, calls = range_picture.render, []

    def failing(*arguments: object) -> str:
        calls.append(arguments)
        if len(calls) == 3:
            raise ForgeError("no room")
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(range_picture, "render", failing)
    with pytest.raises(ForgeError, match="no room"):
        plots.write(made / "c.json", tmp_path / "plots")
    assert {
        file: (tmp_path / "plots" / file).stat().st_mtime_ns for file in names(tmp_path / "plots")
    } == before
    assert names(tmp_path) == ["plots"]
