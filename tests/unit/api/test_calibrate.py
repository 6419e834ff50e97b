"""Options of `trtforge calibrate`."""

from __future__ import annotations

from pathlib import Path

from trtforge.api.calibrate import calibration_request
from trtforge.api.recipes import load_recipe
from trtforge.stages.calibrate import CalibrateOptions


def test_the_command_line_chooses_the_method_and_the_recipe_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(
        "calibration: {method: mse, percentile: 99.9, methods: {a*: minmax}, images: photos}\n"
    )
    spec = load_recipe(path)
    request = calibration_request(
        [Path("m.onnx")], None, False, None, spec, "percentile", "implicit", "cpu"
    )
    assert request.choosing == CalibrateOptions("percentile", 99.9, {"a*": "minmax"})
    assert (request.model, request.images, request.shards) == (
        Path("m.onnx"),
        tmp_path / "photos",
        [],
    )
    assert (request.observing.taps, request.observing.provider) == ("implicit", "cpu")
    given = calibration_request(
        [Path("m.onnx")], Path("mine"), False, "1/2", spec, None, "explicit", "cpu"
    )
    assert (given.choosing.method, given.images, given.shard) == ("mse", Path("mine"), (1, 2))


def test_merging_takes_tables(tmp_path: Path) -> None:
    request = calibration_request(
        [Path("a"), Path("b")], None, True, None, load_recipe(None), None, "explicit", "auto"
    )
    assert (request.model, request.images, request.shards) == (None, None, [Path("a"), Path("b")])
