"""Calibration through the command line: ranges, shards, caches, and what is wrong with models and
folders.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.models import SIDE, Network, classifier, network, outputs, photographs, yolov7_like
from trtforge.calibration import ranges
from trtforge.calibration.images import letterbox, read
from trtforge.cli import app
from trtforge.graph.fold import fold
from trtforge.graph.model import graph_of, save
from trtforge.graph.quantize.qdq import place
from trtforge.recipe import Preprocess


@dataclass(frozen=True)
class Run:
    code: int
    out: str
    err: str


def trtforge(*words: str | Path | int) -> Run:
    """The command line, in this process; an error that is not ours to report keeps its traceback."""
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    return Run(done.exit_code, done.stdout, done.stderr)


def done(*words: str | Path | int) -> Run:
    run = trtforge(*words)
    assert run.code == 0, run.err
    return run


def refused(*words: str | Path | int, code: int = 2) -> str:
    """The one line of a refusal."""
    run = trtforge(*words)
    lines = run.err.strip().splitlines()
    assert (run.code, run.out) == (code, ""), run.err
    assert lines[0].startswith("error: ")
    assert len(lines) <= 2
    return run.err


def pixels(seed: int, brightness: float = 1.0) -> np.ndarray:
    return (photographs(1, seed)[0].transpose(1, 2, 0) * 255 * brightness).astype(np.uint8)


def folder(path: Path, count: int, brightness: Callable[[int], float] = lambda index: 1.0) -> Path:
    path.mkdir()
    for index in range(count):
        Image.fromarray(pixels(index, brightness(index))).save(path / f"{index:02}.png")
    return path


def folded(path: Path, model: onnx.ModelProto) -> Path:
    save(fold(model), path)
    return path


def table(path: Path) -> ranges.Ranges:
    return ranges.load(path)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folded(tmp_path_factory.mktemp("model") / "clean.onnx", yolov7_like())


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 images in folders whose names sort differently as text and as paths, a duplicate, and one
    unreadable.
    """
    made = tmp_path_factory.mktemp("photos")
    for index in range(24):
        at = made / ("a", "a-b", "a/c", ".")[index % 4]
        at.mkdir(exist_ok=True)
        Image.fromarray(pixels(index, 1 - index / 48)).save(at / f"{index:02}.png")
    shutil.copy(made / "a" / "00.png", made / "zz.png")
    (made / "a" / "broken.png").write_bytes(b"no image")
    return made


