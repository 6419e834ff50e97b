"""Recipes: every error at once, each with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from trtforge import recipe as recipes
from trtforge.errors import ForgeError
from trtforge.recipe import Preprocess, Recipe, find, load


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def problem(folder: Path, text: str) -> str:
    """What loading that text complains about, without the folder."""
    with pytest.raises(ForgeError) as caught:
        load(written(folder, text))
    return caught.value.problem.replace(f"{folder}/", "")


def test_a_complete_recipe(tmp_path: Path) -> None:
    found = load(
        written(
            tmp_path,
            """
name: mine
model: sub/model.onnx
labels: [cat, dog]
head: anchor-free
preprocess: {size: [480, 640], scale: 1.0, offsets: [1, 2, 3], color: bgr, letterbox: none, padding: 114}
calibration: {images: photos, method: percentile, percentile: 99.9}
precision: {keep: ["*/cv3/*"], rest: fp32}
nms: {score: 0.1, iou: 0.6, max_det: 300, class_agnostic: true}
""",
        )
    )
    assert (found.name, found.labels, found.head) == ("mine", ("cat", "dog"), "anchor-free")
    assert found.model == tmp_path / "sub" / "model.onnx"
    assert found.calibration.images == tmp_path / "photos"
    assert found.preprocess == Preprocess(
        size=(480, 640), scale=1.0, offsets=(1, 2, 3), color="bgr", letterbox="none", padding=114
    )
    assert (found.nms.max_det, found.precision.keep) == (300, ("*/cv3/*",))


@pytest.mark.parametrize("text", ["", "{}", "# nothing but a comment\n", "---\n"])
def test_an_empty_recipe_is_the_default(tmp_path: Path, text: str) -> None:
    assert load(written(tmp_path, text)) == Recipe()


def test_a_labels_file_is_relative_to_the_recipe(tmp_path: Path) -> None:
    assert load(written(tmp_path, "labels: names.txt")).labels == tmp_path / "names.txt"


def test_absolute_paths_stay(tmp_path: Path) -> None:
    assert load(written(tmp_path, "model: /models/a.onnx")).model == Path("/models/a.onnx")


# -------------------------------------------------------------------------------------------------------
# errors


def test_an_unknown_key_has_its_line_and_a_suggestion(tmp_path: Path) -> None:
    assert problem(tmp_path, "name: a\n\npreproces:\n  scale: 1\n") == (
        "mine.yaml:3: unknown key 'preproces' (did you mean 'preprocess'?)"
    )


def test_an_unknown_key_inside_a_section(tmp_path: Path) -> None:
    assert problem(tmp_path, "nms:\n  score: 0.1\n  max_dets: 5\n") == (
        "mine.yaml:3: unknown key 'nms.max_dets' (did you mean 'max_det'?)"
    )


def test_an_unknown_key_that_is_like_no_other(tmp_path: Path) -> None:
    assert problem(tmp_path, "zzzz: 1\n") == "mine.yaml:1: unknown key 'zzzz'"


def test_every_error_is_told_at_once(tmp_path: Path) -> None:
    text = "colour: red\npreprocess:\n  scale: 0\n  color: grey\n  offsets: [1, 2]\nnms:\n  score: high\n"
    lines = problem(tmp_path, text).splitlines()
    assert [line.split(": ")[0] for line in lines] == [
        "mine.yaml:3",
        "mine.yaml:5",
        "mine.yaml:4",
        "mine.yaml:7",
        "mine.yaml:1",
    ] or sorted(line.split(": ")[0] for line in lines) == [
        f"mine.yaml:{n}" for n in (1, 3, 4, 5, 7)
    ]
    assert any("preprocess.scale: input should be greater than 0" in line for line in lines)


def test_an_item_of_a_list_has_its_own_line(tmp_path: Path) -> None:
    text = "preprocess:\n  offsets:\n    - 1\n    - two\n    - 3\n"
    assert problem(tmp_path, text).startswith("mine.yaml:4: preprocess.offsets.1: ")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("preprocess: {scale: -1}", "preprocess.scale"),
        ("preprocess: {scale: .nan}", "preprocess.scale"),
        ("preprocess: {scale: .inf}", "preprocess.scale"),
        ("preprocess: {padding: 256}", "preprocess.padding"),
        ("preprocess: {offsets: [.nan, 0, 0]}", "preprocess.offsets.0"),
        ("preprocess: {size: [640]}", "preprocess.size"),
        ("preprocess: {size: [0, 640]}", "preprocess.size"),
        ("preprocess: {size: [-640, 640]}", "preprocess.size"),
        ("preprocess: {letterbox: centre}", "preprocess.letterbox"),
        ("calibration: {percentile: 0}", "calibration.percentile"),
        ("calibration: {percentile: 101}", "calibration.percentile"),
        ("calibration: {method: best}", "calibration.method"),
        ("nms: {score: 1}", "nms.score"),
        ("nms: {iou: 0}", "nms.iou"),
        ("nms: {max_det: 0}", "nms.max_det"),
        ("precision: {rest: int8}", "precision.rest"),
        ("head: yolo", "head"),
    ],
)
def test_values_out_of_range(tmp_path: Path, text: str, key: str) -> None:
    assert f"mine.yaml:1: {key}" in problem(tmp_path, text)


@pytest.mark.parametrize("text", ["[1, 2]", "just text", "3"])
def test_what_is_no_mapping(tmp_path: Path, text: str) -> None:
    assert problem(tmp_path, text).startswith("mine.yaml:1")


def test_a_section_that_is_no_mapping(tmp_path: Path) -> None:
    assert problem(tmp_path, "name: a\nnms: 5\n").startswith("mine.yaml:2: nms: ")


def test_bad_yaml_has_its_line(tmp_path: Path) -> None:
    assert problem(tmp_path, "name: a\nnms: {score: 1\nhead: x: y\n").startswith(
        "mine.yaml:3: not YAML: "
    )


def test_tabs_are_told_with_their_line(tmp_path: Path) -> None:
    assert problem(tmp_path, "nms:\n\tscore: 1\n").startswith("mine.yaml:2: not YAML: ")


@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:os.getcwd []", "!!python/name:os.system", "!!python/tuple [1]"]
)
def test_python_tags_are_refused(tmp_path: Path, tag: str) -> None:
    assert "mine.yaml:1: not YAML: could not determine a constructor" in problem(
        tmp_path, f"name: {tag}"
    )


def test_control_characters_are_refused(tmp_path: Path) -> None:
    assert "mine.yaml" in problem(tmp_path, "name: a\x00b")


def test_what_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ForgeError, match="not UTF-8 text"):
        load(tmp_path / "mine.yaml")


def test_several_documents_are_refused(tmp_path: Path) -> None:
    assert "not YAML" in problem(tmp_path, "name: a\n---\nname: b\n")


def test_too_large(tmp_path: Path) -> None:
    assert (
        problem(tmp_path, "# " + "x" * (1 << 20)) == "mine.yaml: larger than 1 MiB, so not a recipe"
    )


def test_nested_too_deeply(tmp_path: Path) -> None:
    assert "mine.yaml" in problem(tmp_path, "a: " + "[" * 20000)


def test_aliases_cannot_explode(tmp_path: Path) -> None:
    """Five levels of ten references each."""
    levels = ["a0: &a0 [x]"] + [
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 6)
    ]
    assert "has YAML aliases" in problem(tmp_path, "\n".join(levels))


def test_a_key_that_stands_twice(tmp_path: Path) -> None:
    assert ":2: not YAML: the key 'name' twice" in problem(tmp_path, "name: a\nname: b\n")


@pytest.mark.parametrize("text", ["1: 2\n", "null: 2\n", "true: 1\n", "[1, 2]: 3\n"])
def test_keys_that_are_no_text(tmp_path: Path, text: str) -> None:
    assert problem(tmp_path, text).startswith("mine.yaml:1")


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(ForgeError, match="no such file"):
        load(tmp_path / "none.yaml")


# -------------------------------------------------------------------------------------------------------
# shipped


@pytest.mark.parametrize("name", recipes.names())
def test_shipped_recipes_load(name: str) -> None:
    found = load(find(name))
    assert found.name == name
    assert found.description


def test_find_by_path(tmp_path: Path) -> None:
    path = written(tmp_path, "")
    assert find(str(path)) == path


def test_find_suggests(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(recipes, "folder", lambda: tmp_path)
    (tmp_path / "yolov7.yaml").write_text("")
    assert find("yolov7") == tmp_path / "yolov7.yaml"
    with pytest.raises(ForgeError) as caught:
        find("yolo7")
    assert caught.value.hint == "did you mean yolov7?"
    with pytest.raises(ForgeError) as caught:
        find("something else")
    assert caught.value.hint == "known recipes: yolov7"


def test_a_scale_for_each_channel_is_a_deviation(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("preprocess:\n  scale: [0.01, 0.02, 0.03]\n")
    with pytest.raises(
        ForgeError, match="one scale for all channels: give the deviation of each as std"
    ):
        load(path)
