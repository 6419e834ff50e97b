"""Differences of tensors, and shares that are right, against plain NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trtforge.errors import ForgeError
from trtforge.evaluate.classes import Confusion, from_csv, from_folders, mask, rank
from trtforge.evaluate.metrics import Difference


def test_running_sums_equal_numpy_on_the_whole() -> None:
    rng = np.random.default_rng(0)
    one = rng.normal(3, 2, (4, 5, 6)).astype(np.float32)
    other = (one + rng.normal(0, 0.1, one.shape)).astype(np.float32)
    found = Difference()
    for a, b in zip(one, other, strict=True):
        found.observe(a, b)
    a, b = one.ravel().astype(float), other.ravel().astype(float)
    assert found.pearson == pytest.approx(np.corrcoef(a, b)[0, 1])
    assert found.cosine == pytest.approx(a @ b / np.sqrt((a @ a) * (b @ b)))
    assert found.sqnr == pytest.approx(10 * np.log10((a @ a) / ((a - b) @ (a - b))))
    assert found.largest == pytest.approx(np.abs(a - b).max())
    assert found.mean == pytest.approx(np.abs(a - b).mean())


def test_constants() -> None:
    same, shifted = Difference(), Difference()
    same.observe(np.ones(5, np.float32), np.ones(5, np.float32))
    shifted.observe(np.arange(5, dtype=np.float32), np.ones(5, np.float32))
    assert (same.pearson, same.cosine, same.sqnr) == (1.0, pytest.approx(1.0), np.inf)
    assert shifted.pearson == 0.0
    assert same.document()["sqnr_db"] is None


def test_rank() -> None:
    scores = np.array([[0.1, 0.7, 0.2]])
    assert [rank(scores, label) for label in (0, 1, 2)] == [2, 0, 1]


def test_mean_iou() -> None:
    truth = np.array([[0, 0, 1, 255]])
    table = Confusion(3)
    table.observe(truth, np.array([[0, 1, 1, 2]]))
    # Class 2 occurs only in pixels that do not count.
    assert table.mean_iou == pytest.approx((1 / 2 + 1 / 2) / 2)


def pictures(root: Path, *names: str) -> list[Path]:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(root / name)
    return sorted(root.rglob("*.png"))


def test_classes_by_folder(tmp_path: Path) -> None:
    files = pictures(tmp_path, "cat/a.png", "dog/b.png", "cat/c.png")
    assert from_folders(tmp_path, files, 2) == [0, 0, 1]
    with pytest.raises(ForgeError, match="2 class folders, but the model has 3"):
        from_folders(tmp_path, files, 3)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a.png,0\n", "no class for b.png"),
        ("a.png,0\nb.png,7\n", "row 2"),
        ("a.png\n", "row 1"),
        ("a.png,x\nb.png,y\n", "row 1"),
    ],
)
def test_wrong_csv(tmp_path: Path, text: str, problem: str) -> None:
    files = pictures(tmp_path, "a.png", "b.png")
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(ForgeError, match=problem):
        from_csv(tmp_path / "labels.csv", files, 2)


def test_csv_with_a_header(tmp_path: Path) -> None:
    files = pictures(tmp_path, "a.png", "b.png")
    (tmp_path / "labels.csv").write_text("name,class\nb.png,1\na.png,0\n")
    assert from_csv(tmp_path / "labels.csv", files, 2) == [0, 1]


def test_csv_that_can_not_be_right(tmp_path: Path) -> None:
    files = pictures(tmp_path, "a.png", "b.png")
    (tmp_path / "labels.csv").write_text("a.png,0\nb.png,1\na.png,1\n")
    with pytest.raises(ForgeError, match=r"row 3 has a\.png a second time"):
        from_csv(tmp_path / "labels.csv", files, 2)
    (tmp_path / "labels.json").write_text('{"images": []}')
    with pytest.raises(ForgeError, match=r"labels\.json: .* classifier") as refused:
        from_csv(tmp_path / "labels.json", files, 2)
    assert "rows of name,class" in refused.value.hint


def test_masks(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 1], [255, 1]], np.uint8)).save(tmp_path / "a.png")
    assert mask(tmp_path, Path("a.jpg"), 2).tolist() == [[0, 1], [255, 1]]
    with pytest.raises(ForgeError, match=r"no mask b\.png"):
        mask(tmp_path, Path("b.jpg"), 2)
    with pytest.raises(ForgeError, match="class 1, but the model has 1"):
        mask(tmp_path, Path("a.jpg"), 1)
