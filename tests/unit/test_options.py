"""Options, and what contradicts what."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trtforge import parse
from trtforge.bundle.facts import FoldFacts
from trtforge.bundle.manifest import Sources
from trtforge.bundle.prepared import Prepared, Target
from trtforge.devices import catalogue
from trtforge.errors import ForgeError
from trtforge.options import recipe as recipes
from trtforge.options.build import folders, work
from trtforge.options.calibrate import asked as calibration
from trtforge.outfile import single
from trtforge.pipeline.job import Job
from trtforge.stages.calibrate import CalibrateOptions
from trtforge.store import File


def job(model: str | Path = "m.onnx", **options: Any) -> Job:
    found = work(Path(model), **options)
    assert isinstance(found, Job)
    return found


# -------------------------------------------------------------------------------------------------------
# parsing


@pytest.mark.parametrize(
    ("text", "want"),
    [
        (None, None),
        ("1", (1, 1, 1)),
        ("8", (1, 8, 8)),
        ("1:8:16", (1, 8, 16)),
        ("4:4:4", (4, 4, 4)),
    ],
)
def test_batch(text: str | None, want: tuple[int, int, int] | None) -> None:
    assert parse.batch(text) == want


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "-1",
        "x",
        "1.5",
        "1:2",
        "1:2:3:4",
        "0:1:2",
        "4:2:8",
        "1:8:4",
        "1: 8:16",
        ":",
        "²",
        "1e3",
    ],
)
def test_bad_batches(text: str) -> None:
    with pytest.raises(ForgeError, match="--batch"):
        parse.batch(text)


def test_numbers_without_end_are_one_line_each() -> None:
    endless = "9" * 5000
    for read in (
        parse.batch,
        parse.memory,
        parse.timeout,
        lambda text: parse.percent(text, "--max-slower"),
    ):
        for text in (
            endless,
            f"1.{endless}",
            f"1:1:{endless}",
            f"{endless}s",
            f"{endless}GiB",
            f"{endless}%",
        ):
            with pytest.raises(ForgeError) as error:
                read(text)
            assert "\n" not in error.value.problem
    with pytest.raises(ForgeError, match="not an amount of memory"):
        parse.memory("9999999999GiB")
    assert parse.memory("1024GiB") == 2**40


@pytest.mark.parametrize("text", ["10000000000000000000000", "1:8:99999999999"])
def test_batches_beyond_reason(text: str) -> None:
    with pytest.raises(ForgeError, match="--batch"):
        parse.batch(text)


@pytest.mark.parametrize(
    ("text", "want"),
    [(None, None), ("640x640", (640, 640)), ("384X640", (384, 640)), ("1x99999", (1, 99999))],
)
def test_size(text: str | None, want: tuple[int, int] | None) -> None:
    assert parse.size(text) == want


@pytest.mark.parametrize(
    "text",
    ["", "640", "640x", "x640", "0x640", "640x0640x1", "640x-1", "640*640", "6.4x640", "123456x1"],
)
def test_bad_sizes(text: str) -> None:
    with pytest.raises(ForgeError, match="--size"):
        parse.size(text)


@pytest.mark.parametrize(
    ("text", "want"),
    [
        (None, None),
        ("1000000", 1000000),
        ("4GiB", 4 << 30),
        ("4gib", 4 << 30),
        ("512MB", 512 * 10**6),
        ("1.5G", 1500 * 10**6),
        ("2 KiB", 2048),
        ("1Gi", 1 << 30),
        ("7b", 7),
        ("0.5GiB", 1 << 29),
    ],
)
def test_memory(text: str | None, want: int | None) -> None:
    assert parse.memory(text) == want


@pytest.mark.parametrize(
    "text", ["", "0", "0GiB", "-1GiB", "GiB", "4TiB", "4 G i B", "4i", "4ib", "1e9", "nan", "1.GiB"]
)
def test_bad_memory(text: str) -> None:
    with pytest.raises(ForgeError, match="--workspace"):
        parse.memory(text)


def test_memory_of_less_than_a_byte() -> None:
    with pytest.raises(ForgeError, match="--workspace"):
        parse.memory("0.1")


def test_one_of() -> None:
    assert parse.one_of("a", ("a", "b"), "--x") == "a"
    with pytest.raises(ForgeError, match="--x c: not known") as caught:
        parse.one_of("c", ("a", "b"), "--x")
    assert caught.value.hint == "one of: a, b"


# ----------------------------------------------------------------------------------------------------------
# work


def test_defaults() -> None:
    found = job()
    assert (found.model, found.precision, found.images, found.batch, found.size) == (
        Path("m.onnx"),
        "fp32",
        None,
        None,
        None,
    )
    assert (found.nms, found.nms_impl, found.check) == ("auto", "auto", True)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_precision(precision: str) -> None:
    assert job(**{precision: True}).precision == precision


@pytest.mark.parametrize("pair", [("fp32", "fp16"), ("fp16", "int8"), ("fp32", "int8")])
def test_precisions_exclude_each_other(pair: tuple[str, str]) -> None:
    with pytest.raises(ForgeError, match="exclude each other"):
        job(**dict.fromkeys(pair, True))


def test_calibration_is_for_int8() -> None:
    with pytest.raises(ForgeError, match="--calib is for INT8"):
        job(fp16=True, calib=Path("photos"))


@pytest.mark.parametrize("form", ["none", "keep"])
@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("nms-impl", "onnx"),
        ("score", 0.5),
        ("score", 0.0),
        ("max-det", 1),
        ("class-agnostic", True),
    ],
)
def test_nothing_is_said_about_an_nms_that_is_not_put_in(
    form: str, option: str, value: object
) -> None:
    recipes.check_nms("onnx", {option: value})
    with pytest.raises(ForgeError, match=f"--{option} is about the NMS .* --nms {form}"):
        recipes.check_nms(form, {"iou": None, "class-agnostic": False, option: value})


def test_a_bundle_without_nms_keeps_the_figures_for_its_parser() -> None:
    assert job(nms="none", score=0.4).recipe.nms.score == 0.4
    with pytest.raises(ForgeError, match="--nms-impl"):
        job(nms="none", nms_impl="plugin")


@pytest.mark.parametrize(("option", "value"), [("nms", "fast"), ("nms_impl", "cuda")])
def test_words_that_are_not_known(option: str, value: str) -> None:
    with pytest.raises(ForgeError, match=f"--{option.replace('_', '-')} {value}"):
        job(**{option: value})


def test_a_recipe_names_the_model(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("model: a.onnx\nnms: {score: 0.5}\n")
    found = job(tmp_path / "r.yaml")
    assert (found.model, found.recipe.nms.score) == (tmp_path / "a.onnx", 0.5)


def test_a_recipe_without_a_model(tmp_path: Path) -> None:
    (tmp_path / "r.yml").write_text("name: a\n")
    with pytest.raises(ForgeError, match="names no model"):
        job(tmp_path / "r.yml")


def test_a_recipe_takes_no_recipe(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("model: a.onnx\n")
    with pytest.raises(ForgeError, match="is a recipe itself"):
        job(tmp_path / "r.yaml", recipe="yolov7")


@pytest.mark.parametrize(
    "options",
    [
        {"fp16": True},
        {"int8": True},
        {"calib": Path("p")},
        {"batch": "1"},
        {"size": "1x1"},
        {"recipe": "r"},
        {"labels": Path("l")},
        {"nms": "none"},
        {"nms_impl": "onnx"},
        {"score": 0.0},
        {"iou": 0.5},
        {"max_det": 1},
        {"class_agnostic": True},
    ],
)
def test_a_prepared_folder_decides_these_itself(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ForgeError, match="a prepared folder decides"):
        work(tmp_path, **options)


def test_a_folder_that_is_not_prepared(tmp_path: Path) -> None:
    with pytest.raises(ForgeError, match=r"no manifest\.json"):
        work(tmp_path)


# --------------------------------------------------------------------------------------------------------
# recipe


def test_the_command_line_is_above_the_recipe(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("labels: [a]\nnms: {score: 0.5, iou: 0.6, max_det: 7, class_agnostic: true}\n")
    found = recipes.load(str(path), score=0.0, labels=tmp_path / "names.txt")
    assert (found.nms.score, found.nms.iou, found.nms.max_det, found.nms.class_agnostic) == (
        0.0,
        0.6,
        7,
        True,
    )
    assert found.labels == tmp_path / "names.txt"


def test_labels_in_a_recipe_stay_names(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("labels: [a, b]\n")
    assert recipes.load(str(tmp_path / "r.yaml")).labels == ("a", "b")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("score", 1.0),
        ("score", -0.1),
        ("iou", 0.0),
        ("iou", 1.1),
        ("max_det", 0),
        ("max_det", 9999),
    ],
)
def test_values_out_of_range_name_the_option(option: str, value: float) -> None:
    with pytest.raises(ForgeError, match=f"--{option.replace('_', '-')}: input should be"):
        recipes.load(None, **{option: value})  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------------------
# calibration


@pytest.mark.parametrize(("text", "want"), [("1/1", (1, 1)), ("2/8", (2, 8)), ("8/8", (8, 8))])
def test_shards(text: str, want: tuple[int, int]) -> None:
    assert parse.shard(text) == want


def test_the_command_line_chooses_the_method_and_the_recipe_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(
        "calibration: {method: mse, percentile: 99.9, methods: {a*: minmax}, images: photos}\n"
    )
    spec = recipes.load(str(path))
    asked = calibration([Path("m.onnx")], None, False, None, spec, "percentile", "implicit", "cpu")
    assert asked.choosing == CalibrateOptions("percentile", 99.9, {"a*": "minmax"})
    assert (asked.model, asked.images, asked.shards) == (Path("m.onnx"), tmp_path / "photos", [])
    assert (asked.observing.taps, asked.observing.provider) == ("implicit", "cpu")
    given = calibration([Path("m.onnx")], Path("mine"), False, "1/2", spec, None, "explicit", "cpu")
    assert (given.choosing.method, given.images, given.shard) == ("mse", Path("mine"), (1, 2))


def test_merging_takes_tables(tmp_path: Path) -> None:
    asked = calibration(
        [Path("a"), Path("b")], None, True, None, recipes.load(None), None, "explicit", "auto"
    )
    assert (asked.model, asked.images, asked.shards) == (None, None, [Path("a"), Path("b")])


# -------------------------------------------------------------------------------------------------------
# folders


def test_one_target_takes_the_folder_itself() -> None:
    assert folders(Path("out"), job(), [Target(None, None)]) == [Path("out")]


@pytest.mark.parametrize(
    ("backend", "name"), [(None, "m-prepared-fp32"), ("onnxruntime", "m-cpu-fp32")]
)
def test_a_folder_name_of_its_own(backend: Any, name: str) -> None:
    assert folders(None, job(), [Target(backend, None)]) == [Path(name)]


def prepared(folder: Path) -> Prepared:
    graphs = {"tensorrt": File(folder / "m.onnx", "0")}
    return Prepared("m", "fp32", (1, 1, 1), recipes.load(None), FoldFacts(), Sources(), graphs, {})


def test_a_prepared_folder_has_a_name_of_its_own() -> None:
    device = catalogue()["rtx-4090"]
    assert folders(None, job(), [Target(None, device)]) == [Path("m-rtx-4090-prepared-fp32")]
    assert folders(None, job(), [Target("tensorrt", device)]) == [Path("m-rtx-4090-fp32")]


def test_a_bundle_never_takes_the_place_of_the_prepared_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the folder came by its name."""
    targets = [Target("tensorrt", catalogue()[name]) for name in ("rtx-4090", "orin-nx")]
    monkeypatch.chdir(tmp_path)
    for out, folder, count in [
        (Path("x"), "x", 1),
        (None, "m-rtx-4090-fp32", 1),
        (None, "m-orin-nx-fp32", 2),
        (Path("x"), "x/orin-nx", 2),
    ]:
        with pytest.raises(ForgeError, match="is the prepared folder itself"):
            folders(out, prepared(tmp_path / folder), targets[:count])
    assert len(folders(Path("x"), prepared(tmp_path / "x"), targets)) == 2


