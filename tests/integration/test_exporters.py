"""The stage in this process: which exporter is used, what it says, what it writes."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from tests.extras import needs
from trtforge.errors import ForgeError, GateError, MachineError
from trtforge.stages import MODEL, export
from trtforge.store import to_json

SIZE = (64, 64)


def run(draft: Path, source: str | Path, **given):
    needs("torch")
    options = {"default_size": (640, 640), "data": "out.onnx.data", "size": SIZE} | given
    options = {"atol": 1e-4, "rtol": 1e-4} | options
    options = {
        name: tuple(value) if isinstance(value, list) else value for name, value in options.items()
    }
    return to_json(export.run(draft, source, export.ExportOptions(**options)))


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[1])


def test_without_torch_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MachineError, match="export needs torch") as caught:
        export.run(tmp_path, "torch_models:Wide", export.ExportOptions(SIZE, "x"))
    assert "trtforge[torch]" in caught.value.hint


def test_every_dynamic_axis_gets_its_name_and_works(tmp_path):
    facts = run(tmp_path, "torch_models:Wide", dynamic=["batch", "height", "width"])
    assert facts["exporter"] == "dynamo"
    assert facts["input"] == [
        {"name": "images", "type": "float", "shape": ["batch", 3, "height", "width"]}
    ]
    assert facts["difference"]["shapes"] == [[1, 3, 64, 64], [3, 3, 128, 192]]
    assert facts["difference"]["largest"] < 1e-5
    session = ort.InferenceSession(tmp_path / MODEL)
    assert session.run(None, {"images": np.zeros((5, 3, 32, 96), np.float32)})[0].shape == (5, 4)


def test_older_opset_is_reached_by_the_fallback_and_checked(tmp_path):
    facts = run(tmp_path, "torch_models:Wide", opset=13)
    assert facts["exporter"] == "torchscript"
    assert "can't be converted from opset 18 to 13" in facts["why"]
    assert [
        each.version for each in onnx.load(tmp_path / MODEL).opset_import if not each.domain
    ] == [13]


def test_dict_of_outputs_with_other_types_keeps_its_keys(tmp_path):
    facts = run(tmp_path, "torch_models:Named", dynamic=["batch"])
    assert [(each["name"], each["type"]) for each in facts["outputs"]] == [
        ("mask", "int64"),
        ("images_", "float"),
        ("aux_0", "float"),
    ]


@pytest.mark.parametrize("name", ["mask", "aux_0"])
def test_only_the_outputs_that_are_asked_for_are_kept(tmp_path, name):
    facts = run(tmp_path, "torch_models:Named", outputs=[name])
    assert [each["name"] for each in facts["outputs"]] == [name]
    with pytest.raises(ForgeError, match=r"--output boxes: the model has no such output") as caught:
        run(tmp_path, "torch_models:Named", outputs=["boxes"])
    assert caught.value.hint == "it has: mask, images_, aux_0"


def test_output_that_another_one_is_computed_from_can_be_left_out(tmp_path):
    facts = run(tmp_path, "torch_models:Detector", outputs=["output0"])
    assert [each["name"] for each in facts["outputs"]] == ["output0"]


def test_large_weights_go_into_a_second_file_that_the_check_reads(tmp_path):
    facts = run(tmp_path, "torch_models:Classifier", kwargs={"classes": 400}, external_bytes=10_000)
    assert facts["external_bytes"] == (tmp_path / "out.onnx.data").stat().st_size > 10_000
    model = onnx.load(tmp_path / MODEL, load_external_data=False)
    places = {
        entry.value
        for tensor in model.graph.initializer
        for entry in tensor.external_data
        if entry.key == "location"
    }
    assert places == {"out.onnx.data"}


def test_nothing_of_this_machine_is_left_in_the_graph_and_the_same_model_gives_the_same_bytes(
    tmp_path,
):
    written = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        torch = needs("torch")

        torch.manual_seed(3)
        run(tmp_path / name, "torch_models:Wide", dynamic=["batch"])
        written.append((tmp_path / name / MODEL).read_bytes())
    assert written[0] == written[1]
    assert b"torch_models" not in written[0]
    assert str(Path(__file__).parents[1]).encode() not in written[0]


def test_branch_that_a_trace_takes_for_constant_is_caught(tmp_path):
    with pytest.raises(
        GateError,
        match=r"dynamo: control flow .*torch_models\.py:\d+: return images \* 2 if.*"
        r"TorchScript: output0 differs",
    ):
        run(tmp_path, "torch_models:Branching")
    facts = run(tmp_path, "torch_models:Branching", check=False)
    assert [line.split(": ", 1)[1][:23] for line in facts["baked"]] == ["return images * 2 if im"]
    assert facts["difference"] is None


def test_operator_that_no_exporter_takes_is_named_with_its_line_although_dynamo_fails_before_it(
    tmp_path,
):
    with pytest.raises(ForgeError) as caught:
        run(tmp_path, "torch_models:Bessel", kwargs={"guarded": True})
    dynamo, script = caught.value.problem.split("; TorchScript: ")
    assert "control flow that depends on a tensor's values (torch_models.py:" in dynamo
    assert "if images.max() > 1000:" in dynamo
    assert script.startswith("no ONNX for operator aten::special_bessel_j0 (torch_models.py:")
    assert script.endswith("return torch.special.bessel_j0(x))")


def test_exported_program_decides_what_may_change(tmp_path):
    torch = needs("torch")
    from tests.torch_models import Named, Wide

    shapes = ({0: torch.export.Dim("batch", max=4), 2: torch.export.Dim.DYNAMIC},)
    program = torch.export.export(Wide().eval(), (torch.rand(2, 3, 32, 32),), dynamic_shapes=shapes)
    torch.export.save(program, tmp_path / "model.pt2")
    torch.export.save(
        torch.export.export(Named(), (torch.rand(1, 3, 64, 64),)), tmp_path / "named.pt2"
    )
    facts = run(tmp_path, tmp_path / "model.pt2", trusted=True, size=None)
    assert facts["exporter"] == "dynamo"
    assert facts["input"][0]["shape"] == ["batch", 3, "height", 32]
    assert facts["difference"]["shapes"] == [[1, 3, 32, 32], [3, 3, 96, 32]]
    assert set(
        run(tmp_path, tmp_path / "named.pt2", trusted=True, outputs=["mask"])["difference"]
    ) >= {"largest"}
    assert len(onnx.load(tmp_path / MODEL).graph.output) == 1
    for given, text in (
        ({"size": (32, 64)}, "exported for width 32, not 64"),
        ({"dynamic": ["width"]}, "fixed width"),
        ({"batch": 9}, "exported for batch .* to 4, not 9"),
    ):
        with pytest.raises(ForgeError, match=text):
            run(tmp_path, tmp_path / "model.pt2", trusted=True, **{"size": None, **given})


def test_axis_that_pytorch_itself_can_not_change_is_said_before_any_export(tmp_path):
    with pytest.raises(
        ForgeError,
        match="PyTorch fails on images of 1x3x128x64: RuntimeError: mat1 and mat2 shapes",
    ):
        run(tmp_path, "torch_models:fixed", dynamic=["height"])
