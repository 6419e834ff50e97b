"""Bytes, precision, role, roofline, and who hands a tensor to whom."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.reporting.rows import layer, t
from trtforge.devices import device
from trtforge.reporting.cost import bytes_crossing, costed, edges, floored
from trtforge.reporting.model import Layer


def cost(one: Layer, batch: int = 1, **kinds: str) -> Layer:
    return costed(one, kinds, batch)


def test_bytes_of_a_batch() -> None:
    writes = [t("y", (-1, 3), "Float"), t("z", (2,), "Int4")]
    one = layer(
        "a", reads=[t("x", (-1, 8, 4, 4), "Half")], writes=writes, constants=[t("w", (10,), "Int8")]
    )
    one = cost(one, batch=4)
    assert (one.input_bytes, one.output_bytes, one.weight_bytes) == (
        4 * 8 * 16 * 2,
        4 * 3 * 4 + 1,
        10,
    )
    assert one.bytes == 1024 + 49 + 10


def test_bytes_crossing() -> None:
    layers = [
        layer("a", writes=[t("x", (-1, 8, 4, 4), "Half"), t("y", (1, 8), "Float")]),
        layer("b", writes=[t("z", (), "Int8"), t("u", (3, 3), "Unheard")]),
    ]
    assert bytes_crossing(layers, 2) == {"Half": 2 * 2 * 128, "Float": 32, "Int8": 1, "Unheard": 36}


def test_a_tensor_read_twice_counts_once() -> None:
    assert cost(layer("a", reads=[t("x"), t("x")])).input_bytes == 256


@pytest.mark.parametrize(
    ("reads", "writes", "macs", "constants", "want"),
    [
        ([t("x", dtype="Int8")], [t("y", dtype="Float")], 0, [], "Int8"),
        ([t("s", (1,), "Float"), t("x", dtype="Half")], [], 0, [], "Half"),
        ([], [t("y", dtype="Half")], 0, [], "Half"),
        ([], [], 0, [], ""),
        (
            [t("r", (1, 99, 9, 9), "Half"), t("x", dtype="Int8")],
            [],
            5,
            [t("w", (9, 9), "Int8")],
            "Int8",
        ),
        ([t("x", dtype="Half")], [], 5, [t("w", (9, 9), "Int8")], "Half"),
    ],
)
def test_precision(reads, writes, macs, constants, want) -> None:
    assert (
        cost(layer("a", reads=reads, writes=writes, macs=macs, constants=constants)).precision
        == want
    )


HALF, INT8 = [t("x", dtype="Half")], [t("y", dtype="Int8")]


@pytest.mark.parametrize(
    ("one", "want"),
    [
        (layer("a", type="signal"), "sync"),
        (layer("a", type="NoOp", reads=HALF, writes=HALF), "no-op"),
        (layer("a", type="Reformat", reads=HALF, writes=INT8), "convert"),
        (layer("a", type="Reformat", reads=HALF, writes=HALF), "copy"),
        (layer("__myl_MoveConc_myl0_7", reads=HALF, writes=HALF), "copy"),
        (layer("__myl_MoveSilu_myl0_7", reads=HALF, writes=HALF), "compute"),
        (layer("__myl_CastConc_myl0_7", "cast conv", reads=HALF, writes=INT8), "convert"),
        (layer("k", "q", reads=HALF, writes=INT8), "convert"),
        (layer("k", "q relu", reads=HALF, writes=INT8), "compute"),
        (layer("k", "q", reads=HALF, writes=INT8, macs=9), "compute"),
        (layer("k", reads=HALF), "compute"),
        (layer("a", type="something new", reads=HALF, writes=INT8), "compute"),
    ],
)
def test_role(one: Layer, want: str) -> None:
    assert cost(one, q="QuantizeLinear", relu="Relu", cast="Cast", conv="Conv").role == want


def test_floor_is_the_larger_of_compute_and_memory() -> None:
    known = replace(device("rtx-4090"), bandwidth_gb_s=1000.0, int8_tops=100.0, fp16_tflops=50.0)
    wide = layer("a", macs=10**9, precision="Int8", input_bytes=10**6)
    assert floored(wide, known).floor_ms == pytest.approx(2e9 / 100e12 * 1e3)
    assert floored(wide, known).bound == "compute"
    thin = wide.model_copy(update={"input_bytes": 10**9})
    assert floored(thin, known).floor_ms == pytest.approx(1.0)
    assert floored(thin, known).bound == "memory"
    assert floored(wide.model_copy(update={"precision": "Float"}), known).floor_ms == pytest.approx(
        1e-3
    )


@pytest.mark.parametrize("known", [None, replace(device("rtx-4090"), bandwidth_gb_s=None)])
def test_no_floor_without_figures(known) -> None:
    assert floored(layer("a", macs=5, input_bytes=5), known).floor_ms is None


def test_edges_follow_tensors_and_their_parts() -> None:
    layers = [
        layer("a", writes=[t("whole", (1, 8))]),
        layer("b", reads=[t("x")], writes=[t("whole", (1, 8))]),
        layer("part", reads=[t("whole", (1, 8))]),
        layer("all", reads=[t("whole", (1, 16))]),
        layer("input", reads=[t("q")]),
    ]
    assert edges(layers) == [(1, 2), (0, 3), (1, 3)]


def test_edges_never_go_back() -> None:
    layers = [
        layer("a", reads=[t("x")], writes=[t("y")]),
        layer("b", reads=[t("y")], writes=[t("x")]),
    ]
    assert edges(layers) == [(0, 1)]