def test_a_device_named_twice() -> None:
    with pytest.raises(ForgeError, match="cpu twice"):
        folders(None, job(), [Target("onnxruntime", None)] * 2)


# --------------------------------------------------------------------------------------------------------
# single


def upper(draft: Path, text: Path) -> int:
    (draft / "made.txt").write_text(text.read_text().upper())
    return 1


def write_single(out: Path, text: Path, write: Callable[[Path, Path], int] = upper) -> int:
    return single(lambda draft: write(draft, text), "made.txt", out, reads=[text])


@pytest.fixture
def text(tmp_path: Path) -> Path:
    (tmp_path / "in.txt").write_text("abc")
    return tmp_path / "in.txt"


def test_single_writes_one_file(text: Path) -> None:
    out = text.with_name("out.txt")
    assert write_single(out, text) == 1
    assert out.read_text() == "ABC"
    assert sorted(path.name for path in text.parent.iterdir()) == ["in.txt", "out.txt"]


def test_single_leaves_the_old_file_when_it_fails(text: Path) -> None:
    out = text.with_name("out.txt")
    out.write_text("old")

    def fail(draft: Path, text: Path) -> int:
        upper(draft, text)
        raise ForgeError("no", "")

    with pytest.raises(ForgeError, match="no"):
        write_single(out, text, fail)
    assert out.read_text() == "old"
    assert sorted(path.name for path in text.parent.iterdir()) == ["in.txt", "out.txt"]


def test_single_refuses_its_own_input(text: Path) -> None:
    with pytest.raises(ForgeError, match="is the input itself"):
        write_single(text.parent / "." / "in.txt", text)
    assert text.read_text() == "abc"


def test_single_refuses_one_of_several_inputs(text: Path) -> None:
    other = text.with_name("other.txt")
    other.write_text("x")
    with pytest.raises(ForgeError, match="is the input itself"):
        single(lambda draft: upper(draft, text), "made.txt", text, reads=[other, text])


def test_single_refuses_its_own_input_behind_a_link(text: Path) -> None:
    text.with_name("link").symlink_to(text)
    with pytest.raises(ForgeError, match="is the input itself"):
        write_single(text.with_name("link"), text)


def test_single_refuses_a_folder(text: Path) -> None:
    with pytest.raises(ForgeError, match="is a folder"):
        write_single(text.parent, text)
