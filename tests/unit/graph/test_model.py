"""Files in and out: nothing in them is trusted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import external_data_helper

from tests.models import anchor_free, classifier, outputs, photographs
from trtforge.errors import ForgeError
from trtforge.graph.model import external_files, graph_of, load, model_of, save


@pytest.fixture
def external(tmp_path: Path) -> Path:
    """A model with its weights in ``weights.bin`` beside it."""
    path = tmp_path / "model" / "model.onnx"
    path.parent.mkdir()
    onnx.save(
        classifier(), path, save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    return path


def point_to(path: Path, location: str) -> None:
    """Make every external tensor of the model at ``path`` refer to ``location``."""
    model = onnx.load(path, load_external_data=False)
    for tensor in external_data_helper._get_all_tensors(model):
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    path.write_bytes(model.SerializeToString())


def test_saved_models_load_again(tmp_path: Path) -> None:
    save(classifier(), tmp_path / "a.onnx")
    assert load(tmp_path / "a.onnx") == classifier()
    assert external_files(tmp_path / "a.onnx") == []


def test_saving_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save(classifier(), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_graph_and_back_computes_the_same() -> None:
    model = classifier()
    again = model_of(graph_of(model))
    np.testing.assert_array_equal(
        outputs(model, photographs(2))[0], outputs(again, photographs(2))[0]
    )


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(ForgeError, match="no such file"):
        load(tmp_path / "none.onnx")


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ForgeError, match="no such file"):
        load(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"this is no model", b"PK\x03\x04" + bytes(200), b"<html></html>"]
)
def test_not_a_model(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(ForgeError, match=r"m\.onnx: not an ONNX model"):
        load(tmp_path / "m.onnx")


@pytest.mark.parametrize("share", [0.001, 0.2, 0.5, 0.9, 0.999])
def test_cut_short(tmp_path: Path, share: float) -> None:
    content = classifier().SerializeToString()
    (tmp_path / "m.onnx").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ForgeError, match=r"m\.onnx"):
        load(tmp_path / "m.onnx")


def test_a_graph_that_reads_what_nothing_makes(tmp_path: Path) -> None:
    model = classifier()
    model.graph.node[1].input[0] = "nowhere"
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ForgeError, match="not a valid ONNX model"):
        load(tmp_path / "m.onnx")


def test_a_graph_without_outputs(tmp_path: Path) -> None:
    model = classifier()
    del model.graph.output[:]
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ForgeError, match="no outputs"):
        load(tmp_path / "m.onnx")


def test_plugins_pass_the_checker(tmp_path: Path) -> None:
    model = classifier()
    model.graph.node.append(
        onnx.helper.make_node("EfficientNMS_TRT", [model.graph.output[0].name], ["made"], "nms")
    )
    model.graph.output[0].name = "made"
    save(model, tmp_path / "m.onnx")
    assert load(tmp_path / "m.onnx").graph.node[-1].op_type == "EfficientNMS_TRT"


def test_an_unknown_operator_does_not_pass(tmp_path: Path) -> None:
    model = classifier()
    model.graph.node.append(
        onnx.helper.make_node("Mystery", [model.graph.output[0].name], ["made"], "m")
    )
    model.graph.output[0].name = "made"
    save(model, tmp_path / "m.onnx")
    with pytest.raises(ForgeError, match="Mystery"):
        load(tmp_path / "m.onnx")


# -------------------------------------------------------------------------------------------------
# external data


def test_external_data_is_loaded(external: Path) -> None:
    model = load(external)
    assert not any(
        external_data_helper.uses_external_data(tensor) for tensor in model.graph.initializer
    )
    np.testing.assert_array_equal(
        outputs(model, photographs(1))[0], outputs(classifier(), photographs(1))[0]
    )


def test_external_files_are_listed(external: Path) -> None:
    assert external_files(external) == [external.parent / "weights.bin"]


@pytest.mark.parametrize("content", [b"location", b"", b"no model, no location"])
def test_external_files_of_what_is_no_model(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    assert external_files(tmp_path / "m.onnx") == []


def test_external_data_missing(external: Path) -> None:
    (external.parent / "weights.bin").unlink()
    with pytest.raises(ForgeError, match=r"external data 'weights.bin' is missing"):
        load(external)


def test_external_data_cut_short(external: Path) -> None:
    data = external.parent / "weights.bin"
    data.write_bytes(data.read_bytes()[:-1])
    with pytest.raises(ForgeError, match="cut short"):
        load(external)


def test_external_data_outside_by_dots(external: Path) -> None:
    (external.parent / "weights.bin").rename(external.parent.parent / "weights.bin")
    point_to(external, "../weights.bin")
    with pytest.raises(ForgeError, match="outside the model's folder"):
        load(external)


def test_external_data_outside_by_an_absolute_path(external: Path, tmp_path: Path) -> None:
    (external.parent / "weights.bin").rename(tmp_path / "weights.bin")
    point_to(external, str(tmp_path / "weights.bin"))
    with pytest.raises(ForgeError, match="outside the model's folder"):
        load(external)


def test_external_data_behind_a_link(external: Path) -> None:
    (external.parent / "weights.bin").rename(external.parent / "other.bin")
    (external.parent / "weights.bin").symlink_to("other.bin")
    with pytest.raises(ForgeError, match="symbolic link"):
        load(external)


def test_external_data_outside_by_a_link(external: Path, tmp_path: Path) -> None:
    (external.parent / "weights.bin").rename(tmp_path / "weights.bin")
    (external.parent / "weights.bin").symlink_to(tmp_path / "weights.bin")
    with pytest.raises(ForgeError, match="outside the model's folder"):
        load(external)


def test_external_data_outside_by_a_linked_folder(external: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (external.parent / "weights.bin").rename(tmp_path / "elsewhere" / "weights.bin")
    (external.parent / "sub").symlink_to(tmp_path / "elsewhere")
    point_to(external, "sub/weights.bin")
    with pytest.raises(ForgeError, match="outside the model's folder"):
        load(external)


def test_external_data_that_is_a_folder(external: Path) -> None:
    (external.parent / "weights.bin").unlink()
    (external.parent / "weights.bin").mkdir()
    with pytest.raises(ForgeError, match="missing"):
        load(external)


@pytest.mark.parametrize(
    ("key", "value"), [("offset", "-8"), ("length", "-8"), ("offset", "x"), ("length", "1e3")]
)
def test_external_data_with_nonsense_numbers(external: Path, key: str, value: str) -> None:
    model = onnx.load(external, load_external_data=False)
    tensor = next(t for t in model.graph.initializer if external_data_helper.uses_external_data(t))
    entries = {entry.key: entry.value for entry in tensor.external_data} | {key: value}
    del tensor.external_data[:]
    for name, text in entries.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = name, text
    external.write_bytes(model.SerializeToString())
    with pytest.raises(ForgeError, match=r"model\.onnx"):
        load(external)


def test_a_model_beside_a_link_to_it_is_read(external: Path, tmp_path: Path) -> None:
    """The link's own folder counts: data is looked for beside the path that was given."""
    (tmp_path / "link").symlink_to(external.parent)
    np.testing.assert_array_equal(
        outputs(load(tmp_path / "link" / "model.onnx"), photographs(1))[0],
        outputs(classifier(), photographs(1))[0],
    )


