"""Options of `trtforge calibrate`."""

from __future__ import annotations

from pathlib import Path

from trtforge.options import recipe as recipes
from trtforge.options.calibrate import asked as calibration


def test_the_command_line_chooses_the_method_and_the_recipe_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(
        "calibration: {method: mse, percentile: 99.9, methods: {a*: minmax}, images: photos}\n"
    )
    spec = recipes.load(str(path))
    asked = calibration([Path("m.onnx")], None, False, None, spec, "percentile", "implicit", "cpu")
    assert asked.choosing == {
        "method": "percentile",
        "percentile": 99.9,
        "methods": {"a*": "minmax"},
    }
    assert (asked.model, asked.images, asked.shards) == (Path("m.onnx"), tmp_path / "photos", [])
    assert (asked.observing["taps"], asked.observing["provider"]) == ("implicit", "cpu")
    given = calibration([Path("m.onnx")], Path("mine"), False, "1/2", spec, None, "explicit", "cpu")
    assert (given.choosing["method"], given.images, given.shard) == ("mse", Path("mine"), (1, 2))


def test_merging_takes_tables(tmp_path: Path) -> None:
    asked = calibration(
        [Path("a"), Path("b")], None, True, None, recipes.load(None), None, "explicit", "auto"
    )
    assert (asked.model, asked.images, asked.shards) == (None, None, [Path("a"), Path("b")])
