"""Mixed precision under a budget, on the demo detector."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.conftest import DEMO, ROOT, Run

VALIDATION = ROOT / "recipes" / "demo" / "validation"


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight validation images: enough to run, not to tell."""
    folder = tmp_path_factory.mktemp("few")
    for file in sorted(VALIDATION.glob("*.jpg"))[:8]:
        shutil.copy(file, folder)
    return folder


def test_a_loose_budget_keeps_nothing_float(
    trtforge: Callable[..., Run], photos: Path, few: Path, tmp_path: Path
) -> None:
    out = tmp_path / "tuned.yaml"
    run = trtforge(
        "tune", DEMO, "--calib", photos, "--images", few, "--max-drop", "90", "-o", out, "--json"
    )
    assert run.code == 0, run.err
    assert run.document["keep"] == []
    assert run.document["blocks"] == []
    assert run.document["share"] > 0.95
    assert run.document["picture"] == str(out.with_suffix(".svg"))
    assert out.with_suffix(".svg").read_text().count("dot") > 1
    assert (
        trtforge("build", DEMO, "--int8", "--calib", photos, "--recipe", out, "--dry-run").code == 0
    )


def test_a_budget_that_only_float_meets(
    trtforge: Callable[..., Run], photos: Path, few: Path, tmp_path: Path
) -> None:
    """Three operators may be INT8; the budget of nothing at all keeps those float that move a box."""
    recipe = tmp_path / "few.yaml"
    recipe.write_text("precision:\n  only: ['stem.1.*', 'to8.0.*', 'heads.0.box.2.*']\n")
    out = tmp_path / "tuned.yaml"
    command = [
        "tune",
        DEMO,
        "--calib",
        photos,
        "--images",
        few,
        "--val",
        VALIDATION / "labels.json",
        "--recipe",
        recipe,
        "--max-drop",
        "0",
        "--probes",
        "2",
        "-o",
        out,
        "--json",
    ]
    run = trtforge(*command)
    assert run.code == 0, run.err
    found = run.document
    assert {block["name"].split(".conv")[0] for block in found["blocks"]} == {
        "stem.1",
        "to8.0",
        "heads.0.box.2.Conv",
    }
    assert all(block["alone"] > 0 for block in found["blocks"])
    assert found["drop"] <= 0
    assert trtforge(*command).document == found, "measured once: the second run reads the store"
    build = trtforge(
        "prepare",
        DEMO,
        "--int8",
        "--calib",
        photos,
        "--recipe",
        out,
        "-o",
        tmp_path / "p",
        "--json",
    )
    quantized = next(stage for stage in build.document["stages"] if stage["stage"] == "quantize")
    assert (
        quantized["facts"]["quantized"] == 3 - len(found["keep"])
        if len(found["keep"]) < 3
        else build.code == 2
    )


def test_bad_words(trtforge: Callable[..., Run], photos: Path, few: Path, tmp_path: Path) -> None:
    out = tmp_path / "tuned.yaml"
    for words, problem in (
        (["--time", "soon"], "--time soon: not a time"),
        (["--images", tmp_path / "none"], "no such folder"),
        (["--images", few, "--val", tmp_path / "none.json"], "no such file of labels"),
    ):
        run = trtforge("tune", DEMO, "--calib", photos, *words, "-o", out)
        assert (run.code, problem in run.err) == (2, True), run.err
        assert not out.exists()
    (tmp_path / "tuned.svg").mkdir()
    for name, problem in (
        ("tuned.yaml", "tuned.svg: is a folder"),
        ("a.svg", "would replace the recipe"),
        ("none/tuned.yaml", "no folder"),
    ):
        run = trtforge("tune", DEMO, "--calib", photos, "-o", tmp_path / name)
        assert (run.code, problem in run.err) == (2, True), run.err


def test_the_time_is_up(
    trtforge: Callable[..., Run], photos: Path, few: Path, tmp_path: Path
) -> None:
    run = trtforge(
        "tune",
        DEMO,
        "--calib",
        photos,
        "--images",
        few,
        "--max-drop",
        "0.01",
        "--time",
        "0.001s",
        "-o",
        tmp_path / "tuned.yaml",
    )
    assert run.code == 4
    assert "it continues from the results so far" in run.err