def test_what_a_file_says_of_itself_survives(tmp_path: Path) -> None:
    model = classifier()
    onnx.helper.set_model_props(model, {"names": "{0: 'cat'}", "author": "somebody"})
    model.doc_string, model.domain, model.model_version = "a small one", "org.example", 7
    save(model, tmp_path / "m.onnx")
    again = model_of(graph_of(load(tmp_path / "m.onnx")))
    assert again.metadata_props == model.metadata_props
    assert (again.doc_string, again.domain, again.model_version) == (
        "a small one",
        "org.example",
        7,
    )


@pytest.mark.parametrize("missing", ["shape", "type"])
def test_outputs_without_a_shape_get_the_inferred_one(tmp_path: Path, missing: str) -> None:
    """ONNX Runtime and TensorRT take such a file, and the checker does not."""
    model = anchor_free(batch=1)
    if missing == "type":
        model.graph.output[0].ClearField("type")
    else:
        model.graph.output[0].type.tensor_type.ClearField("shape")
    onnx.save(model, tmp_path / "m.onnx")
    loaded = load(tmp_path / "m.onnx").graph.output[0].type.tensor_type
    assert [dim.dim_value for dim in loaded.shape.dim] == [1, 7, 84]
    assert loaded.elem_type == onnx.TensorProto.FLOAT
