"""Harm: nothing for equal outputs, more for more noise, and none for boxes that hold nothing."""

from __future__ import annotations

import numpy as np
import pytest

from trtforge.evaluate.harm import Harm, overlap


def outputs(boxes: list[list[float]], scores: list[list[float]]) -> dict[str, np.ndarray]:
    return {"boxes": np.array([boxes], np.float32), "scores": np.array([scores], np.float32)}


def harm(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> float:
    total = Harm()
    total.observe(one, other)
    return total.value


REFERENCE = outputs([[0, 0, 10, 10], [0, 0, 4, 4]], [[0.8, 0.0], [0.01, 0.02]])


def test_nothing_changed() -> None:
    assert harm(REFERENCE, REFERENCE) == 0.0


def test_lost_overlap_of_what_has_a_score() -> None:
    moved = outputs([[5, 0, 15, 10], [0, 0, 4, 4]], [[0.8, 0.0], [0.01, 0.02]])
    assert harm(REFERENCE, moved) == pytest.approx(1 - 50 / 150)
    unseen = outputs([[0, 0, 10, 10], [90, 90, 94, 94]], [[0.8, 0.0], [0.01, 0.02]])
    assert harm(REFERENCE, unseen) == 0.0


def test_scores_count_a_tenth() -> None:
    weaker = outputs([[0, 0, 10, 10], [0, 0, 4, 4]], [[0.4, 0.0], [0.01, 0.02]])
    assert harm(REFERENCE, weaker) == pytest.approx(0.1 * 0.5)


def test_other_networks_by_the_change_of_their_outputs() -> None:
    total = Harm()
    total.observe({"y": np.array([1.0, -3.0])}, {"y": np.array([1.5, -2.5])})
    assert total.value == pytest.approx(1 / 4)


def test_overlap_of_empty_boxes_is_whole() -> None:
    boxes = np.zeros((2, 4), np.float32)
    np.testing.assert_array_equal(overlap(boxes, boxes), 1.0)
