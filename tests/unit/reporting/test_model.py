"""The schema of layers.json: written, read back, documented; and nothing read is trusted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.reporting.rows import layer, t
from trtforge.errors import ForgeError
from trtforge.reporting import model
from trtforge.reporting.model import LayerReport, Node, labels, tensors_by_dtype

LAYERS = [
    layer("a", "x", reads=[t("i")], writes=[t("o", dtype="Int8")], macs=4, precision="Half"),
    layer("b", time_ms=1.5, precision="Int8"),
]
REPORT = LayerReport(layers=LAYERS, nodes=[Node(name="x", op="Conv", place="layer")])


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "layers.json"
    path.write_text(model.to_json(REPORT))
    assert model.load(path) == REPORT
    assert json.loads(path.read_text())["format"] == model.FORMAT


def test_the_documented_schema_is_this_one() -> None:
    """After a change, write it anew with indent=1; where readers would break, FORMAT goes up."""
    documented = json.loads((Path(__file__).parents[3] / "docs" / "layers.schema.json").read_text())
    assert documented == LayerReport.model_json_schema(mode="serialization")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "[]",
        "null",
        '{"format": "trtforge-layers-1", "layers": []}',
        '{"format": "trtforge-layers-2"}',
        '{"format": "trtforge-layers-2", "layers": [3]}',
        '{"format": "trtforge-layers-2", "layers": [], "more": 1}',
        '{"format": "trtforge-layers-2", "layers": [], "figures": {"a": NaN}}',
        "[" * 50_000,
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "layers.json"
    path.write_text(content)
    with pytest.raises(ForgeError, match="not a list of layers of this version"):
        model.load(path)


def test_missing_binary_and_huge_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ForgeError, match="no such file"):
        model.load(tmp_path / "missing")
    path = tmp_path / "file"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ForgeError, match="as text"):
        model.load(path)
    monkeypatch.setattr(model, "LARGEST", 2)
    with pytest.raises(ForgeError, match="larger than"):
        model.load(path)


def test_sums() -> None:
    assert REPORT.by_precision("macs") == {"Half": 4}
    assert REPORT.layers_by_precision() == {"Half": 1, "Int8": 1}
    assert REPORT.time_ms == 1.5
    assert LayerReport(layers=[]).time_ms is None
    assert tensors_by_dtype(REPORT.layers) == {"Half": 1, "Int8": 1}
    assert REPORT.places == "1 in layers, 0 folded away, 0 not accounted for"


def test_labels_prefer_what_a_layer_computes() -> None:
    nodes = [
        Node(name="c", op="Conv", place="layer", learned=True),
        Node(name="q", op="QuantizeLinear", place="layer"),
        Node(name="s", op="Sigmoid", place="layer"),
    ]
    layers = [
        layer("1", "c q s", macs=5),
        layer("2", "c q s"),
        layer("3", "c q"),
        layer("4"),
        layer("5", "alien"),
    ]
    assert labels(LayerReport(layers=layers, nodes=nodes)) == ["c", "s", "c", "4", "alien"]
