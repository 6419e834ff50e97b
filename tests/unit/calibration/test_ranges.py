"""The table of ranges: chosen by method, shared by groups, and as a file."""

from __future__ import annotations

import json
import struct
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trtforge.calibration import observed
from trtforge.calibration.histogram import Histogram
from trtforge.calibration.observed import Observed, Provenance
from trtforge.calibration.ranges import Ranges, choose, load, per_tensor, save
from trtforge.calibration.threshold import threshold
from trtforge.errors import ForgeError

SOURCE = Provenance(
    model="0" * 64,
    taps="explicit",
    preprocess={"scale": 1 / 255},
    images={"sub/a.jpg": "1" * 64},
    skipped=["broken.jpg"],
    duplicates=1,
    total=2,
    versions={"numpy": "2"},
)
GROUPS = (
    (("image",), ("image",)),
    (("a: b", "c", "pooled"), ("a: b", "c")),
    (("dead",), ("dead",)),
)


def histogram(seed: int, size: int = 4000) -> Histogram:
    made = Histogram()
    made.observe(np.random.default_rng(seed).normal(0, seed, size).astype(np.float32))
    return made


def seen() -> Observed:
    names = ("image", "a: b", "c", "dead")
    early = {name: histogram(seed) for name, seed in zip(names, (1, 2, 3, 0), strict=True)}
    late = {name: histogram(seed, 500) for name, seed in zip(names, (9, 2, 3, 0), strict=True)}
    return Observed(SOURCE, GROUPS, early, late)


def table(**methods: str) -> Ranges:
    return choose(seen(), "entropy", 99.99, methods)


def document(ranges: Ranges) -> dict[str, Any]:
    """For comparison: histograms hold arrays."""
    return {
        **vars(ranges),
        "source": ranges.source and asdict(ranges.source),
        "histograms": {name: observed.pack(each) for name, each in ranges.histograms.items()},
    }


def changed(path: Path, **changes: Any) -> Path:
    """The table's file with keys changed; ``...`` drops one."""
    save(table(), path)
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not ...}))
    return path


# --------------------------------------------------------------------------------------------------------
# chosen


@pytest.mark.parametrize("method", ["entropy", "percentile", "mse", "minmax"])
def test_each_tensor_has_its_threshold(method: str) -> None:
    found, whole = choose(seen(), method, 99.0, {}), seen().combined()
    for name, each in whole.items():
        assert found.amax[name] == pytest.approx(threshold(each, method, 99.0), rel=1e-7)
    assert found.methods == dict.fromkeys(whole, method)


def test_a_scale_is_exactly_a_float32() -> None:
    for value in table().amax.values():
        assert struct.unpack(">f", struct.pack(">f", value / 127))[0] == value / 127


def test_methods_by_pattern_and_the_first_one_decides() -> None:
    found = table(**{"a*": "minmax", "*": "mse"})
    assert found.methods == {"image": "mse", "a: b": "minmax", "c": "mse", "dead": "mse"}
    whole = seen().combined()
    assert found.amax["a: b"] == pytest.approx(whole["a: b"].largest, rel=1e-7)
    assert found.amax["c"] == pytest.approx(threshold(whole["c"], "mse"), rel=1e-7)


def test_a_pattern_that_matches_nothing_is_refused() -> None:
    with pytest.raises(
        ForgeError, match=r"calibration\.methods: 'imagee' matches no calibrated tensor"
    ):
        table(imagee="minmax")


def test_how_far_the_last_quarter_moved_a_range() -> None:
    found = table(image="minmax")
    before, after = seen().early["image"].largest, seen().combined()["image"].largest
    assert found.moved["image"] == pytest.approx((after - before) / after, rel=1e-6)
    assert found.moved["image"] > 0.5
    assert found.moved["c"] < 0.05
    assert found.moved["dead"] == 0.0


def test_groups_share_the_largest_range_of_their_sources() -> None:
    found = table()
    shared = per_tensor(GROUPS, found.amax)
    assert (
        shared["a: b"]
        == shared["c"]
        == shared["pooled"]
        == max(found.amax["a: b"], found.amax["c"])
    )
    assert shared["image"] == found.amax["image"]


