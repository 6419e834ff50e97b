"""What a sweep makes of its rows."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from trtforge.api.results import SweepResult
from trtforge.bundle.prepared import Target
from trtforge.cli.text.search import summarize_sweep
from trtforge.errors import BuildError, ForgeError
from trtforge.sweeping import SweepRequest
from trtforge.sweeping import picture as sweep_picture
from trtforge.sweeping.engines import list_cells
from trtforge.sweeping.rows import Cell, Row, Swept, best, mib, on_front, thresholds

MIB = 2**20
HOSTILE = "<script>&'\"</script>\x1b"


def built(
    number: int, engine: int, *, workspace: int | None = 64 * MIB, batch: int = 1, **more
) -> Row:
    return Row(
        number,
        Cell("fp16", batch, workspace, None),
        engine_bytes=engine,
        activation_bytes=10,
        scratch_bytes=10,
        digest=str(number),
        **more,
    )


def failed(number: int, workspace: int) -> Row:
    return Row(
        number,
        Cell("fp16", 1, workspace, None),
        why_not="model.onnx: the builder says: [a.cpp::f::1] too small",
    )


def asked(**changes) -> SweepRequest:
    return replace(
        SweepRequest(["fp32", "fp16"], [1, 8], [MIB, 2 * MIB], [3, 5], None, None, 1.0), **changes
    )


@pytest.mark.parametrize(
    ("backend", "count", "said"),
    [("tensorrt", 16, 0), ("tensorrt-rtx", 8, 1), ("onnxruntime", 4, 2)],
)
def test_axes_that_a_backend_ignores_are_said_and_not_built_twice(backend, count, said) -> None:
    cells, remarks = list_cells(backend, asked())
    assert (len(cells), len(remarks)) == (count, said)
    assert len(set(cells)) == count
    # Without requested settings there are no remarks.
    assert list_cells(backend, asked(workspaces=[None], opt_levels=[None]))[1] == []


def test_the_front_without_times_weighs_memory_and_batch() -> None:
    rows = [
        built(1, 100),
        built(2, 90),
        built(3, 120, batch=8),
        built(4, 130, batch=8),
        failed(5, MIB),
        built(6, 90, same_as=2),
    ]
    assert [row.number for row in rows if on_front(row, rows)] == [2, 3]


def test_the_front_with_times_and_accuracy() -> None:
    rows = [
        built(1, 100, latency_ms=2.0, images_per_second=500.0, accuracy=0.8),
        built(2, 100, latency_ms=1.0, images_per_second=900.0, accuracy=0.7),
        built(3, 100, latency_ms=2.0, images_per_second=500.0, accuracy=0.7),
    ]
    assert [on_front(row, rows) for row in rows] == [True, True, False]


def test_the_best() -> None:
    rows = [
        failed(1, MIB),
        built(2, 100, latency_ms=1.0, images_per_second=900.0),
        built(3, 80, latency_ms=2.0, images_per_second=950.0),
    ]
    assert [best(rows, pick).number for pick in ("latency", "throughput", "memory")] == [2, 3, 3]
    with pytest.raises(BuildError, match="none of the 1 engines was built"):
        best(rows[:1], "memory")
    with pytest.raises(ForgeError, match="can't be timed"):
        best([built(1, 100)], "latency")


def test_a_threshold_is_said_only_where_it_is_one() -> None:
    rows = [failed(1, MIB), failed(2, 32 * MIB), built(3, 1), built(4, 1, workspace=2**30)]
    assert thresholds(rows) == ["fp16, batch 1: a workspace of 32MiB is too small, 64MiB is enough"]
    assert thresholds([*rows, failed(5, 2**31)]) == []
    assert thresholds(rows[2:]) == []


def test_amounts_as_people_give_them() -> None:
    assert [mib(size) for size in (None, 64 * MIB, 2**30, 1536 * MIB, 1000)] == [
        "default",
        "64MiB",
        "1GiB",
        "1536MiB",
        "1000",
    ]


def test_the_picture_has_a_cell_for_each_row_and_escapes_names() -> None:
    rows = [
        failed(1, MIB),
        built(2, 100, front=True, latency_ms=1.0, images_per_second=900.0),
        built(3, 80, workspace=128 * MIB, latency_ms=2.0, images_per_second=950.0),
        built(4, 80, workspace=None, same_as=3, latency_ms=2.0, images_per_second=950.0),
    ]
    picture = sweep_picture.render(Swept(HOSTILE, "tensorrt", "a card", rows, "", []))
    root = ET.fromstring(picture)
    groups = [each for each in root if each.tag.endswith("}g")]
    assert [each.get("class") for each in groups] == [
        "none",
        "cell half front",
        "cell half",
        "cell half",
    ]
    dots = [
        each
        for each in root.iter()
        if each.tag.endswith("circle") and "dot" in each.get("class", "")
    ]
    assert len(dots) == 2  # of equal engines one
    assert "<script>" not in picture


def test_the_table_shortens_what_the_builder_says() -> None:
    text = summarize_sweep(
        SweepResult(
            Swept("m.onnx", "tensorrt-rtx", "a card", [failed(1, MIB), built(2, 100)], "", []), []
        )
    )
    assert "too small" in text and "a.cpp" not in text and "latency" not in text


def test_target_needs_a_backend() -> None:
    from trtforge.sweeping.engines import _runtime

    assert _runtime(Target("onnxruntime", None)) == "onnxruntime"
    assert _runtime(Target("tensorrt-rtx", None)) is None