@pytest.fixture(scope="module")
def whole(clean: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run's calibration.json and calibration.cache."""
    out = tmp_path_factory.mktemp("whole")
    done(
        "calibrate",
        clean,
        "--calib",
        photos,
        "-o",
        out / "calibration.json",
        "--cache",
        out / "calibration.cache",
    )
    return out


def shards(clean: Path, photos: Path, out: Path, count: int) -> list[Path]:
    made = [out / f"{index}.json" for index in range(1, count + 1)]
    for index, path in enumerate(made, 1):
        done("calibrate", clean, "--calib", photos, "--shard", f"{index}/{count}", "-o", path)
    return made


# -------------------------------------------------------------------------------------------------------
# shards


@pytest.mark.parametrize("count", [1, 2, 5])
def test_merged_shards_give_the_bytes_of_one_run(
    clean: Path, photos: Path, whole: Path, tmp_path: Path, count: int
) -> None:
    made = shards(clean, photos, tmp_path, count)
    for order in (made, made[::-1]):
        done(
            "calibrate",
            "--merge",
            *order,
            "-o",
            tmp_path / "m.json",
            "--cache",
            tmp_path / "m.cache",
        )
        assert (tmp_path / "m.json").read_bytes() == (whole / "calibration.json").read_bytes()
        assert (tmp_path / "m.cache").read_bytes() == (whole / "calibration.cache").read_bytes()


def test_the_method_is_chosen_when_shards_are_merged(
    clean: Path, photos: Path, tmp_path: Path
) -> None:
    made = shards(clean, photos, tmp_path, 2)
    done("calibrate", "--merge", *made, "--method", "minmax", "-o", tmp_path / "merged.json")
    done("calibrate", clean, "--calib", photos, "--method", "minmax", "-o", tmp_path / "whole.json")
    assert (tmp_path / "merged.json").read_bytes() == (tmp_path / "whole.json").read_bytes()


def test_what_was_seen_is_written_down(clean: Path, photos: Path, whole: Path) -> None:
    source = table(whole / "calibration.json").source
    assert source is not None
    assert (len(source.images), source.skipped, source.duplicates, source.total) == (
        24,
        ["a/broken.png"],
        1,
        25,
    )
    assert list(source.images) == sorted(source.images)
    assert "zz.png" not in source.images


def test_a_missing_shard_is_refused(clean: Path, photos: Path, tmp_path: Path) -> None:
    made = shards(clean, photos, tmp_path, 3)
    assert "of 25 images are in these tables" in refused(
        "calibrate", "--merge", *made[:2], "-o", tmp_path / "m.json"
    )
    assert not (tmp_path / "m.json").exists()


def test_a_shard_twice_is_refused(clean: Path, photos: Path, tmp_path: Path) -> None:
    one, two = shards(clean, photos, tmp_path, 2)
    assert "an earlier table contains too" in refused(
        "calibrate", "--merge", one, two, one, "-o", tmp_path / "m.json"
    )


def test_a_shard_of_another_model_or_folder_is_refused(
    clean: Path, photos: Path, tmp_path: Path
) -> None:
    one, _ = shards(clean, photos, tmp_path, 2)
    other = folded(tmp_path / "other.onnx", yolov7_like(seed=9))
    done("calibrate", other, "--calib", photos, "--shard", "2/2", "-o", tmp_path / "other.json")
    assert "in 'model'" in refused(
        "calibrate", "--merge", one, tmp_path / "other.json", "-o", tmp_path / "m.json"
    )
    done(
        "calibrate",
        clean,
        "--calib",
        folder(tmp_path / "few", 4),
        "--shard",
        "2/2",
        "-o",
        tmp_path / "few.json",
    )
    assert "in 'total'" in refused(
        "calibrate", "--merge", one, tmp_path / "few.json", "-o", tmp_path / "m.json"
    )


def test_a_shard_is_no_table(clean: Path, photos: Path, tmp_path: Path) -> None:
    one, _ = shards(clean, photos, tmp_path, 2)
    found = refused("quantize", clean, "--calibration", one, "-o", tmp_path / "int8.onnx")
    assert "histograms of a shard" in found
    assert "--merge" in found


def test_a_table_is_no_shard(whole: Path, tmp_path: Path) -> None:
    found = refused("calibrate", "--merge", whole / "calibration.json", "-o", tmp_path / "m.json")
    assert "not a table of histograms" in found


def test_a_shard_is_not_overwritten_by_what_is_made_of_it(
    clean: Path, photos: Path, tmp_path: Path
) -> None:
    made = shards(clean, photos, tmp_path, 2)
    before = made[0].read_bytes()
    assert "is the input itself" in refused("calibrate", "--merge", *made, "-o", made[0])
    assert made[0].read_bytes() == before


def test_more_shards_than_images(clean: Path, tmp_path: Path) -> None:
    few = folder(tmp_path / "few", 2)
    found = refused("calibrate", clean, "--calib", few, "--shard", "3/3", "-o", tmp_path / "m.json")
    assert "2 different images are too few for 3 shards" in found


@pytest.mark.parametrize(
    "shard", ["1", "0/2", "3/2", "1/0", "-1/2", "1/2/3", "a/b", "1.0/2", "1 /2"]
)
def test_what_is_no_shard(clean: Path, photos: Path, tmp_path: Path, shard: str) -> None:
    found = refused(
        "calibrate", clean, "--calib", photos, f"--shard={shard}", "-o", tmp_path / "m.json"
    )
    assert "not I/N" in found


# --------------------------------------------------------------------------------------------------
# contradictions


CONTRADICTIONS: dict[str, tuple[str, list[str]]] = {
    "merge and images": ("--merge takes tables", ["--merge", "a.json", "--calib", "photos"]),
    "merge and shard": ("--merge takes tables", ["--merge", "a.json", "--shard", "1/2"]),
    "merge and preview": ("--preview needs a model", ["--merge", "a.json", "--preview", "p"]),
    "two models": ("takes one model, not 2", ["a.onnx", "b.onnx", "--calib", "photos"]),
    "no images": ("needs photographs", ["a.onnx"]),
    "unknown method": ("--method kl: not known", ["a.onnx", "--calib", "photos", "--method", "kl"]),
    "unknown taps": ("--taps all: not known", ["a.onnx", "--calib", "photos", "--taps", "all"]),
    "unknown provider": ("--provider tpu: not known", ["a.onnx", "--calib", "photos", "--provider", "tpu"]),
    "a missing shard": ("no such file", ["--merge", "a.json"]),
    "cache of a shard": ("a shard has none", ["a.onnx", "--calib", "p", "--shard", "1/2", "--cache", "c.cache"]),
    "cache of no TensorRT": ("not a version of TensorRT",
                             ["a.onnx", "--calib", "p", "--cache", "c.cache", "--tensorrt", "ten"]),
    "cache over the table": ("is the table itself", ["a.onnx", "--calib", "p", "--cache", "calibration.json"]),
    "cache in no folder": ("there is no folder nowhere", ["a.onnx", "--calib", "p", "--cache", "nowhere/c.cache"]),
}  # fmt: skip


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_options_that_contradict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    text, words = CONTRADICTIONS[case]
    monkeypatch.chdir(tmp_path)
    assert text in refused("calibrate", *words)
    assert list(tmp_path.iterdir()) == []


def test_cuda_that_is_not_here(
    clean: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trtforge.backends import onnxruntime

    monkeypatch.setattr(onnxruntime, "has_cuda", lambda: False)
    out = tmp_path / "t.json"
    assert "--provider cpu" in refused(
        "calibrate", clean, "--calib", photos, "--provider", "cuda", "-o", out, code=3
    )
    made = shards(clean, photos, tmp_path, 1)
    done("calibrate", "--merge", *made, "--provider", "cuda", "-o", out)  # nothing is run


# -------------------------------------------------------------------------------------------------------
# methods


def recipe(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_methods_by_tensor_in_a_recipe(
    clean: Path, photos: Path, whole: Path, tmp_path: Path
) -> None:
    names = list(table(whole / "calibration.json").methods)
    spec = recipe(
        tmp_path / "r.yaml", f"calibration:\n  method: mse\n  methods:\n    {names[1]}: minmax\n"
    )
    done("calibrate", clean, "--calib", photos, "--recipe", spec, "-o", tmp_path / "t.json")
    found = table(tmp_path / "t.json")
    assert found.methods == dict.fromkeys(names, "mse") | {names[1]: "minmax"}
    assert found.amax[names[1]] == pytest.approx(found.histograms[names[1]].largest, rel=1e-7)
    done("calibrate", clean, "--calib", photos, "--method", "mse", "-o", tmp_path / "mse.json")
    assert found.amax[names[2]] == table(tmp_path / "mse.json").amax[names[2]]


def test_a_pattern_that_matches_no_tensor(clean: Path, photos: Path, tmp_path: Path) -> None:
    spec = recipe(tmp_path / "r.yaml", "calibration:\n  methods:\n    typo*: minmax\n")
    found = refused(
        "calibrate", clean, "--calib", photos, "--recipe", spec, "-o", tmp_path / "t.json"
    )
    assert "'typo*' matches no calibrated tensor" in found


def test_a_method_that_is_none(clean: Path, photos: Path, tmp_path: Path) -> None:
    spec = recipe(tmp_path / "r.yaml", "calibration:\n  methods:\n    t1: kl\n")
    found = refused(
        "calibrate", clean, "--calib", photos, "--recipe", spec, "-o", tmp_path / "t.json"
    )
    assert "r.yaml:3: calibration.methods.t1" in found


# ---------------------------------------------------------------------------------------------------------
# taps


def test_implicit_taps_hold_the_explicit_ones(
    clean: Path, photos: Path, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "t.json"
    done("calibrate", clean, "--calib", photos, "--taps", "implicit", "-o", out)
    found, explicit = table(out), table(whole / "calibration.json")
    assert found.source is not None
    assert found.source.taps == "implicit"
    assert found.amax.keys() > explicit.amax.keys()
    assert "image" in found.amax
    done("quantize", clean, "--calibration", out, "-o", tmp_path / "int8.onnx")


# ---------------------------------------------------------------------------------------------------------
# cache


def test_a_cache_quantizes_as_its_table_does(clean: Path, whole: Path, tmp_path: Path) -> None:
    for suffix in ("json", "cache"):
        done(
            "quantize",
            clean,
            "--calibration",
            whole / f"calibration.{suffix}",
            "-o",
            tmp_path / f"{suffix}.onnx",
        )
    assert (tmp_path / "cache.onnx").read_bytes() == (tmp_path / "json.onnx").read_bytes()


def test_a_cache_reads_back_to_the_same_scales(whole: Path) -> None:
    found, cached = table(whole / "calibration.json"), table(whole / "calibration.cache")
    assert cached.amax == ranges.per_tensor(found.groups, found.amax)
    assert cached.source is None


@pytest.mark.parametrize(
    ("words", "header"),
    [
        ([], "TRT-101600-EntropyCalibration2"),
        (["--tensorrt", "8.5.2"], "TRT-8502-EntropyCalibration2"),
        (["--method", "minmax"], "TRT-101600-EntropyCalibration2"),
    ],
)
def test_the_header_is_of_the_version_that_reads_it(
    clean: Path, photos: Path, tmp_path: Path, words: list[str], header: str
) -> None:
    cache = tmp_path / "c.cache"
    done("calibrate", clean, "--calib", photos, "-o", tmp_path / "t.json", "--cache", cache, *words)
    assert cache.read_text().splitlines()[0] == header


def test_names_with_colons(tmp_path: Path) -> None:
    model = classifier()
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [f"{name}: x:0" if name.startswith("t") else name for name in names]
        node.name = node.output[0]
    model.graph.output[0].name += ": x:0"
    clean, photos = folded(tmp_path / "clean.onnx", model), folder(tmp_path / "photos", 3)
    done(
        "calibrate",
        clean,
        "--calib",
        photos,
        "-o",
        tmp_path / "t.json",
        "--cache",
        tmp_path / "t.cache",
    )
    assert any(name.endswith(": x:0") for name in table(tmp_path / "t.cache").amax)
    for suffix in ("json", "cache"):
        done(
            "quantize",
            clean,
            "--calibration",
            tmp_path / f"t.{suffix}",
            "-o",
            tmp_path / f"{suffix}.onnx",
        )
    assert (tmp_path / "cache.onnx").read_bytes() == (tmp_path / "json.onnx").read_bytes()


@pytest.mark.parametrize(
    "text",
    [
        "TRT-8502-X\nt1: what\n",
        "TRT-8502-X\nt1: 3f8\0",
        "TRT-8502-X\nt1: 7fc00000\n",
        "TRT-",
        "",
        "hello",
        "\x00\xff",
        "{}",
    ],
)
def test_a_cache_of_garbage(clean: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "c.cache").write_text(text, encoding="latin-1")
    refused("quantize", clean, "--calibration", tmp_path / "c.cache", "-o", tmp_path / "int8.onnx")
    assert not (tmp_path / "int8.onnx").exists()


def test_a_cache_that_lacks_tensors(clean: Path, whole: Path, tmp_path: Path) -> None:
    rows = (whole / "calibration.cache").read_text().splitlines()
    lost = rows.pop(2).rpartition(": ")[0]
    (tmp_path / "c.cache").write_text("\n".join(rows))
    found = refused(
        "quantize", clean, "--calibration", tmp_path / "c.cache", "-o", tmp_path / "int8.onnx"
    )
    assert f"no range for 1 tensors, the first is '{lost}'" in found


# -------------------------------------------------------------------------------------------------------
# preview

SPECS = {
    "default": "",
    "bgr with offsets": "color: bgr\n  offsets: [103.5, 116.25, 123.7]\n  scale: 0.0171",
    "raw": "scale: 1.0\n  letterbox: top-left\n  padding: 114",
    "stretched": "letterbox: none\n  offsets: [127.5, 127.5, 127.5]\n  scale: 0.0078125",
}


@pytest.mark.parametrize("name", SPECS)
def test_preview_shows_what_the_network_sees(clean: Path, tmp_path: Path, name: str) -> None:
    spec = recipe(
        tmp_path / "r.yaml", f"preprocess:\n  {SPECS[name]}\n" if SPECS[name] else "name: x\n"
    )
    photos = tmp_path / "photos"
    (photos / "a").mkdir(parents=True)
    Image.fromarray(pixels(1)[:40]).save(photos / "a" / "b.png")
    Image.fromarray(pixels(2)[:, :30]).save(photos / "a-b.png")
    Image.fromarray(pixels(3)).save(photos / "c.jpg")
    out = tmp_path / "seen"
    done(
        "calibrate",
        clean,
        "--calib",
        photos,
        "--recipe",
        spec,
        "--preview",
        out,
        "-o",
        tmp_path / "t.json",
    )
    from trtforge.recipe import load

    preprocess: Preprocess = load(spec).preprocess
    found = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.*"))
    assert found == ["a-b.png.png", "a/b.png.png", "c.jpg.png"]
    for shown in found:
        want = letterbox(read(photos / shown[: -len(".png")]), preprocess, (SIDE, SIDE))
        np.testing.assert_array_equal(np.asarray(Image.open(out / shown)), want)


def test_preview_among_the_images_is_refused(clean: Path, tmp_path: Path) -> None:
    """The next run would calibrate on pictures of pictures."""
    photos = folder(tmp_path / "photos", 2)
    for out in (photos / "seen", photos):
        found = refused(
            "calibrate", clean, "--calib", photos, "--preview", out, "-o", tmp_path / "t.json"
        )
        assert "lies among the images" in found
    assert len(list(photos.iterdir())) == 2


def test_preview_over_a_file_is_refused(clean: Path, tmp_path: Path) -> None:
    (tmp_path / "seen").write_text("mine")
    photos = folder(tmp_path / "photos", 2)
    found = refused(
        "calibrate",
        clean,
        "--calib",
        photos,
        "--preview",
        tmp_path / "seen",
        "-o",
        tmp_path / "t.json",
    )
    assert "is a file" in found


# -------------------------------------------------------------------------------------------------------
# remarks


def test_images_sorted_by_brightness_have_not_settled(clean: Path, tmp_path: Path) -> None:
    photos = folder(tmp_path / "photos", 24, lambda index: (index + 1) / 24)
    run = done("calibrate", clean, "--calib", photos, "-o", tmp_path / "t.json")
    assert "have not settled: the last quarter of 24 images moved" in run.err
    assert run.err.count("\n") == 1


def test_few_images_are_remarked(clean: Path, tmp_path: Path) -> None:
    run = done(
        "calibrate", clean, "--calib", folder(tmp_path / "photos", 3), "-o", tmp_path / "t.json"
    )
    assert "3 images are few" in run.err


def test_a_settled_set_is_not_remarked(clean: Path, tmp_path: Path) -> None:
    """The same brightnesses as in the sorted folder, in another order."""
    order = np.random.default_rng(0).permutation(24)
    photos = folder(tmp_path / "photos", 24, lambda index: (order[index] + 1) / 24)
    run = done("calibrate", clean, "--calib", photos, "-o", tmp_path / "t.json")
    assert run.err == ""


def test_duplicates_are_left_out_and_counted(clean: Path, tmp_path: Path) -> None:
    photos = folder(tmp_path / "photos", 3)
    done("calibrate", clean, "--calib", photos, "-o", tmp_path / "three.json")
    shutil.copytree(photos, photos / "again")
    done("calibrate", clean, "--calib", photos, "-o", tmp_path / "six.json")
    three, six = table(tmp_path / "three.json"), table(tmp_path / "six.json")
    assert six.amax == three.amax
    assert six.source is not None
    assert (six.source.duplicates, six.source.total, len(six.source.images)) == (3, 3, 3)
    run = done(
        "calibrate", clean, "--calib", photos, "--shard", "1/1", "-o", tmp_path / "shard.json"
    )
    assert "3 duplicates left out" in run.out


# -----------------------------------------------------------------------------------------------
# unusual networks


def calibrated(
    tmp_path: Path, model: onnx.ModelProto, count: int = 4
) -> tuple[ranges.Ranges, onnx.ModelProto]:
    """Fold, calibrate and quantize by the command line, from the table and from the cache; the INT8
    model runs.
    """
    onnx.save(model, tmp_path / "model.onnx")
    clean, out = tmp_path / "clean.onnx", tmp_path / "t.json"
    done("fold", tmp_path / "model.onnx", "-o", clean)
    done(
        "calibrate",
        clean,
        "--calib",
        folder(tmp_path / "photos", count),
        "-o",
        out,
        "--cache",
        tmp_path / "t.cache",
    )
    for suffix in ("json", "cache"):
        done(
            "quantize",
            clean,
            "--calibration",
            tmp_path / f"t.{suffix}",
            "-o",
            tmp_path / f"{suffix}.onnx",
        )
    assert (tmp_path / "cache.onnx").read_bytes() == (tmp_path / "json.onnx").read_bytes()
    quantized = onnx.load(tmp_path / "json.onnx")
    images = photographs(1)
    for want, found in zip(
        outputs(onnx.load(clean), images), outputs(quantized, images), strict=True
    ):
        assert np.isfinite(found).all()
        assert np.abs(found - want).max() <= 0.05 * max(1.0, float(np.abs(want).max()))
    return table(out), quantized


def with_weights(s: Network, x: str, weights: np.ndarray, bias: np.ndarray) -> str:
    return s.op("Conv", x, s.const(weights), s.const(bias), kernel_shape=[1, 1])


def test_dead_channels(tmp_path: Path) -> None:
    s = network(1)
    weights = s.rng.normal(0, 0.5, (8, 8, 1, 1))
    weights[::2] = 0
    x = s.op("Relu", with_weights(s, s.relu("image", (3, 8), 3), weights, np.zeros(8)))
    found, _ = calibrated(tmp_path, s.model(s.conv(x, (8, 4))))
    assert all(value > 0 for value in found.amax.values())


def test_a_tensor_that_is_always_zero(tmp_path: Path) -> None:
    s = network(1)
    x = s.relu("image", (3, 8), 3)
    dead = s.op("Relu", with_weights(s, x, np.zeros((8, 8, 1, 1)), np.full(8, -1.0)))
    found, quantized = calibrated(
        tmp_path, s.model(s.op("Add", s.conv(dead, (8, 4)), s.conv(x, (8, 4))))
    )
    assert found.amax[dead] == 0
    scales = {
        tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in quantized.graph.initializer
    }
    assert scales[f"{dead}.scale"] > 0
    run = done(
        "calibrate",
        tmp_path / "clean.onnx",
        "--calib",
        tmp_path / "photos",
        "-o",
        tmp_path / "again.json",
    )
    assert "1 always zero" in run.out


def test_a_constant_tensor(tmp_path: Path) -> None:
    s = network(1)
    x = s.relu("image", (3, 8), 3)
    constant = s.op("Relu", with_weights(s, x, np.zeros((8, 8, 1, 1)), np.full(8, 0.7)))
    found, _ = calibrated(
        tmp_path, s.model(s.op("Add", s.conv(constant, (8, 4)), s.conv(x, (8, 4))))
    )
    assert found.amax[constant] == pytest.approx(0.7, rel=1e-6)


def test_one_image(tmp_path: Path) -> None:
    found, _ = calibrated(tmp_path, classifier(), count=1)
    assert set(found.moved.values()) == {0.0}


def test_black_images_alone(tmp_path: Path) -> None:
    """The input is always zero; behind the first convolution's bias are values again."""
    clean, photos = (
        folded(tmp_path / "clean.onnx", classifier()),
        folder(tmp_path / "photos", 2, lambda index: 0.0),
    )
    done("calibrate", clean, "--calib", photos, "--taps", "implicit", "-o", tmp_path / "t.json")
    assert table(tmp_path / "t.json").amax["image"] == 0
    done("quantize", clean, "--calibration", tmp_path / "t.json", "-o", tmp_path / "int8.onnx")


def test_dynamic_height_and_width_are_fixed_by_fold(tmp_path: Path) -> None:
    onnx.save(dynamic(), tmp_path / "model.onnx")
    photos = folder(tmp_path / "photos", 2)
    found = refused(
        "calibrate", tmp_path / "model.onnx", "--calib", photos, "-o", tmp_path / "t.json"
    )
    assert "no fixed height and width" in found
    assert "fold --size" in found
    done("fold", tmp_path / "model.onnx", "--size", "96x64", "-o", tmp_path / "clean.onnx")
    done("calibrate", tmp_path / "clean.onnx", "--calib", photos, "-o", tmp_path / "t.json")
    assert table(tmp_path / "t.json").histograms["t1"].counts.sum() == 2 * 8 * 96 * 64


def dynamic() -> onnx.ModelProto:
    s = network(1)
    return s.model(s.conv(s.relu("image", (3, 8), 3), (8, 4)), side="side")


def one_channel() -> onnx.ModelProto:
    s = network(1)
    model = s.model(s.conv(s.relu("image", (1, 8), 3), (8, 4)), batch=1)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 1
    return model


def two_inputs() -> onnx.ModelProto:
    s = network(1)
    x = s.op("Mul", s.conv(s.relu("image", (3, 8), 3), (8, 4)), "gain")
    model = s.model(s.conv(x, (4, 4)))
    model.graph.input.append(onnx.helper.make_tensor_value_info("gain", 1, [1]))
    return inferred(model)


def inferred(model: onnx.ModelProto) -> onnx.ModelProto:
    """ONNX's checker wants shapes of outputs, and the inputs were changed."""
    return onnx.shape_inference.infer_shapes(model)


def three_axes() -> onnx.ModelProto:
    s = network(1)
    x = s.op("Unsqueeze", "image", s.ints(0))
    model = s.model(s.conv(s.relu(x, (3, 8), 3), (8, 4)), batch=3)
    del model.graph.input[0].type.tensor_type.shape.dim[1]
    return inferred(model)


def integers() -> onnx.ModelProto:
    s = network(1)
    model = s.model(s.conv(s.relu(s.op("Cast", "image", to=1), (3, 8), 3), (8, 4)))
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    return model


def nothing_learned() -> onnx.ModelProto:
    s = network(1)
    return s.model(s.op("Sigmoid", s.op("Relu", "image")))


REFUSED: dict[str, tuple[str, Callable[[], onnx.ModelProto]]] = {
    "one channel": ("not (N, 3, H, W)", one_channel),
    "two inputs": ("2 inputs (image, gain)", two_inputs),
    "three axes": ("not a batch of images", three_axes),
    "integers": ("UINT8, not FLOAT", integers),
}


@pytest.mark.parametrize("case", REFUSED)
def test_models_that_are_refused(tmp_path: Path, case: str) -> None:
    """By calibrate, folded or not: fold alone takes any graph."""
    text, make = REFUSED[case]
    onnx.save(make(), tmp_path / "model.onnx")
    photos = folder(tmp_path / "photos", 2)
    done("fold", tmp_path / "model.onnx", "-o", tmp_path / "clean.onnx")
    for model in ("model.onnx", "clean.onnx"):
        assert text in refused(
            "calibrate", tmp_path / model, "--calib", photos, "-o", tmp_path / "t.json"
        )
    assert not (tmp_path / "t.json").exists()


@pytest.mark.parametrize("taps", ["explicit", "implicit"])
def test_a_model_that_was_not_folded(tmp_path: Path, taps: str) -> None:
    onnx.save(classifier(), tmp_path / "model.onnx")
    photos, out = folder(tmp_path / "photos", 2), tmp_path / "t.json"
    found = refused(
        "calibrate", tmp_path / "model.onnx", "--calib", photos, "--taps", taps, "-o", out
    )
    assert "trtforge fold" in found


def test_a_model_that_has_nothing_to_quantize(tmp_path: Path) -> None:
    clean, photos = (
        folded(tmp_path / "clean.onnx", nothing_learned()),
        folder(tmp_path / "photos", 2),
    )
    found = refused("calibrate", clean, "--calib", photos, "-o", tmp_path / "t.json")
    assert "no convolution or matrix product to quantize" in found


@pytest.mark.parametrize("taps", ["explicit", "implicit"])
@pytest.mark.parametrize(("operator", "least"), [("Sqrt", 0.9), ("Reciprocal", 0.0)])
def test_nan_and_infinity_are_named_with_their_image(
    tmp_path: Path, taps: str, operator: str, least: float
) -> None:
    """The root of a negative number, and 1/0, on the one bright or black image of six."""
    s = network(1)
    darkness = s.op("Relu", s.op("Sub", "image", s.const(least)))
    bad = (
        s.op("Sqrt", s.op("Neg", darkness)) if operator == "Sqrt" else s.op("Reciprocal", darkness)
    )
    clean = folded(
        tmp_path / "clean.onnx", s.model(s.conv(s.op("Relu", s.conv(bad, (3, 8))), (8, 4)))
    )
    photos = tmp_path / "photos"
    photos.mkdir()
    for index in range(6):
        level = (255 if operator == "Sqrt" else 0) if index == 4 else 100
        Image.new("RGB", (SIDE, SIDE), (level,) * 3).save(photos / f"{index}.png")
    out = tmp_path / "t.json"
    found = refused("calibrate", clean, "--calib", photos, "--taps", taps, "-o", out)
    assert f"activation '{bad}' is NaN or infinite on {photos / '4.png'}" in found
    assert not out.exists()


def test_a_fixed_batch(tmp_path: Path) -> None:
    clean, photos = (
        folded(tmp_path / "clean.onnx", classifier(batch=4)),
        folder(tmp_path / "photos", 2),
    )
    done("calibrate", clean, "--calib", photos, "-o", tmp_path / "four.json")
    done(
        "calibrate",
        folded(tmp_path / "any.onnx", classifier()),
        "--calib",
        photos,
        "-o",
        tmp_path / "one.json",
    )
    four, one = table(tmp_path / "four.json"), table(tmp_path / "one.json")
    for name, value in one.amax.items():
        assert four.amax[name] == pytest.approx(value, rel=1e-3)


def test_images_of_every_kind(clean: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    (photos / "deep" / "er").mkdir(parents=True)
    colour = Image.fromarray(pixels(0))
    exif = Image.Exif()
    exif[0x0112] = 6
    colour.save(photos / "rotated.jpg", exif=exif)
    colour.convert("L").save(photos / "grey.png")
    colour.convert("LA").save(photos / "grey-alpha.png")
    colour.convert("RGBA").save(photos / "alpha.webp")
    colour.convert("CMYK").save(photos / "cmyk.jpg")
    colour.convert("P").save(photos / "palette.png")
    colour.convert("1").save(photos / "deep" / "one-bit.tif")
    Image.fromarray(pixels(0)[..., 0].astype(np.uint16) << 8).save(
        photos / "deep" / "er" / "sixteen.png"
    )
    done("calibrate", clean, "--calib", photos, "-o", tmp_path / "t.json")
    source: Any = table(tmp_path / "t.json").source
    assert (len(source.images), source.skipped, source.duplicates) == (8, [], 0)


def test_the_table_is_json_with_a_format(whole: Path) -> None:
    content = json.loads((whole / "calibration.json").read_text())
    assert content["format"] == "trtforge-calibration-2"
    assert content["source"]["versions"].keys() >= {"onnxruntime", "numpy", "pillow"}


def test_every_placement_of_the_model_finds_its_ranges(clean: Path, whole: Path) -> None:
    found, graph = table(whole / "calibration.json"), graph_of(onnx.load(clean))
    for operator in place(graph).operators:
        placement = place(graph, (operator,))
        assert ranges.per_tensor(placement.groups, found.amax).keys() == set(placement.tensors)
