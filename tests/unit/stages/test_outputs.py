"""No command writes over what it reads, or finds out after the work that its result has no place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.unit.reporting.rows import layer, t
from trtforge.cli import app
from trtforge.errors import ForgeError
from trtforge.reporting import assemble, model
from trtforge.reporting.model import EngineInfo
from trtforge.stages.detect import targets


def run(*words: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(word) for word in words])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stderr


def picture(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", (8, 8), (200, 30, 10)).save(path)
    return path


def test_pictures_keep_their_names_apart(tmp_path: Path) -> None:
    files = [picture(tmp_path / name) for name in ("a/street.jpg", "b/street.png", "b/sheet.jpg")]
    assert targets(files, tmp_path / "out") == {
        "street.jpg": files[0],
        "street-2.jpg": files[1],
        "sheet-2.jpg": files[2],
    }


@pytest.mark.parametrize("command", [("detect",), ("deepstream", "preview")])
def test_photographs_stay(tmp_path: Path, command: tuple[str, ...]) -> None:
    """Refused before the engine is opened: there is none."""
    street, other = picture(tmp_path / "street.jpg"), picture(tmp_path / "sheet.jpg")
    before = street.read_bytes(), other.read_bytes()
    for images in ([street], [tmp_path], [tmp_path / "street.jpg", other]):
        code, said = run(*command, tmp_path / "none.onnx", *images, "-o", tmp_path)
        assert code == 2 and "is the input itself" in said, said
    (tmp_path / "linked").symlink_to(tmp_path)
    with pytest.raises(ForgeError, match="is the input itself"):
        targets([street], tmp_path / "linked")
    assert (street.read_bytes(), other.read_bytes()) == before


def test_a_report_leaves_its_source(tmp_path: Path) -> None:
    source = tmp_path / "layers.json"
    source.write_text(
        model.to_json(
            assemble.assemble(
                [layer("a", "a", reads=[t("x")], writes=[t("a")])], None, EngineInfo()
            )
        )
    )
    before = source.read_bytes()
    profile = tmp_path / "report.md"
    profile.write_text(json.dumps([{"count": 1}]))
    for words in ([source], [tmp_path], [source, "--profile", profile]):
        code, said = run("report", *words, "-o", tmp_path)
        assert code == 2 and "is the input itself" in said, said
    assert source.read_bytes() == before
    assert run("report", source, "-o", tmp_path / "other")[0] == 0


DEMO = Path(__file__).parents[3] / "recipes" / "demo" / "demo.onnx"


def test_a_table_of_rows_has_a_place_before_they_are_timed(tmp_path: Path) -> None:
    """There is no such engine, which would be said next."""
    code, said = run("bench", tmp_path / "none.onnx", "--csv", tmp_path / "nofolder" / "x.csv")
    assert code == 2 and "there is no folder" in said
    engine = tmp_path / "m.onnx"
    engine.write_bytes(b"model")
    code, said = run("bench", engine, "--csv", engine)
    assert code == 2 and "is the input itself" in said and engine.read_bytes() == b"model"


def test_a_calibration_table_has_a_place_before_pictures_are_made(tmp_path: Path) -> None:
    picture(tmp_path / "photos" / "a.jpg")
    code, said = run(
        "calibrate",
        DEMO,
        "--calib",
        tmp_path / "photos",
        "--preview",
        tmp_path / "seen",
        "-o",
        tmp_path / "nofolder" / "calibration.json",
    )
    assert code == 2 and "there is no folder" in said and not (tmp_path / "seen").exists()


@pytest.mark.parametrize(
    ("gate", "why"),
    [
        (["--min-map", "0.5"], "need labels"),
        (["--max-drop", "1"], "compares two engines"),
        (["--min-cosine", "0.9"], "two engines"),
    ],
)
def test_a_gate_that_nothing_can_meet_is_refused_before_images_are_read(
    tmp_path: Path, gate: list[str], why: str
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"no image, which would be said next")
    code, said = run("verify", DEMO, "--images", tmp_path / "photos", *gate)
    assert code == 2 and why in said, said
