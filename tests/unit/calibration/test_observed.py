"""Shards: any number in any order, merge_histograms, are the one run; anything else is refused."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trtforge.calibration.histogram import Histogram
from trtforge.calibration.loops import BINS
from trtforge.calibration.observed import (
    Observed,
    Provenance,
    load,
    merge_histograms,
    merge_shards,
    pack,
    save,
    unpack,
)
from trtforge.errors import ForgeError

TENSORS = ("image", "a", "b")
IMAGES = 12
EARLY = 9


def activation(name: str, image: int) -> np.ndarray:
    """Magnitudes over many powers of two, and zeros."""
    rng = np.random.default_rng([TENSORS.index(name), image])
    return (rng.normal(0, 4.0 ** rng.integers(-6, 6), 300) * (rng.random(300) > 0.3)).astype(
        np.float32
    )


def part(images: list[int], skipped: tuple[int, ...] = (), **changes: Any) -> Observed:
    early, late = ({name: Histogram() for name in TENSORS} for _ in range(2))
    for name in TENSORS:
        for image in images:
            (early if image < EARLY else late)[name].observe(activation(name, image))
    source = Provenance(
        model="0" * 64,
        taps="explicit",
        preprocess={"scale": 1.0},
        images={f"{i:02}.png": f"{i:064}" for i in images},
        skipped=[f"{i:02}.png" for i in skipped],
        duplicates=0,
        total=IMAGES,
        versions={"numpy": "2"},
    )
    return Observed(
        replace(source, **changes), tuple(((name,), (name,)) for name in TENSORS), early, late
    )


def text(path: Path, observed: Observed) -> bytes:
    save(observed, path)
    return path.read_bytes()


@pytest.mark.parametrize("shards", [1, 2, 3, 5, IMAGES])
@pytest.mark.parametrize("seed", range(3))
def test_shards_in_any_order_are_one_run(tmp_path: Path, shards: int, seed: int) -> None:
    parts = [part(list(range(index, IMAGES, shards))) for index in range(shards)]
    order = np.random.default_rng(seed).permutation(shards)
    found = merge_shards([parts[index] for index in order], [f"{index}" for index in order])
    assert text(tmp_path / "merged", found) == text(tmp_path / "whole", part(list(range(IMAGES))))


def test_shards_of_several_cuts_fit_together(tmp_path: Path) -> None:
    """1/2, 2/4 and 4/4 are all of it."""
    found = merge_shards(
        [
            part(list(range(3, IMAGES, 4))),
            part(list(range(0, IMAGES, 2))),
            part(list(range(1, IMAGES, 4))),
        ],
        ["4/4", "1/2", "2/4"],
    )
    assert text(tmp_path / "merged", found) == text(tmp_path / "whole", part(list(range(IMAGES))))


def test_shards_go_through_files(tmp_path: Path) -> None:
    shards = [part([i for i in range(IMAGES) if i % 2 == odd]) for odd in (0, 1)]
    for number, shard in enumerate(shards):
        save(shard, tmp_path / f"{number}.json")
    found = merge_shards([load(tmp_path / "1.json"), load(tmp_path / "0.json")], ["1", "0"])
    assert text(tmp_path / "merged", found) == text(tmp_path / "whole", part(list(range(IMAGES))))


def test_merging_leaves_the_parts_alone(tmp_path: Path) -> None:
    shards = [part([0, 1, 2, 3, 4, 5]), part([6, 7, 8, 9, 10, 11])]
    before = [text(tmp_path / "t", shard) for shard in shards]
    merge_shards(shards, ["one", "two"])
    assert [text(tmp_path / "t", shard) for shard in shards] == before


# -------------------------------------------------------------------------------------------------------
# refused


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", "1" * 64),
        ("taps", "implicit"),
        ("preprocess", {"scale": 2.0}),
        ("total", 13),
        ("duplicates", 1),
        ("versions", {"numpy": "3"}),
    ],
)
def test_a_shard_of_another_calibration(field: str, value: Any) -> None:
    with pytest.raises(ForgeError, match=f"b.json: differs from a.json in '{field}'"):
        merge_shards(
            [part([0, 2, 4, 6, 8, 10]), part([1, 3, 5, 7, 9, 11], **{field: value})],
            ["a.json", "b.json"],
        )


def test_a_shard_with_other_tensors() -> None:
    other = replace(part([1, 3, 5, 7, 9, 11]), groups=((TENSORS, TENSORS),))
    with pytest.raises(ForgeError, match=r"b\.json: differs from a\.json"):
        merge_shards([part([0, 2, 4, 6, 8, 10]), other], ["a.json", "b.json"])


def test_a_shard_twice() -> None:
    half = part([0, 2, 4, 6, 8, 10])
    with pytest.raises(
        ForgeError, match=r"c.json: contains 00\.png, which an earlier table contains too"
    ):
        merge_shards([half, part([1, 3, 5, 7, 9, 11]), half], ["a.json", "b.json", "c.json"])


def test_shards_that_overlap_in_an_unreadable_image() -> None:
    with pytest.raises(ForgeError, match=r"contains 01\.png"):
        merge_shards(
            [part([0, 2, 3], (1,), total=40), part([4, 5], (1,), total=40)], ["a.json", "b.json"]
        )


def test_a_missing_shard() -> None:
    with pytest.raises(ForgeError, match="8 of 12 images are in these tables"):
        merge_shards([part([0, 3, 6, 9]), part([1, 4, 7, 10])], ["a.json", "b.json"])


def test_unreadable_images_count_as_seen_until_there_are_too_many() -> None:
    def shards(skipped: int) -> list[Observed]:
        images = list(range(40))
        return [part([], tuple(images[:skipped]), total=40), part(images[skipped:], total=40)]

    assert merge_shards(shards(2), ["a", "b"]).source.skipped == ["00.png", "01.png"]
    with pytest.raises(ForgeError, match=r"3 of 40 images can't be read, among them 00\.png"):
        merge_shards(shards(3), ["a", "b"])


# --------------------------------------------------------------------------------------------------------
# a file


def test_a_histogram_comes_back_exactly() -> None:
    for name in TENSORS:
        made = part(list(range(IMAGES))).combined()[name]
        again = unpack(json.loads(json.dumps(pack(made))))
        assert (again.limit, again.largest) == (made.limit, made.largest)
        np.testing.assert_array_equal(again.counts, made.counts)
        assert again.counts.flags.writeable


def test_the_whole_is_both_parts() -> None:
    found = part(list(range(IMAGES))).combined()["a"]
    want = merge_histograms([part([image]).combined()["a"] for image in range(IMAGES)])
    np.testing.assert_array_equal(found.counts, want.counts)


def counts(*values: int, size: int = BINS) -> str:
    table = np.zeros(size, "<i8")
    table[: len(values)] = values
    return base64.b64encode(zlib.compress(table.tobytes())).decode()


WRONG = {
    "too few counts": {"counts": counts(size=BINS - 1)},
    "too many counts": {"counts": counts(size=BINS + 1)},
    "a bomb": {"counts": counts(size=1 << 22)},
    "half a count": {"counts": base64.b64encode(zlib.compress(b"123")).decode()},
    "not compressed": {"counts": base64.b64encode(bytes(99)).decode()},
    "not base64": {"counts": "%%%"},
    "no text": {"counts": 3},
    "a negative count": {"counts": counts(5, -1)},
    "a limit that is no power of two": {"limit": 3.0},
    "a limit that is not finite": {"limit": float("inf")},
    "a limit that is no number": {"limit": float("nan")},
    "a limit over any float32": {"limit": 2.0**129},
    "a limit over any float": {"limit": 10**400},
    "a negative limit": {"limit": -2.0},
    "a largest value outside": {"largest": 5.0},
    "a largest value that is no number": {"largest": float("nan")},
    "a largest value that is negative": {"largest": -1.0},
    "nothing": {"limit": None},
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_histogram(tmp_path: Path, name: str) -> None:
    save(part([0]), tmp_path / "t.json")
    content = json.loads((tmp_path / "t.json").read_text())
    content["early"]["a"] = {"limit": 4.0, "largest": 3.0, "counts": counts(7)} | WRONG[name]
    (tmp_path / "t.json").write_text(json.dumps(content))
    with pytest.raises(ForgeError, match="not a table of histograms") as caught:
        load(tmp_path / "t.json")
    assert "\n" not in caught.value.problem


def test_the_histogram_that_those_are_made_of_is_one() -> None:
    assert unpack({"limit": 4.0, "largest": 3.0, "counts": counts(7)}).counts[0] == 7


@pytest.mark.parametrize("key", ["source", "groups", "early", "late"])
@pytest.mark.parametrize("wrong", [..., None, 3, "text", [1], {}, {"a": 1}])
def test_keys_that_are_wrong(tmp_path: Path, key: str, wrong: Any) -> None:
    save(part([0]), tmp_path / "t.json")
    content = json.loads((tmp_path / "t.json").read_text()) | {key: wrong}
    (tmp_path / "t.json").write_text(
        json.dumps({name: value for name, value in content.items() if value is not ...})
    )
    with pytest.raises(ForgeError, match="not a table of histograms"):
        load(tmp_path / "t.json")


@pytest.mark.parametrize(
    "key", ["images", "skipped", "total", "versions", "preprocess", "model", "duplicates"]
)
def test_a_source_of_another_type(tmp_path: Path, key: str) -> None:
    save(part([0]), tmp_path / "t.json")
    content = json.loads((tmp_path / "t.json").read_text())
    content["source"][key] = [["x"]]
    (tmp_path / "t.json").write_text(json.dumps(content))
    with pytest.raises(ForgeError, match="not a table of histograms"):
        load(tmp_path / "t.json")


def test_no_tensors_at_all(tmp_path: Path) -> None:
    save(replace(part([0]), groups=(), early={}, late={}), tmp_path / "t.json")
    with pytest.raises(ForgeError, match="not a table of histograms"):
        load(tmp_path / "t.json")


def test_a_table_of_ranges_is_no_shard(tmp_path: Path) -> None:
    from trtforge.calibration import ranges

    ranges.save(ranges.choose(part(list(range(IMAGES))), "minmax", 100.0, {}), tmp_path / "t.json")
    with pytest.raises(ForgeError, match="not a table of histograms of this version"):
        load(tmp_path / "t.json")


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(ForgeError, match="no such file"):
        load(tmp_path / "t.json")