def test_what_only_holds_others_values_has_a_range_of_its_own() -> None:
    """Another placement may quantize it without its sources."""
    found = table()
    assert found.amax["pooled"] == max(found.amax["a: b"], found.amax["c"])
    assert per_tensor([(("pooled",), ("pooled",))], found.amax) == {"pooled": found.amax["pooled"]}


def test_a_group_without_one_of_its_ranges_is_left_out() -> None:
    assert per_tensor(GROUPS, {"image": 1.0, "c": 2.0}) == {"image": 1.0}


# --------------------------------------------------------------------------------------------------------
# a file


def test_a_table_comes_back_exactly(tmp_path: Path) -> None:
    save(table(), tmp_path / "t.json")
    assert document(load(tmp_path / "t.json")) == document(table())


def test_the_same_table_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save(table(), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(ForgeError, match="no such file"):
        load(tmp_path / "t.json")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "3", '"text"', "\x00\x01", "[" * 100000, "TRT-8502-X\nx: zz"]
)
def test_not_a_table(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(ForgeError, match="not a calibration table") as caught:
        load(tmp_path / "t.json")
    assert "\n" not in caught.value.problem


def test_not_text(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ForgeError, match="not a calibration table"):
        load(tmp_path / "t.json")


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ForgeError):
        load(tmp_path)


@pytest.mark.parametrize("format_", ["trtforge-calibration-0", None, ...])
def test_another_format(tmp_path: Path, format_: Any) -> None:
    with pytest.raises(ForgeError, match="not a calibration table of this version"):
        load(changed(tmp_path / "t.json", format=format_))


def test_a_shard_is_no_table(tmp_path: Path) -> None:
    observed.save(seen(), tmp_path / "shard.json")
    with pytest.raises(ForgeError, match="histograms of a shard") as caught:
        load(tmp_path / "shard.json")
    assert "--merge" in caught.value.hint


@pytest.mark.parametrize("key", ["amax", "groups", "methods", "moved", "histograms", "source"])
@pytest.mark.parametrize("wrong", [..., None, 3, "text", [1]])
def test_keys_that_are_wrong(tmp_path: Path, key: str, wrong: Any) -> None:
    with pytest.raises(ForgeError, match="not a calibration table"):
        load(changed(tmp_path / "t.json", **{key: wrong}))


@pytest.mark.parametrize("key", ["amax", "groups", "moved", "histograms", "source"])
@pytest.mark.parametrize("wrong", [{"x": None}, {"x": "y"}, {"x": {"counts": 3}}])
def test_values_that_are_wrong(tmp_path: Path, key: str, wrong: Any) -> None:
    with pytest.raises(ForgeError, match="not a calibration table"):
        load(changed(tmp_path / "t.json", **{key: wrong}))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1.0, 1e39])
def test_ranges_that_are_no_magnitudes(tmp_path: Path, bad: float) -> None:
    with pytest.raises(ForgeError, match="the range of 'x' is"):
        load(changed(tmp_path / "t.json", amax={"image": 1.0, "x": bad}))


def test_a_whole_number_beyond_any_float(tmp_path: Path) -> None:
    with pytest.raises(ForgeError, match="not a calibration table"):
        load(changed(tmp_path / "t.json", amax={"image": 10**400}))


def test_whole_numbers_are_ranges_too(tmp_path: Path) -> None:
    assert load(changed(tmp_path / "t.json", amax={"image": 1})).amax == {"image": 1.0}


@pytest.mark.parametrize("bits", ["7f800000", "7fc00000", "bf800000"])
def test_a_cache_whose_scale_is_no_magnitude(tmp_path: Path, bits: str) -> None:
    (tmp_path / "t.cache").write_text(f"TRT-8502-EntropyCalibration2\nx: {bits}\n")
    with pytest.raises(ForgeError, match="the range of 'x' is"):
        load(tmp_path / "t.cache")
